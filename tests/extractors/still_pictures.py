"""Pictures for the tests of backbones that look at one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cuebank.extractors.base import Pictures, Rows


def clip(count: int, side: int = 32, seed: int = 0, rate: float = 1.0) -> Pictures:
    """Coarse noise, another for each picture."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(side // 8, 1).repeat(side // 8, 2)
    return Pictures(frames, np.arange(count) / rate, np.ones(count, bool))


def extract(extractor: Any, pictures: Pictures, blocks: Sequence[int] = (16,)) -> list[Rows]:
    """Send pictures through a backbone, in blocks whose memory is used again."""
    work, at, turn = extractor.begin(), 0, 0
    while at < len(pictures.frames):
        block = Pictures(*(array[at : at + blocks[turn % len(blocks)]].copy() for array in pictures))
        work.add(block)
        at, turn = at + len(block.frames), turn + 1
        block.frames[:] = 0
    return work.finish()
