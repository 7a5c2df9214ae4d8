"""Noise for the contract: of the kind that a backbone needs, and its way through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..store.clips_table import Clip
from .base import Extractor, Pictures, Rows
from .media.audio import Audio
from .media.demand import AtRate, Slots

Medium = Audio | list[Pictures] | Clip
WORDS = ["it", "is", "a", "face", "that", "looks", "at", "you", "and", "says", "nothing", "much", "but", "smiles"]
TEXT_COLUMN = "said"
SOUND_LENGTHS_S = (0.3, 1.0, 1.7)
PICTURE_LENGTHS_S = (1.0, 1.6, 2.4)


def feed(extractor: Extractor, medium: Medium, blocks: Sequence[int] = ()) -> list[Rows]:
    """Send a medium through a backbone.

    Args:
        extractor: the backbone.
        medium: sound, pictures in blocks, or a row of a clips table.
        blocks: lengths of blocks to cut pictures into anew, used in turn; none: as they are.
    """
    if isinstance(medium, Audio):
        return extractor.extract(medium)
    if isinstance(medium, Clip):
        return extractor.read(medium)
    work = extractor.begin()
    for block in _cut(medium, blocks) if blocks else medium:
        work.add(block)
    return work.finish()


def noise(extractor: Extractor, seconds: float, seed: int = 0, start_s: float = 0.0) -> Medium | None:
    """Return noise of the kind that a backbone needs; None if it needs neither sound, pictures nor a text."""
    rng = np.random.default_rng(seed)
    rate_hz, demand = extractor.needs.sound_hz, extractor.needs.pictures
    if rate_hz is not None:
        samples = rng.standard_normal(round(seconds * rate_hz))
        return Audio((0.1 * samples).astype(np.float32), rate_hz, start_s)
    if demand is None and extractor.card.input == "text":
        said = " ".join(rng.choice(WORDS, max(1, round(4 * seconds))))
        return Clip("noise", Path("noise.wav"), start=start_s, end=start_s + seconds, labels={TEXT_COLUMN: said})
    if demand is None:
        return None
    width, height = demand.shape.final or (64, 64)
    if isinstance(demand.sampling, Slots):
        times = start_s + (np.arange(demand.sampling.count) + 0.5) * seconds / demand.sampling.count
    else:
        rate = demand.sampling.rate_hz if isinstance(demand.sampling, AtRate) else Fraction(25)
        first = round(start_s * rate)
        times = np.array([float((first + number) / rate) for number in range(round(seconds * rate))])
    frames = rng.integers(0, 256, (len(times), height, width, 3), np.uint8)
    frames.flags.writeable = False
    return list(_cut([Pictures(frames, times, np.ones(len(times), bool))], (16,)))


def lengths(extractor: Extractor) -> tuple[float, ...]:
    """Return lengths in seconds of noise that the checks use."""
    return SOUND_LENGTHS_S if extractor.needs.sound_hz is not None else PICTURE_LENGTHS_S


def _cut(pictures: Sequence[Pictures], sizes: Sequence[int]) -> Iterator[Pictures]:
    whole = [np.concatenate(parts) for parts in zip(*pictures, strict=True)]
    at, turn = 0, 0
    while at < len(whole[1]):
        step = sizes[turn % len(sizes)]
        yield Pictures(*(part[at : at + step] for part in whole))
        at, turn = at + step, turn + 1


def same_bits(one: Rows, other: Rows) -> bool:
    """Tell whether two series are the same, to the last bit."""
    return all(_bits(a) == _bits(b) for a, b in zip(one, other, strict=True))


def _bits(array: np.ndarray) -> bytes | list[str]:
    return array.tolist() if array.dtype == object else array.tobytes()


def span(extractor: Extractor, medium: Medium) -> tuple[float, float]:
    """When a medium begins and ends."""
    if isinstance(medium, Audio):
        return medium.start_s, medium.start_s + medium.duration_s
    if isinstance(medium, Clip):
        return 0.0, (medium.end or 0.0) - (medium.start or 0.0)
    times = np.concatenate([block.times for block in medium])
    sampling = None if extractor.needs.pictures is None else extractor.needs.pictures.sampling
    step = 1 / float(sampling.rate_hz) if isinstance(sampling, AtRate) else float(times[1] - times[0])
    return float(times[0]), float(times[-1]) + step
