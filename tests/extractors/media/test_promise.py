"""Files that hold less sound than they state."""

from __future__ import annotations

import struct

import av
import pytest

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import decode_audio

CUT = [("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.mkv", "aac"), ("a.wav", "pcm_s16le"), ("b.wav", "pcm_s24le"),
       ("a.avi", "pcm_s16le"), ("a.flv", "aac")]  # fmt: skip


@pytest.mark.parametrize(("name", "codec"), CUT)
def test_a_file_cut_in_the_middle_is_an_error_that_names_the_seconds(tmp_path, sound, encode, name, codec):
    path = encode(tmp_path / name, sound(44100, 8), 44100, codec)
    assert decode_audio(path, 16000).duration_s == pytest.approx(8, abs=0.1)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match=r"states 8\.\d\d s, but ends at [34]\.\d\d s"):
        decode_audio(path, 16000)
    assert decode_audio(path, 16000, 0.5, 2.5).duration_s == pytest.approx(2)  # this part is whole


def test_an_mp4_with_its_index_in_front_that_is_cut_is_an_error(tmp_path, sound, packets):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        container.mux(packets(stream, sound(44100, 8), 44100, "mono"))
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(MediaError, match=r"states 8\.00 s, but ends at [56]\.\d\d s"):
        decode_audio(path, 16000)


def test_an_mp4_without_its_index_cannot_be_read(tmp_path, sound, encode):
    path = encode(tmp_path / "a.mp4", sound(44100, 2), 44100, "aac")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(MediaError, match="cannot be read"):
        decode_audio(path, 16000)


def test_a_real_film_cut_short_is_an_error_or_unreadable(tmp_path, shared):
    content = shared("media", "video_call.mp4").read_bytes()
    for share in (0.3, 0.6, 0.95):
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(MediaError, match=r"cut short|cannot be read"):
            decode_audio(path, 16000)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_states_no_length_and_is_read_to_its_end(tmp_path, sound, encode, size):
    path = encode(tmp_path / "a.wav", sound(16000, 2), 16000, "pcm_s16le")
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + struct.pack("<I", size) + content[at + 4 :])
    assert len(decode_audio(path, 16000).samples) == 32000


def test_sound_that_ends_before_the_picture_is_whole(tmp_path, sound, packets):
    import numpy as np

    for name, codec in (("a.mkv", "aac"), ("a.mp4", "aac"), ("a.avi", "pcm_s16le")):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            audio = container.add_stream(codec, rate=16000, layout="mono")
            container.mux(packets(audio, sound(16000, 1), 16000, "mono"))
            for number in range(50):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                frame.pts = number
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        assert decode_audio(path, 16000).duration_s == pytest.approx(1, abs=0.07), name
