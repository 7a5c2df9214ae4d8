"""Damaged files end as sound or as a reason, never as a crash of this process or a hang."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cuebank.extractors.errors import MediaError
from cuebank.extractors.media import Audio, DecodePool, DecodeRequest

REAL = ["talking_1.mp4", "single_face.mp4", "face_then_no_face.mov", "meeting_headset.wav", "video_call.mp4"]
MADE = [("a.mkv", "aac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus"), ("a.flac", "flac"), ("a.avi", "pcm_s16le"),
        ("a.ts", "aac"), ("a.flv", "aac"), ("a.wav", "pcm_s24le")]  # fmt: skip


def damage(content, chance):
    """Cut, flip, overwrite or take out a part of a file."""
    content = bytearray(content)
    kind = chance.choice(["cut", "flip", "head", "hole", "noise"])
    at, length = chance.randrange(len(content)), chance.randrange(1, 20_000)
    if kind == "cut":
        del content[at:]
    elif kind == "hole":
        del content[at : at + length]
    elif kind == "noise":
        content[at : at + length] = chance.randbytes(length)
    else:
        reach = len(content) if kind == "flip" else min(len(content), 3000)
        for _ in range(chance.choice([1, 10, 200])):
            content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(content)


def check(sources, variants, folder, seed, rounds_s):
    chance = random.Random(seed)
    requests = []
    for number in range(variants):
        source = sources[number % len(sources)]
        path = folder / f"{number}{source.suffix}"
        path.write_bytes(damage(source.read_bytes(), chance) or b"\0")
        requests.append(DecodeRequest(path, 16000, *chance.choice([(), (0.5, 1.5), (3.0, 4.0)])))
    outcomes = {"sound": 0, "reason": 0}
    with DecodePool(1, timeout_s=rounds_s) as pool:
        for request, result in pool.decode(requests):
            if isinstance(result, Audio):
                assert result.samples.dtype == np.float32
                assert len(result.samples) > 0, request
                assert np.isfinite(result.samples).all(), request
                assert result.start_s >= 0, request
                for start, stop in result.gaps:
                    assert 0 <= start - result.start_s < stop - result.start_s <= result.duration_s + 1e-6, request
                outcomes["sound"] += 1
            else:
                assert isinstance(result, MediaError)
                assert "did not get on" not in result.found, request
                assert "ended" not in result.found or "process" not in result.found, f"{request}: {result}"
                outcomes["reason"] += 1
    return outcomes


def test_damaged_variants_of_real_files(shared, tmp_path):
    outcomes = check([shared("media", name) for name in REAL], 120, tmp_path, 2, 20)
    assert outcomes["sound"] > 20
    assert outcomes["reason"] > 20


def test_damaged_variants_of_every_container(tmp_path, sound, encode):
    folder = tmp_path / "good"
    folder.mkdir()
    sources = [encode(folder / f"{codec}{name}", sound(48000, 3), 48000, codec) for name, codec in MADE]
    outcomes = check(sources, 160, tmp_path, 3, 20)
    assert outcomes["sound"] > 30
    assert outcomes["reason"] > 30


@pytest.mark.slow
def test_many_damaged_variants(shared, tmp_path, sound, encode):
    folder = tmp_path / "good"
    folder.mkdir()
    sources = [encode(folder / f"{codec}{name}", sound(48000, 3), 48000, codec) for name, codec in MADE]
    check(sources + [shared("media", name) for name in REAL], 2000, tmp_path, 4, 20)
