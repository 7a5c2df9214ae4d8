"""Decoding of known sounds in real containers: length, lag, mix, time stamps, clips."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import decode_audio
from cuebank.extractors.media.audio import mix

# File, codec, rate, layout, tolerance of the length in samples (mkv states durations in ms).
FORMATS = [
    ("a.m4a", "aac", 44100, "mono", 1),
    ("a.mp4", "aac", 48000, "stereo", 1),
    ("a.mov", "aac", 22050, "mono", 1),
    ("a.mkv", "aac", 44100, "mono", 45),
    ("a.mp3", "libmp3lame", 44100, "stereo", 1),
    ("mp3.mp4", "libmp3lame", 44100, "mono", 1),
    ("mp3.mkv", "libmp3lame", 44100, "mono", 45),
    ("o.ogg", "libopus", 48000, "mono", 1),
    ("o.webm", "libopus", 48000, "mono", 48),
    ("o.mp4", "libopus", 48000, "mono", 1),
    ("v.ogg", "vorbis", 44100, "stereo", 64),  # FFmpeg's encoder states a little too much
    ("v.mkv", "vorbis", 44100, "stereo", 1100),
    ("a.flac", "flac", 44100, "mono", 0),
    ("f.mkv", "flac", 44100, "mono", 0),
    ("l.m4a", "alac", 44100, "mono", 0),
    ("a.wav", "pcm_s16le", 44100, "stereo", 0),
    ("w.avi", "pcm_s16le", 44100, "mono", 0),
    ("w.mov", "pcm_s16le", 44100, "mono", 0),
    ("w.mkv", "pcm_s16le", 44100, "mono", 0),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout", "slack"), FORMATS, ids=[f[0] for f in FORMATS])
def test_three_seconds_come_as_three_seconds_without_lag(
    tmp_path, sound, encode, lag, name, codec, rate, layout, slack
):
    original = sound(rate, 3)
    path = encode(tmp_path / name, original, rate, codec, layout)
    native = decode_audio(path, rate)
    assert abs(len(native.samples) - 3 * rate) <= slack
    assert 0 <= native.start_s < 1 / rate
    assert native.gaps == ()
    # Older FFmpeg leaves it to the time stamps, in ms, where the priming in mkv ends.
    assert abs(lag(native.samples, original)) <= (10 if codec in ("aac", "libmp3lame") and name.endswith("mkv") else 0)
    at16 = decode_audio(path, 16000)
    assert abs(at16.duration_s - 3) <= (slack + 0.5) / rate + 1 / 16000
    assert abs(lag(at16.samples, sound(16000, 3, seed=1))) <= 3 * name.endswith(
        "mkv"
    )  # the chirp alone agrees: the noise is another one


@pytest.mark.parametrize(
    ("name", "codec", "samples_late"), [("a.avi", "libmp3lame", 1105), ("a.ts", "aac", 1024), ("a.flv", "aac", 1024)]
)
def test_priming_that_a_container_does_not_state_stays(tmp_path, sound, encode, lag, name, codec, samples_late):
    original = sound(44100, 2)
    audio = decode_audio(encode(tmp_path / name, original, 44100, codec), 44100)
    assert lag(audio.samples, original) == samples_late
    assert audio.start_s == 0


def test_int16_at_the_same_rate_comes_exactly_scaled(tmp_path, wav):
    values = np.random.default_rng(0).integers(-32768, 32768, 20_000)
    audio = decode_audio(wav(tmp_path / "a.wav", values), 16000)
    assert audio.samples.dtype == np.float32
    np.testing.assert_array_equal(audio.samples, (values / 32768).astype(np.float32))
    assert (audio.rate_hz, audio.start_s, audio.gaps) == (16000, 0.0, ())


def test_int16_stereo_is_the_exact_channel_mean(tmp_path, wav):
    values = np.random.default_rng(0).integers(-32768, 32768, (20_000, 2))
    audio = decode_audio(wav(tmp_path / "a.wav", values), 16000)
    np.testing.assert_array_equal(audio.samples, (values.sum(axis=1) / 65536).astype(np.float32))


@pytest.mark.parametrize(("layout", "channels"), [("5.1", 6), ("10 channels", 10), ("16 channels", 16)])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
def test_many_channels_are_averaged_with_equal_weights(tmp_path, encode, layout, channels, codec):
    values = np.random.default_rng(0).integers(-2000, 2000, (channels, 8000)) / np.float32(32768)
    path = encode(tmp_path / "a.wav", values.astype(np.float32), 16000, codec, layout)
    np.testing.assert_allclose(decode_audio(path, 16000).samples, values.mean(axis=0), atol=1e-7)


def test_more_than_eight_planar_channels_are_read_within_their_bounds(tmp_path, encode, lag, sound):
    one = sound(48000, 1)
    path = encode(tmp_path / "a.ogg", one, 48000, "libopus", "16 channels", {"mapping_family": "255", "b": "1M"})
    audio = decode_audio(path, 48000)
    assert lag(audio.samples, one) == 0
    assert np.corrcoef(audio.samples, one)[0, 1] > 0.95


def test_no_more_planes_are_read_than_there_are_channels():
    # PyAV lists planes until it meets a null pointer, which above 8 channels may be anywhere.
    planes = [np.full(4, value, np.float32) for value in (1, 2, 300)]
    shape = SimpleNamespace(name="fltp", is_planar=True)
    frame = SimpleNamespace(format=shape, layout=SimpleNamespace(nb_channels=2), samples=4, planes=planes)
    assert mix(frame).tolist() == [1.5] * 4


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw"])
def test_every_sample_format_is_scaled_to_one(tmp_path, encode, codec):
    ramp = np.linspace(-0.9, 0.9, 4000, dtype=np.float32)
    samples = decode_audio(encode(tmp_path / "a.wav", ramp, 16000, codec), 16000).samples
    slack = {"pcm_u8": 1 / 120, "pcm_alaw": 1 / 30}.get(codec, 1e-6)
    np.testing.assert_allclose(samples, ramp, atol=slack)


def test_samples_that_are_no_numbers_are_a_gap(tmp_path, encode):
    values = np.full(32000, 0.25, np.float32)
    values[16000] = np.nan
    audio = decode_audio(encode(tmp_path / "a.wav", values, 16000, "pcm_f32le"), 16000)
    assert np.isfinite(audio.samples).all()
    assert len(audio.gaps) == 1
    assert audio.gaps[0][0] < 1.0 < audio.gaps[0][1]


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "aac"), ("a.mov", "pcm_s16le")])
def test_a_lonely_stream_that_starts_late_starts_late(tmp_path, sound, encode, lag, name, codec):
    original = sound(48000, 2)
    audio = decode_audio(encode(tmp_path / name, original, 48000, codec, start=72000), 48000)
    # The mp4 muxer does not mark the priming of a late track: the track begins earlier by it, the sound does not.
    assert audio.start_s == pytest.approx(1.5, abs=0.001 if codec == "pcm_s16le" else 0.023)
    assert audio.start_s + lag(audio.samples, original) / 48000 == pytest.approx(1.5, abs=0.001)
    assert audio.start_s + audio.duration_s == pytest.approx(3.5, abs=0.001)
    assert audio.gaps == ()


def test_sound_that_starts_after_the_picture_starts_late_in_a_transport_stream(tmp_path, sound, packets):
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        stream = container.add_stream("mp2", rate=48000, layout="mono")
        late = packets(stream, sound(48000, 1), 48000, "mono", start=48000)
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(late)
    assert decode_audio(path, 16000).start_s == pytest.approx(1.0, abs=0.05)


def test_the_late_sound_of_a_real_film_starts_by_its_time_stamp(shared):
    audio = decode_audio(shared("media", "face_then_no_face.mov"), 16000)
    assert audio.start_s == pytest.approx(2.43, abs=0.001)
    assert audio.start_s + audio.duration_s == pytest.approx(6.4, abs=0.03)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.m4a", "aac"), ("a.webm", "libopus")])
def test_missing_packets_become_listed_silence(tmp_path, sound, encode, lag, name, codec):
    original = sound(48000, 4)
    keep = {"pcm_s16le": range(80, 120), "aac": range(80, 120), "libopus": range(80, 120)}[codec]
    audio = decode_audio(encode(tmp_path / name, original, 48000, codec, keep=lambda n: n not in keep), 48000)
    assert len(audio.gaps) == 1
    start, stop = audio.gaps[0]
    packet_s = {"pcm_s16le": 1000, "aac": 1024, "libopus": 960}[codec] / 48000
    assert stop - start == pytest.approx(40 * packet_s, abs=0.003)
    hole = audio.samples[round(start * 48000) : round(stop * 48000)]
    assert not hole.any()
    assert audio.duration_s == pytest.approx(4, abs=0.003)
    tail = slice(round(stop * 48000) + 4000, round(stop * 48000) + 60_000)
    assert abs(lag(audio.samples[tail], original[tail])) <= 48  # mkv rounds time stamps to 1 ms


def test_one_lost_opus_packet_of_20_ms_is_a_gap(tmp_path, sound, encode):
    path = encode(tmp_path / "a.webm", sound(48000, 2), 48000, "libopus", keep=lambda number: number != 50)
    gaps = decode_audio(path, 16000).gaps
    assert len(gaps) == 1
    assert gaps[0][1] - gaps[0][0] == pytest.approx(0.02, abs=0.0021)


def test_packets_that_do_not_decode_become_a_gap(tmp_path, sound, encode):
    path = encode(tmp_path / "a.mkv", sound(44100, 3), 44100, "flac")
    with av.open(str(path)) as container:
        middle = [p for p in container.demux(audio=0) if p.size][10]
        damaged, at = bytes(middle), float(middle.pts * middle.time_base)
    content = path.read_bytes()
    assert content.count(damaged) == 1
    path.write_bytes(content.replace(damaged, bytes(len(damaged))))
    audio = decode_audio(path, 44100)
    assert len(audio.gaps) == 1
    assert audio.gaps[0][0] == pytest.approx(at, abs=0.002)
    assert audio.gaps[0][1] - audio.gaps[0][0] == pytest.approx(4608 / 44100, abs=0.002)
    assert audio.duration_s == pytest.approx(3, abs=0.002)


def test_a_packet_that_lacks_a_piece_becomes_a_gap(tmp_path, sound, encode):
    path = encode(tmp_path / "a.ts", sound(48000, 4), 48000, "aac")
    content = path.read_bytes()
    middle = len(content) // 188 // 2 * 188
    path.write_bytes(content[:middle] + content[middle + 188 :])  # one transport packet was lost on the way
    audio = decode_audio(path, 16000)
    assert audio.gaps
    assert all(1.5 < start < stop < 2.8 for start, stop in audio.gaps)
    assert audio.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("name", ["both.ts", "both.aac"])
def test_a_sample_rate_that_changes_in_the_stream_is_followed(tmp_path, encode, name):
    rates = (44100, 22050)
    tones = [np.sin(2 * np.pi * 440 * np.arange(rate * 2) / rate).astype(np.float32) for rate in rates]
    parts = [encode(tmp_path / f"{rate}.aac", tone, rate, "aac") for rate, tone in zip(rates, tones, strict=True)]
    path = tmp_path / name
    if name == "both.aac":  # no time stamps in the file: FFmpeg makes them up, wrongly after the change
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    else:
        with av.open(str(path), "w") as container, av.open(str(parts[0])) as first, av.open(str(parts[1])) as second:
            stream = container.add_stream_from_template(first.streams.audio[0])
            for offset_s, source in ((0, first), (3, second)):
                for packet in source.demux(audio=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + int(offset_s / packet.time_base)
                        packet.stream = stream
                        container.mux(packet)
    audio = decode_audio(path, 16000)
    assert audio.duration_s == pytest.approx(4 if name == "both.aac" else 5, abs=0.2)
    assert len(audio.gaps) == (name == "both.ts")
    for second in (1, 3 if name == "both.aac" else 4):
        piece = audio.samples[second * 16000 - 4000 : second * 16000 + 4000]
        assert np.argmax(np.abs(np.fft.rfft(piece))) == pytest.approx(440 / 2, abs=1)


def two_tracks(path, packets, default=None):
    """Write 440 Hz and 1000 Hz as two tracks, and return the path."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("flac", rate=16000, layout="mono") for _ in range(2)]
        if default is not None:
            streams[default].disposition = av.stream.Disposition.default.value
        tones = [np.sin(2 * np.pi * hz * np.arange(16000) / 16000).astype(np.float32) for hz in (440, 1000)]
        both = [packets(stream, tone, 16000, "mono") for stream, tone in zip(streams, tones, strict=True)]
        for packet in [p for pair in zip(*both, strict=True) for p in pair]:
            container.mux(packet)
    return path


