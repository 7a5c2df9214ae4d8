"""Build one array at the wanted rate from blocks of sound, run by run.

A run is sound without a hole at one sample rate; it is resampled as a whole, so that nothing of its neighbours leaks
into it. The first run's first sample is sample 0 of the result, later runs begin at the nearest sample.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .resample import RunResampler
from .timeline import Block


class Assembly:
    """Collects blocks in order of time.

    Args:
        rate_hz: rate of the result.
        clip_start: what the result's times are relative to, seconds of the presentation.
    """

    def __init__(self, rate_hz: int, clip_start: Fraction) -> None:
        self._rate_hz = rate_hz
        self._clip_start = clip_start
        self._zero: Fraction | None = None  # time of sample 0 of the result
        self._parts: list[np.ndarray] = []
        self._filled = 0
        self._gaps: list[tuple[float, float]] = []
        self._run: RunResampler | None = None
        self._run_rate_hz = 0
        self._run_end = Fraction(0)

    @property
    def empty(self) -> bool:
        """Tell whether nothing was added yet."""
        return self._zero is None

    def add(self, block: Block) -> None:
        """Take the next block: right after the last one, or after a hole."""
        if self._run is None or block.start != self._run_end or block.rate_hz != self._run_rate_hz:
            self._finish_run()
            self._start_run(block)
        self._take(self._run.push(block.samples))  # type: ignore[union-attr]
        self._run_end = block.end

    def finish(self) -> tuple[np.ndarray, float, tuple[tuple[float, float], ...]]:
        """Return samples (N,) float32, the time of sample 0, and the holes, in seconds after the clip's start."""
        self._finish_run()
        samples = np.concatenate([np.zeros(0, np.float32), *self._parts])
        return samples, self._time(0), tuple(self._gaps)

    def _start_run(self, block: Block) -> None:
        if self._zero is None:
            self._zero = block.start
        first = self._index(block.start)
        if first > self._filled:
            self._gaps.append((self._time(self._filled), self._time(first)))
            self._take([np.zeros(first - self._filled, np.float32)])
        self._run = RunResampler(block.rate_hz, self._rate_hz)
        self._run_rate_hz = block.rate_hz

    def _finish_run(self) -> None:
        """Flush the resampler, and cut its output to the samples that the run stands for."""
        if self._run is None:
            return
        self._take(self._run.finish())
        excess = self._filled - self._index(self._run_end)
        while excess > 0:
            last = self._parts.pop()
            kept = last[: max(len(last) - excess, 0)]
            self._filled -= len(last) - len(kept)
            excess -= len(last) - len(kept)
            self._parts.append(kept)
            if not len(kept):
                self._parts.pop()
        self._run = None

    def _take(self, parts: list[np.ndarray]) -> None:
        self._parts.extend(parts)
        self._filled += sum(len(part) for part in parts)

    def _index(self, moment: Fraction) -> int:
        """Sample of the result that is nearest to a moment."""
        return math.floor((moment - (self._zero or 0)) * self._rate_hz + Fraction(1, 2))

    def _time(self, index: int) -> float:
        """Time of a sample of the result in seconds after the clip's start."""
        return float((self._zero or 0) - self._clip_start + Fraction(index, self._rate_hz))
