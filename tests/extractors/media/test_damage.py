"""Damaged files end as sound or as a reason, never as a crash of this process or a hang."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from damage import REAL, damage
from film_maker import make_film

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import DecodePool
from cuebank.extractors.media.demand import AtRate, EveryFrame, PictureDemand, PictureShape, Slots
from cuebank.extractors.media.flash import steady
from cuebank.extractors.media.request import ClipRequest
from cuebank.extractors.media.stream import PicturesCame, SoundCame

MADE = [("a.mkv", "aac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus"), ("a.flac", "flac"), ("a.avi", "pcm_s16le"),
        ("a.ts", "aac"), ("a.flv", "aac"), ("a.wav", "pcm_s24le")]  # fmt: skip
FILMS = [("a.mp4", "mpeg4"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264"),
         ("a.webm", "libvpx-vp9"), ("a.flv", "libx264"), ("a.mpg", "mpeg2video")]  # fmt: skip


def noisy(number):
    return np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)


DEMANDS = (
    PictureDemand(AtRate(Fraction(5)), PictureShape("exact", 32, 32)),
    PictureDemand(Slots(8), PictureShape("short-side", 32, crop=(32, 32))),
    PictureDemand(Slots(16, "sempi"), PictureShape("exact", 24, 24)),
    PictureDemand(EveryFrame(), PictureShape("exact", 16, 16)),
)


def check(sources, variants, folder, seed, rounds_s):
    """Damage files and decode them; how many gave sound, pictures, and reasons instead of either."""
    chance = random.Random(seed)
    requests = []
    for number in range(variants):
        source = sources[number % len(sources)]
        path = folder / f"{number}{source.suffix}"
        path.write_bytes(damage(source.read_bytes(), chance))
        requests.append(ClipRequest(path, (16000,), DEMANDS, *chance.choice([(), (0.5, 1.5), (3.0, 4.0)])))
    outcomes = {"sound": 0, "no sound": 0, "pictures": 0, "no pictures": 0}
    with DecodePool(1, timeout_s=rounds_s) as pool:
        for stream in pool.clips(requests):
            blocks = {number: [] for number in range(len(DEMANDS))}
            for event in stream:
                if isinstance(event, PicturesCame):
                    blocks[event.demand].append(event.pictures)
                    continue
                sound = isinstance(event, SoundCame)
                result = event.sound if sound else event.error
                if isinstance(result, MediaError):
                    check_reason(stream.request, result)
                elif sound:
                    check_sound(stream.request, result)
                else:
                    check_pictures(stream.request, DEMANDS[event.demand], blocks[event.demand])
                kind = "sound" if sound else "pictures"
                outcomes[f"no {kind}" if isinstance(result, MediaError) else kind] += 1
    return outcomes


def check_reason(request, error):
    assert "did not get on" not in error.found, request
    assert "decoder process" not in error.found, f"{request}: {error}"
    assert str(request.path) in error.asked


def check_sound(request, audio):
    assert audio.samples.dtype == np.float32
    assert len(audio.samples) > 0, request
    assert np.isfinite(audio.samples).all(), request
    assert audio.start_s >= 0, request
    for start, stop in audio.gaps:
        assert 0 <= start - audio.start_s < stop - audio.start_s <= audio.duration_s + 1e-6, request


def check_pictures(request, demand, blocks):
    times, valid = (np.concatenate([block[part] for block in blocks]) for part in (1, 2))
    assert valid.any(), request
    assert (np.diff(times) >= 0).all(), request
    assert times[0] >= 0, request
    assert request.end_s is None or times[-1] <= request.end_s - request.start_s, request
    rule = getattr(demand.sampling, "rule", None)
    assert rule is None or len(times) == demand.sampling.count, request
    assert rule is not None or (np.diff(times) > 0).all(), request
    assert {block.frames.shape[1:] for block in blocks} == {(*reversed(demand.shape.final), 3)}


def test_damaged_variants_of_real_files(shared, tmp_path):
    outcomes = check([shared("media", name) for name in REAL], 120, tmp_path, 2, 20)
    assert min(outcomes.values()) > 20, outcomes


def test_damaged_variants_of_every_container(tmp_path, sound, encode):
    folder = tmp_path / "good"
    folder.mkdir()
    sources = [encode(folder / f"{codec}{name}", sound(48000, 3), 48000, codec) for name, codec in MADE]
    outcomes = check(sources, 160, tmp_path, 3, 20)
    assert outcomes["sound"] > 30
    assert outcomes["no sound"] > 30


def make_films(folder):
    times = steady(Fraction(25), 4)
    for number, (name, codec) in enumerate(FILMS):
        tick = Fraction(1, 25) if name.endswith((".avi", ".mpg")) else Fraction(1, 1000)
        sounds = {} if name.endswith((".flv", ".ts", ".mpg", ".mp4")) else {"sound_s": 4}
        yield make_film(folder / f"{number}{name}", times, codec, tick, draw=noisy, **sounds)


def test_damaged_variants_of_films_in_every_container(tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    outcomes = check(list(make_films(folder)), 160, tmp_path, 5, 20)
    assert outcomes["pictures"] > 80, outcomes
    assert outcomes["no pictures"] > 50, outcomes


@pytest.mark.slow
def test_many_damaged_variants(shared, tmp_path, sound, encode):
    folder = tmp_path / "good"
    folder.mkdir()
    sources = [encode(folder / f"{codec}{name}", sound(48000, 3), 48000, codec) for name, codec in MADE]
    sources += make_films(folder)
    check(sources + [shared("media", name) for name in REAL], 2000, tmp_path, 4, 20)
