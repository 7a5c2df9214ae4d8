"""Pictures by time stamps: which frame is shown when, and what happens where there is none."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
import pytest
from film_maker import make_film, picture, see

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media.demand import AtRate, EveryFrame, PictureShape, Slots
from cuebank.extractors.media.flash import steady, uneven
from cuebank.extractors.media.frames import sempi_frames_of_video, viper_frames

CONTAINERS = [
    ("a.mp4", "mpeg4"),
    ("a.mov", "libx264"),
    ("a.mkv", "libx264"),
    ("a.avi", "mpeg4"),
    ("a.avi", "libx264"),
    ("a.ts", "libx264"),
    ("a.webm", "libvpx-vp9"),
    ("a.webm", "libvpx"),
    ("a.flv", "libx264"),
    ("a.mpg", "mpeg2video"),
]
RATES = ["24000/1001", "25", "30000/1001", "30", "50"]


def numbers(count, first=0):
    return [number % 40 for number in range(first, first + count)]


@pytest.mark.parametrize(("name", "codec"), CONTAINERS, ids=[f"{a}-{b}" for a, b in CONTAINERS])
def test_every_frame_comes_once_in_order_with_its_time(tmp_path, name, codec):
    times = steady(Fraction(25), 2)
    tick = Fraction(1, 25) if name.endswith((".avi", ".mpg")) else Fraction(1, 1000)
    seen = see(make_film(tmp_path / name, times, codec, tick))
    assert seen.errors == {0: None}
    assert seen.numbers() == numbers(50)
    shift = seen.whole().times[0]
    assert 0 <= shift < 0.1  # what a muxer adds before B-frames, where the format cannot say so
    # FFmpeg's muxer of MPEG program streams itself lets some frame come a step late.
    tolerance_s = 0.041 if name == "a.mpg" else 0.002
    np.testing.assert_allclose(seen.whole().times - shift, [float(moment) for moment in times], atol=tolerance_s)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("grid", ["25", "30000/1001", "7"])
def test_a_grid_takes_the_frame_that_is_shown(tmp_path, rate, grid):
    times = steady(Fraction(rate), 1.5)
    seen = see(make_film(tmp_path / "a.mov", times), AtRate(Fraction(grid)))
    moments = [
        number / Fraction(grid) for number in range(100) if number / Fraction(grid) < times[-1] + 1 / Fraction(rate)
    ]
    np.testing.assert_allclose(seen.whole().times, [float(moment) for moment in moments], rtol=0, atol=1e-12)
    half_a_tick = Fraction(1, 60_000)
    shown = [max(n for n, time in enumerate(times) if time <= moment + half_a_tick) % 40 for moment in moments]
    assert seen.numbers() == shown


def test_the_grid_of_a_variable_rate_goes_by_time_stamps(tmp_path):
    times = uneven(1.5)
    seen = see(make_film(tmp_path / "a.mov", times), AtRate(Fraction(50)))
    expected = [
        max(n for n, time in enumerate(times) if time <= Fraction(k, 50)) % 40 for k in range(len(seen.numbers()))
    ]
    assert seen.numbers() == expected


@pytest.mark.parametrize("rate", RATES)
def test_time_stamps_rounded_to_milliseconds_shift_no_frame(tmp_path, rate):
    times = steady(Fraction(rate), 1.5)
    path = make_film(tmp_path / "a.mkv", times, tick=Fraction(1, 1000), codec="libx264")
    assert see(path, AtRate(Fraction(rate))).numbers() == numbers(len(times))


def test_the_first_frame_may_come_late_and_nothing_is_made_up_before_it(tmp_path):
    times = [moment + Fraction(3, 10) for moment in steady(Fraction(25), 1)]
    seen = see(make_film(tmp_path / "a.mov", times), AtRate(Fraction(25)), EveryFrame(), Slots(5))
    assert seen.whole(0).times[0] == pytest.approx(0.32)
    assert seen.whole(1).times[0] == pytest.approx(0.3)
    np.testing.assert_allclose(seen.whole(2).times, 0.3 + 0.1 + 0.2 * np.arange(5), atol=1e-4)


@pytest.mark.parametrize("start", [0.0, 0.3, 0.311, 3.0, 5.02])
@pytest.mark.parametrize("name", ["a.mov", "a.mkv", "a.avi"])
def test_a_clip_of_a_film_is_the_same_frames(tmp_path, name, start):
    tick = Fraction(1, 25) if name == "a.avi" else Fraction(1, 1000)
    path = make_film(tmp_path / name, steady(Fraction(25), 7), tick=tick)
    seen = see(path, EveryFrame(), AtRate(Fraction(50)), start_s=start, end_s=start + 1)
    first = -int(-start * 25 // 1)
    assert seen.numbers(0) == numbers(25, first)
    np.testing.assert_allclose(seen.whole(0).times, (first + np.arange(25)) / 25 - start, atol=1e-6)
    assert len(seen.numbers(1)) == 50
    assert seen.numbers(1)[0] == int(start * 25 + 1e-9) % 40  # shown at the start, though it began before
    assert seen.numbers(1)[-1] == int((start + 0.98) * 25 + 1e-9) % 40
    assert seen.tally.opened == 1


def test_a_clip_far_in_is_not_decoded_from_the_beginning(tmp_path):
    for name in ("a.mov", "a.mkv"):
        path = make_film(tmp_path / name, steady(Fraction(25), 20), tick=Fraction(1, 1000))
        assert see(path, start_s=15, end_s=16).tally.picture_packets < 60
    path = make_film(tmp_path / "a.avi", steady(Fraction(25), 20), tick=Fraction(1, 25))
    assert see(path, start_s=15, end_s=16).tally.picture_packets < 60


@pytest.mark.parametrize("rate", ["10", "25"])
def test_even_slots_are_always_as_many_as_asked_for(tmp_path, rate):
    path = make_film(tmp_path / "a.mov", steady(Fraction(rate), 2))
    for count in (1, 4, 32, 200):
        seen = see(path, Slots(count))
        middles = 2 * (np.arange(count) + 0.5) / count
        np.testing.assert_allclose(seen.whole().times, middles, atol=1e-4)
        assert seen.numbers() == [int(middle * float(rate) + 1e-6) % 40 for middle in middles]
        assert seen.tally.opened == 1
    seen = see(path, Slots(4), start_s=0.5, end_s=1.5)
    np.testing.assert_allclose(seen.whole().times, [0.125, 0.375, 0.625, 0.875])


@pytest.mark.parametrize("frames", [1, 4, 16, 20, 33, 47, 97])
@pytest.mark.parametrize("name", ["a.mov", "a.mkv", "a.avi"])
def test_slots_by_published_rules_take_their_frames(tmp_path, name, frames):
    tick = Fraction(1, 25) if name == "a.avi" else Fraction(1, 1000)
    seen = see(
        make_film(tmp_path / name, steady(Fraction(25), frames / 25 + 0.01), tick=tick),
        Slots(16, "sempi"),
        Slots(32, "viper"),
    )
    sempi = sempi_frames_of_video(frames, 16)
    assert seen.numbers(0) == [number % 40 for number in sempi]
    np.testing.assert_allclose(seen.whole(0).times, np.array(sempi) / 25, atol=1e-6)
    if frames == 4:
        assert "divides by zero" in seen.errors[1].found
    else:
        assert seen.numbers(1) == [number % 40 for number in viper_frames(frames, frames, 32)]


def test_rules_count_the_frames_of_a_clip(tmp_path):
    path = make_film(tmp_path / "a.mov", steady(Fraction(25), 8))
    seen = see(path, Slots(16, "sempi"), start_s=4, end_s=6)
    assert seen.numbers() == [(100 + number) % 40 for number in sempi_frames_of_video(50, 16)]


def test_packets_that_are_missing_leave_a_hole_only_if_it_is_long(tmp_path):
    intra = {"g": "1"}
    short = make_film(
        tmp_path / "a.mkv",
        steady(Fraction(25), 4),
        tick=Fraction(1, 1000),
        keep=lambda n: not 25 <= n < 40,
        options=intra,
    )
    seen = see(short, AtRate(Fraction(25)))
    assert seen.numbers()[24:41] == [24] * 16 + [0]  # a frozen picture, as a player shows it
    long = make_film(
        tmp_path / "b.mkv",
        steady(Fraction(25), 4),
        tick=Fraction(1, 1000),
        keep=lambda n: not 25 <= n < 75,
        options=intra,
    )
    seen = see(long, AtRate(Fraction(25)), EveryFrame())
    assert seen.numbers()[24:50] == [24] * 25 + [None]
    assert seen.numbers()[74:76] == [None, 75 % 40]
    assert seen.numbers(1) == numbers(25) + numbers(25, 75)


def test_damaged_packets_are_rows_without_a_picture(tmp_path):
    broken = make_film(
        tmp_path / "a.mov",
        steady(Fraction(25), 2),
        options={"g": "1"},
        change=lambda n, data: b"\0" * len(data) if 20 <= n < 23 else data,
    )
    seen = see(broken, EveryFrame(), AtRate(Fraction(50)), Slots(50))
    assert seen.errors == {0: None, 1: None, 2: None}
    assert seen.numbers() == [*numbers(20), None, None, None, *numbers(27, 23)]
    np.testing.assert_allclose(seen.whole().times, np.arange(50) / 25, atol=1e-6)
    assert seen.numbers(1)[38:48] == [19, 19, *[None] * 6, 23, 23]
    assert seen.numbers(2) == seen.numbers(0)
    assert not seen.whole().frames[20:23].any()


def test_a_damaged_beginning_is_rows_without_a_picture_too(tmp_path):
    broken = make_film(
        tmp_path / "a.mov",
        steady(Fraction(25), 2),
        options={"g": "1"},
        change=lambda n, data: b"\0" * len(data) if n < 3 else data,
    )
    assert see(broken).numbers() == [None] * 3 + numbers(47, 3)


@pytest.mark.parametrize("turn", [0, 90, -90, 180])
def test_pictures_are_turned_the_right_way_up(tmp_path, turn):
    def draw(number):
        image = np.full((48, 64, 3), 30, np.uint8)
        image[:24, :32] = 200  # upper left
        return image

    path = make_film(tmp_path / "a.mp4", steady(Fraction(25), 0.4), rotation=turn, draw=draw)
    frame = see(path).whole().frames[0]
    expected = np.rot90(draw(0), turn // 90)  # counter-clockwise, as the container's matrix is read
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 4


def test_pictures_of_another_size_begin_another_block(tmp_path):
    first = make_film(tmp_path / "a.ts", steady(Fraction(25), 1), "mpeg2video", Fraction(1, 25))
    second = make_film(
        tmp_path / "b.ts",
        [1 + moment for moment in steady(Fraction(25), 1)],
        "mpeg2video",
        Fraction(1, 25),
        draw=lambda n: picture(n, 96, 80),
    )
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    seen = see(tmp_path / "both.ts")
    sizes = [block.frames.shape[1:3] for block in seen.blocks[0]]
    assert set(sizes) == {(48, 64), (80, 96)}
    scaled = see(tmp_path / "both.ts", shape=PictureShape("exact", 32, 32))
    assert {block.frames.shape[1:3] for block in scaled.blocks[0]} == {(32, 32)}


def test_a_cover_picture_is_no_film(tmp_path):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(3), format="rgb24")))
        block = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), format="s16p", layout="mono")
        block.sample_rate = 44100
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    seen = see(path, sounds=[16000])
    assert "cover picture does not count" in seen.errors[0].found
    assert not isinstance(seen.sounds[0], MediaError)


def test_what_is_not_there_is_said(tmp_path):
    path = make_film(tmp_path / "a.mov", [1 + moment for moment in steady(Fraction(25), 1)])
    for sampling in (EveryFrame(), AtRate(Fraction(25)), Slots(4), Slots(16, "sempi"), Slots(4, "viper")):
        assert "1.000 s" in see(path, sampling, start_s=0, end_s=0.5).errors[0].found or isinstance(sampling, Slots)
        assert see(path, sampling, start_s=3, end_s=4).errors[0].found
    seen = see(path, sounds=[16000])
    assert "no sound track" in seen.sounds[0].found
    assert seen.errors == {0: None}
    (tmp_path / "b.mov").write_bytes(path.read_bytes()[:500])
    assert see(tmp_path / "b.mov", EveryFrame(), Slots(3)).errors[1].found
    assert see(tmp_path / "absent.mov").errors[0].found


def test_a_film_that_is_cut_short_is_an_error_but_its_whole_part_is_not(tmp_path):
    path = make_film(tmp_path / "a.mkv", steady(Fraction(25), 8), tick=Fraction(1, 1000))
    content = path.read_bytes()
    (tmp_path / "b.mkv").write_bytes(content[: len(content) // 2])
    error = see(tmp_path / "b.mkv").errors[0]
    assert "cut short" in error.found
    assert see(tmp_path / "b.mkv", start_s=0, end_s=1).errors == {0: None}


def test_a_picture_smaller_than_the_part_to_keep_is_an_error_of_that_demand_alone(tmp_path):
    path = make_film(tmp_path / "a.mov", steady(Fraction(25), 1))
    error = see(path, shape=PictureShape(crop=(100, 20))).errors[0]
    assert "64×48" in error.found


def test_sound_does_not_depend_on_pictures_beside_it(tmp_path):
    for name in ("a.mov", "a.mkv", "a.avi"):
        tick = Fraction(1, 25) if name == "a.avi" else Fraction(1, 1000)
        path = make_film(tmp_path / name, steady(Fraction(25), 6), tick=tick, sound_s=6)
        for span in ({}, {"start_s": 3.3, "end_s": 4.4}):
            alone = see(path, sounds=[16000, 48000], **span)
            company = see(path, Slots(8), EveryFrame(), Slots(16, "sempi"), sounds=[48000, 16000], **span)
            assert company.errors == {0: None, 1: None, 2: None}
            for one, other in ((0, 1), (1, 0)):
                assert alone.sounds[one].samples.tobytes() == company.sounds[other].samples.tobytes()
                assert alone.sounds[one].start_s == company.sounds[other].start_s


def test_frames_of_any_size_beyond_cameras_are_refused(tmp_path, monkeypatch):
    path = make_film(tmp_path / "a.mov", steady(Fraction(25), 0.4))
    monkeypatch.setattr("cuebank.extractors.media.decode.MAX_PIXELS", 1000)
    assert "64×48" in see(path).errors[0].found


def test_a_clock_that_jumps_far_ahead_is_an_error_and_a_long_still_is_not(tmp_path):
    times = [Fraction(0), Fraction(1, 25), Fraction(9000), Fraction(9000) + Fraction(1, 25)]
    begin = time.monotonic()
    seen = see(make_film(tmp_path / "a.mkv", times, tick=Fraction(1, 1000)), AtRate(Fraction(50)), Slots(3))
    assert "jump forward, to 9000.000 s" in seen.errors[0].found
    assert "jump forward" in seen.errors[1].found
    assert time.monotonic() - begin < 5
    still = make_film(tmp_path / "a.mov", [Fraction(0), Fraction(95), Fraction(96)], tick=Fraction(1, 100))
    seen = see(still, AtRate(Fraction(2)), EveryFrame(), Slots(4))
    assert seen.errors == {0: None, 1: None, 2: None}
    assert seen.numbers(0)[:192] == [0] * 190 + [1] * 2
    assert seen.numbers(1) == [0, 1, 2]
    assert seen.numbers(2)[:2] == [0] * 2
