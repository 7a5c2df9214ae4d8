"""Opening media: what is refused, and what a file says about itself."""

from __future__ import annotations

import os
import wave
from fractions import Fraction
from types import SimpleNamespace

import pytest

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import decode_audio, probe
from cuebank.extractors.media.decode import Reading, decoded_frames
from cuebank.extractors.media.packets import Packets


@pytest.fixture
def tone(tmp_path, sound, encode):
    """A good file of one second, 16 kHz."""
    return encode(tmp_path / "good.wav", sound(16000, 1), 16000, "pcm_s16le")


def test_a_message_has_three_parts_and_names_the_file(tmp_path):
    with pytest.raises(MediaError) as caught:
        decode_audio(tmp_path / "absent.wav", 16000)
    error = caught.value
    assert error.code == "media"
    assert str(tmp_path / "absent.wav") in error.asked
    assert error.found == "It cannot be opened: No such file or directory."
    assert error.todo
    assert str(error) == f"{error.asked} {error.found} {error.todo}"


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("text.mp4", b"this is no film\n" * 100, "cannot be read as sound or video"),
        ("nothing.wav", b"", r"empty \(0 bytes\)"),
        ("noise.mp3", bytes(range(256)) * 40, "cannot be read|no samples|no sound|could be decoded"),
        ("page.html", b"<html><body>no sound here</body></html>", "cannot be read"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read"),
    ],
)
def test_what_is_no_media_is_refused_in_words(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=found):
        decode_audio(tmp_path / name, 16000)


def test_a_wav_without_samples_says_so(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
    with pytest.raises(MediaError, match="holds no samples"):
        decode_audio(tmp_path / "a.wav", 16000)


def test_folders_and_pipes_are_refused_without_waiting(tmp_path):
    with pytest.raises(MediaError, match="It is a folder"):
        decode_audio(tmp_path, 16000)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(MediaError, match="no regular file"):
        decode_audio(tmp_path / "pipe.wav", 16000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(tone):
    tone.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        decode_audio(tone, 16000)


def test_a_name_that_looks_like_a_protocol_is_a_file_name(tone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:good.wav|good.wav", "http:x.wav", "pipe:0", "data:audio.wav", "-i", "a b\nc.wav", "%03d.wav"):
        with pytest.raises(MediaError, match="No such file"):
            decode_audio(name, 16000)
        (tmp_path / name).write_bytes(tone.read_bytes())
        assert len(decode_audio(name, 16000).samples) == 16000
    with pytest.raises(MediaError, match="No such file"):
        decode_audio("http://127.0.0.1:1/good.wav", 16000)
    with pytest.raises(MediaError, match="cannot be opened"):
        decode_audio("nul\0.wav", 16000)


def test_a_name_that_is_no_utf8_works(tone, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(tone.read_bytes())
    assert len(decode_audio(path, 16000).samples) == 16000


def test_files_that_lead_to_other_files_are_refused(tone, tmp_path):
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tone}\n#EXT-X-ENDLIST\n",
        "a.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tone}\n#EXT-X-ENDLIST\n",
        "a.ffconcat": f"ffconcat version 1.0\nfile '{tone}'\n",
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match="cannot be read"):
            decode_audio(tmp_path / name, 16000)


def test_a_film_without_sound_names_its_streams(tmp_path):
    import av
    import numpy as np

    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"no sound track; its streams: video \(mpeg4\)"):
        decode_audio(path, 16000)
    info = probe(path)
    assert info.audio == ()
    assert (info.video[0].codec, info.video[0].width, info.video[0].rate_hz) == ("mpeg4", 64, 10)


def test_frames_that_the_decoder_calls_corrupt_are_left_out():
    good, bad = SimpleNamespace(is_corrupt=False), SimpleNamespace(is_corrupt=True)
    codec = SimpleNamespace(decode=lambda packet: [good, bad] if packet else [])
    stream = SimpleNamespace(index=0, codec_context=codec)
    packet = SimpleNamespace(size=9, pts=0, duration=2, time_base=Fraction(1, 2), stream=stream)
    container = SimpleNamespace(demux=lambda streams: [packet], streams=[stream], format=SimpleNamespace(name="wav"))
    reading = Reading()
    assert list(decoded_frames(Packets(container, [stream]), stream, reading)) == [good]
    assert (reading.packets, reading.failed, reading.farthest) == (1, 0, 1)


def test_probe_tells_streams_starts_and_durations(shared):
    info = probe(shared("media", "face_then_no_face.mov"))
    assert info.duration_s == pytest.approx(6.424, abs=0.001)
    assert [(one.codec, one.rate_hz, one.channels) for one in info.audio] == [("aac", 44100, 2)]
    assert info.audio[0].start_s == pytest.approx(2.43, abs=0.001)
    assert info.audio[0].duration_s == pytest.approx(3.994, abs=0.001)
    assert [(one.codec, one.width, one.height) for one in info.video] == [("hevc", 960, 540)]


# What each file's sound holds at 16 kHz: start (s), duration (s). From README and ffprobe, not from our decoder.
REAL = [
    ("talking_1.mp4", 0, 6.107),
    ("talking_2.mp4", 0, 5.015),
    ("talking_3.mp4", 0, 5.015),
    ("silent_face_1.mp4", 0, 11.794),
    ("single_face.mp4", 0, 2.419),
    ("emotional_portrait.mp4", 0, 19.69),
    ("face_then_no_face.mov", 2.43, 3.994),
    ("meeting_headset.wav", 0, 6.0),
    ("video_call.mp4", 0, 13.4),
]


@pytest.mark.parametrize(("name", "start", "duration"), REAL, ids=[item[0] for item in REAL])
def test_real_files_give_the_sound_that_their_tracks_state(shared, name, start, duration):
    audio = decode_audio(shared("media", name), 16000)
    assert audio.start_s == pytest.approx(start, abs=0.001)
    assert audio.duration_s == pytest.approx(duration, abs=0.03)  # one packet
    assert audio.duration_s <= duration + 0.001  # never longer than stated
    assert audio.gaps == ()
    assert abs(audio.samples).max() <= 1.5
    assert (abs(audio.samples).max() < 1e-4) == (name in ("silent_face_1.mp4", "emotional_portrait.mp4"))


def test_the_sound_of_a_real_film_lies_where_its_description_says(shared):
    audio = decode_audio(shared("media", "talking_2.mp4"), 16000)

    def level(start, stop):
        return float((audio.samples[int(start * 16000) : int(stop * 16000)] ** 2).mean())

    assert level(2.1, 2.55) < 0.1 * level(1.5, 2.0)  # a pause, and speech before it
    assert level(3.95, 4.3) < 0.1 * level(3.2, 3.8)
