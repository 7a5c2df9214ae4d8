"""The decoding process by itself."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cuebank.extractors.media.child import DecodeChild
from cuebank.extractors.media.request import ClipRequest, Tally
from cuebank.extractors.media.stream import ClipStream, Room
from cuebank.extractors.media.worker import read_message, write_message

COMMAND = [sys.executable, "-P", "-m", "cuebank.extractors.media.worker"]


def stream_of(path):
    return ClipStream(ClipRequest(path, (16000,)), 0, Room(1 << 30))


def test_messages_come_back_as_they_were():
    file = io.BytesIO()
    message = {"path": "/ü\n\udcff", "start_s": 0.1, "gaps": [[1.0, 2.5]]}
    write_message(file, message, np.arange(3, dtype=np.float32))
    file.seek(0)
    assert read_message(file) == message
    assert np.frombuffer(file.read(), np.float32).tolist() == [0, 1, 2]


@pytest.mark.parametrize("cut", [0, 3, 10])
def test_a_message_that_breaks_off_is_the_end(cut):
    file = io.BytesIO()
    write_message(file, {"path": "x"})
    with pytest.raises(EOFError):
        read_message(io.BytesIO(file.getvalue()[:cut]))


def test_it_ends_quietly_with_its_input():
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, cwd="/", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_it_loads_neither_torch_nor_the_store_engine():
    code = (
        "import sys, cuebank.extractors.media.worker, cuebank.extractors.media.audio;"
        "print([name for name in ('torch', 'zarr', 'h5py', 'transformers', 'click') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert out.stdout.strip() == "[]"


def test_a_defect_in_the_decoder_is_told_with_its_last_line(tmp_path, monkeypatch):
    child = DecodeChild()
    try:
        stream = stream_of(tmp_path / "a.wav")
        asked = {**stream.request.to_json(), "no_such_argument": 1}
        monkeypatch.setattr(ClipRequest, "to_json", lambda request: asked)
        child.serve(stream, 60)
    finally:
        child.close()
    [(_, error)] = stream
    assert "ended with code 1" in error.found
    assert "no_such_argument" in error.found
    assert not child.alive


def test_a_flood_on_stderr_does_not_block_it(tmp_path, sound, encode):
    path = encode(tmp_path / "a.wav", sound(16000, 1), 16000, "pcm_s16le")
    child = DecodeChild()
    try:
        stream = stream_of(path)
        child.serve(stream, 60)
        [(_, audio)] = stream
        assert len(audio.samples) == 16000
        assert stream.tally == Tally(
            opened=1, sound_packets=stream.tally.sound_packets, sound_frames=stream.tally.sound_frames
        )
        # What the process writes to fd 2 lands in a file, and so does what would get between the answers on fd 1.
        targets = [str(Path(f"/proc/{child.pid}/fd/{number}").readlink()) for number in (1, 2)]
        assert all("pipe" not in target for target in targets)
    finally:
        child.close()