def pitch(audio):
    return int(np.argmax(np.abs(np.fft.rfft(audio.samples[:16000]))))


def test_of_several_tracks_the_default_one_is_taken_else_the_first(tmp_path, packets):
    assert pitch(decode_audio(two_tracks(tmp_path / "a.mkv", packets), 16000)) == 440
    path = two_tracks(tmp_path / "b.mkv", packets, default=1)
    assert pitch(decode_audio(path, 16000)) == 1000
    assert pitch(decode_audio(path, 16000, stream=0)) == 440
    with pytest.raises(MediaError, match="2 sound tracks, and number 2"):
        decode_audio(path, 16000, stream=2)


def test_resampling_neither_delays_nor_colours_the_sound(tmp_path, encode):
    t = np.arange(44100 * 2) / 44100
    tone = (0.5 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)
    samples = decode_audio(encode(tmp_path / "a.wav", tone, 44100, "pcm_f32le"), 16000).samples
    ideal = 0.5 * np.sin(2 * np.pi * 3000 * np.arange(32000) / 16000)
    assert len(samples) == 32000
    assert np.abs(samples - ideal)[100:-100].max() < 1e-4


def test_nothing_is_printed_about_damaged_media(tmp_path, sound, encode, capfd):
    path = encode(tmp_path / "a.m4a", sound(44100, 3), 44100, "aac")
    content = bytearray(path.read_bytes())
    content[9000:12000] = bytes(3000)
    path.write_bytes(content)
    assert decode_audio(path, 16000).gaps
    assert capfd.readouterr() == ("", "")


def test_a_long_file_needs_little_more_memory_than_its_result(tmp_path):
    frames = 44100 * 1500
    path = tmp_path / "long.wav"
    with path.open("wb") as file:  # sparse: it takes no room on disk
        head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + frames * 4, b"WAVE", b"fmt ", 16, 1, 2, 44100,
                           176400, 4, 16, b"data", frames * 4)  # fmt: skip
        file.write(head)
        file.truncate(len(head) + frames * 4)
    code = (
        "import resource, sys; from cuebank.extractors.media import decode_audio, decode;"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "audio = decode_audio(sys.argv[1], 16000);"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base;"
        "print(audio.samples.nbytes, grown * 1024)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, cwd="/")
    result, grown = map(int, out.stdout.split())
    assert result == 1500 * 16000 * 4
    assert grown < 3 * result
