"""Put blocks of sound on one exact time axis: jitter, holes, overlaps, padding, and the cut to a clip.

Every step is a generator over `Block`s in order of time, so memory stays bounded. Times are exact fractions of seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

# Containers round time stamps (mkv, flv: 1 ms) and live recorders jitter by a few ms; the shortest packets of common
# speech codecs are 20 ms. A difference below 10 ms is rounding, one above it is a hole: half a row of a 50 Hz feature.
JITTER_S = Fraction(10, 1000)
MAX_STEP_BACK_S = 1  # an overlap is cut; a longer way back means a broken or spliced clock
MAX_HOLE_S = 3600  # filled with silence; more would be a broken clock, and a way to fill the memory
MAX_PADDING_S = Fraction(1, 10)  # encoders pad less than 2,200 samples; more sound than that behind the end is real


class ClockError(Exception):
    """Time stamps that no steady recording can have; the text says which."""


@dataclass(frozen=True)
class Block:
    """Some sound: `samples` (n,) float32 mono at `rate_hz`, the first at `start` seconds of the presentation."""

    start: Fraction
    rate_hz: int
    samples: np.ndarray

    @property
    def end(self) -> Fraction:
        """Time just after the last sample."""
        return self.start + Fraction(len(self.samples), self.rate_hz)

    def index(self, moment: Fraction) -> int:
        """Number of samples that lie before `moment`, from 0 to n."""
        return min(max(math.ceil((moment - self.start) * self.rate_hz), 0), len(self.samples))

    def after(self, moment: Fraction) -> Block:
        """What lies at or after `moment`; possibly nothing."""
        count = self.index(moment)
        return replace(self, start=self.start + Fraction(count, self.rate_hz), samples=self.samples[count:])

    def before(self, moment: Fraction) -> Block:
        """What lies before `moment`; possibly nothing."""
        return replace(self, samples=self.samples[: self.index(moment)])


def settle(blocks: Iterable[Block], tick: Fraction) -> Iterator[Block]:
    """Yield blocks that either follow each other exactly or leave a real hole.

    Args:
        blocks: blocks with the times their container gives them.
        tick: resolution of those times, seconds.

    Raises:
        ClockError: if time runs back by more than a second, or holes add up to more than an hour.
    """
    jitter = max(JITTER_S, tick)
    expected: Fraction | None = None
    holes = Fraction(0)
    for block in blocks:
        if expected is None:
            if abs(block.start) < tick:  # sound that starts with the file, but for rounding
                block = replace(block, start=Fraction(0))
        else:
            lead = block.start - expected
            if lead > jitter:
                holes += lead
                if holes > MAX_HOLE_S:
                    raise ClockError(f"Its time stamps jump forward, to {float(block.start):.3f} s.")
            elif lead < -MAX_STEP_BACK_S:
                raise ClockError(
                    f"Its time stamps jump back, from {float(expected):.3f} to {float(block.start):.3f} s."
                )
            else:
                kept = block.after(expected) if lead < -jitter else block
                block = replace(kept, start=expected)
        expected = block.end
        if len(block.samples):
            yield block


def without_padding(blocks: Iterable[Block], end: Fraction | None) -> Iterator[Block]:
    """Leave out what an encoder added behind the stated end (`None`: nothing is stated).

    What lies behind the end is held back, and let through after all where it is too long to be padding.
    """
    held: list[Block] = []
    for block in blocks:
        if end is None or block.end <= end:
            yield block
            continue
        inside, behind = block.before(end), block.after(end)
        if len(inside.samples):
            yield inside
        held.append(behind)
        if behind.end - end > MAX_PADDING_S:
            yield from held
            held, end = [], None


def cut(blocks: Iterable[Block], start: Fraction, end: Fraction | None) -> Iterator[Block]:
    """Yield the samples whose times are in [start, end), and stop as soon as the end is reached."""
    for block in blocks:
        kept = block.after(start)
        if end is not None:
            kept = kept.before(end)
        if len(kept.samples):
            yield kept
        if end is not None and block.end >= end:
            return
