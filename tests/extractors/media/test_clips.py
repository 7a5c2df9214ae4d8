"""Clips: parts of a file, cut by time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import decode_audio
from cuebank.store.errors import BadInput


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.1, 0.7), (1.25, None), (0.30001, 0.9), (1.9, 60.0)])
def test_a_clip_is_cut_at_the_exact_sample(tmp_path, wav, start, end):
    values = np.arange(32000) % 30000
    audio = decode_audio(wav(tmp_path / "a.wav", values), 16000, start, end)
    times = np.arange(32000) / 16000
    inside = (times >= start - 1e-9) & (times < (end or 99) - 1e-9)
    np.testing.assert_array_equal(audio.samples, (values[inside] / 32768).astype(np.float32))
    assert audio.start_s == pytest.approx(times[inside][0] - start, abs=1e-9)


def test_neighbouring_clips_share_no_sample_and_lose_none(tmp_path, sound, encode):
    path = encode(tmp_path / "a.flac", sound(44100, 2), 44100, "flac")
    whole = decode_audio(path, 44100).samples
    edges = [0, 0.1, 1 / 3, 0.7, 1.234567, 2]
    parts = [decode_audio(path, 44100, low, high).samples for low, high in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("name", "codec"), [
    ("a.wav", "pcm_s16le"), ("a.m4a", "aac"), ("a.mp4", "libmp3lame"), ("o.mp4", "libopus"),
    ("a.flac", "flac"), ("a.mkv", "aac"), ("a.ogg", "libopus")])  # fmt: skip
def test_a_late_clip_equals_the_same_part_of_the_whole(tmp_path, sound, encode, name, codec):
    rate = 48000
    options = {"aac_pns": "0"} if codec == "aac" else {}  # no noise that the decoder makes up as it goes
    path = encode(tmp_path / name, sound(rate, 8), rate, codec, options=options)
    whole = decode_audio(path, rate).samples
    for start, end in ((2.5, 3.5), (5.0, 5.1), (6.123, 8.0)):
        part = decode_audio(path, rate, start, end)
        first = round(start * rate)
        assert abs(part.start_s) < 1 / rate
        np.testing.assert_allclose(part.samples, whole[first : first + len(part.samples)], atol=2e-4)
        assert len(part.samples) == pytest.approx((end - start) * rate, abs=50)


def test_a_clip_of_a_late_stream_tells_when_its_sound_begins(shared):
    path = shared("media", "face_then_no_face.mov")
    whole = decode_audio(path, 44100)
    early = decode_audio(path, 44100, 2.0, 4.0)
    assert early.start_s == pytest.approx(whole.start_s - 2.0, abs=1e-6)
    np.testing.assert_array_equal(early.samples, whole.samples[: len(early.samples)])
    inner = decode_audio(path, 44100, 4.0, 5.0)
    assert abs(inner.start_s) < 1 / 44100
    with pytest.raises(MediaError, match=r"sound begins at 2\.430 s"):
        decode_audio(path, 16000, 0, 2.0)


def test_an_end_behind_the_file_is_its_end_and_a_start_there_is_an_error(tmp_path, wav):
    path = wav(tmp_path / "a.wav", np.ones(16000))
    assert len(decode_audio(path, 16000, 0.5, 9).samples) == 8000
    for start in (1.0, 5.0):
        with pytest.raises(MediaError, match=r"sound ends at 1\.000 s"):
            decode_audio(path, 16000, start, 9)


@pytest.mark.parametrize(
    ("rate", "start", "end"),
    [(16000, -1, 2), (16000, 2, 2), (16000, 3, 2), (16000, float("nan"), None), (16000, 0, float("inf")), (0, 0, 1)],
)
def test_senseless_bounds_are_bad_input(tmp_path, rate, start, end):
    with pytest.raises(BadInput):
        decode_audio(tmp_path / "absent.wav", rate, start, end)
