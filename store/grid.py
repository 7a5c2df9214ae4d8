"""Time grids: moments at an exact rational rate, or at the rows of a feature set, each with the bin around it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .errors import BadInput

SLACK_S = 1e-9  # two moments this near are the same: what is left of them after rounding to float64
_EXACT = 2**53  # integers up to here are exact as float64


@dataclass(frozen=True)
class Clock:
    """When a series has rows.

    Args:
        times: (T,) float64 seconds, never decreasing.
        step_s: nominal distance of two rows; inf for the only row of a set without a rate: it stands for the whole
            clip.
    """

    times: np.ndarray
    step_s: float

    @classmethod
    def of(cls, times: np.ndarray, rate_hz: Fraction | None) -> Clock:
        """Return the clock of rows at `times` (T,); without a rate the step is the median distance of two rows."""
        if rate_hz is not None:
            return cls(times, float(1 / rate_hz))
        if len(times) <= 1:
            return cls(times, math.inf)
        distances = np.diff(times)
        distances = distances[distances > 0]
        return cls(times, float(np.median(distances)) if len(distances) else 0.0)


@dataclass(frozen=True)
class Grid:
    """Moments, and the bin that each stands for.

    Args:
        times: (T,) float64 seconds, never decreasing.
        starts: (T,) where each bin begins; that moment belongs to it.
        stops: (T,) where each bin ends; that moment does not.
        step_s: nominal distance of two moments.
    """

    times: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    step_s: float

    def cut(self, start_s: float | None, stop_s: float | None) -> Grid:
        """Return the moments with `start_s <= time < stop_s`; None leaves an end open."""
        bounds = (-math.inf if start_s is None else start_s, math.inf if stop_s is None else stop_s)
        first, last = self.times.searchsorted(bounds)
        return Grid(self.times[first:last], self.starts[first:last], self.stops[first:last], self.step_s)


def exact_rate(rate: Fraction | int | str) -> Fraction:
    """Return a rate in Hz as an exact fraction.

    Args:
        rate: a fraction, a whole number, or text like `25` or `30000/1001`.

    Raises:
        BadInput: if it is none of these or not positive. A float is none: 29.97 is not 30000/1001.

    Example:
        >>> exact_rate("30000/1001")
        Fraction(30000, 1001)
    """
    found = None
    if isinstance(rate, str) and re.fullmatch(r"[0-9]{1,18}(/[0-9]{1,18})?", rate):
        whole, _, part = rate.partition("/")
        found = Fraction(int(whole), int(part or 1)) if int(part or 1) else None
    elif isinstance(rate, (int, np.integer, Fraction)) and not isinstance(rate, bool):
        found = Fraction(int(rate)) if isinstance(rate, np.integer) else Fraction(rate)
    if found is None or found <= 0:
        raise BadInput(
            "A time grid was asked for.",
            f"Its rate is {rate!r}, which is not an exact positive number of Hz.",
            'Give a whole number, a Fraction, or text like "30000/1001".',
        )
    return found


def rate_grid(rate: Fraction, clocks: Sequence[Clock], start_s: float | None, stop_s: float | None) -> Grid:
    """Return the grid whose bin k is [k / rate, (k + 1) / rate), at its centre; k = 0 begins where the clip begins.

    Args:
        rate: bins per second.
        clocks: of what shall be put on the grid; they say where it begins and ends if that is not given. It begins
            with the clip, or with the first row if that is earlier; it ends where the last row ends.
        start_s: the centres are not before this.
        stop_s: the centres are before this.

    Returns:
        A grid whose times and bounds are all correctly rounded from exact fractions, so there is no drift.

    Raises:
        BadInput: if float64 seconds cannot tell the bins apart.
    """
    filled = [clock for clock in clocks if len(clock.times)]
    earliest = min((float(clock.times[0]) for clock in filled), default=0.0)
    first = min(0, _bin_of(earliest, rate)) if start_s is None else math.floor(Fraction(start_s) * rate) - 1
    last = first if stop_s is None else math.ceil(Fraction(stop_s) * rate) + 1
    if stop_s is None:
        last = max((_bin_after(clock, rate) for clock in filled), default=first)
    last = max(first, last)
    if 4 * max(abs(first), abs(last), 1) * rate.denominator >= _EXACT or 2 * rate.numerator >= _EXACT:
        raise BadInput(
            f"A time grid of {rate} Hz was asked for.",
            f"Its bins {first} to {last} are finer than float64 seconds.",
            "Choose a lower rate or a shorter range.",
        )
    k = np.arange(first, last + 1, dtype=np.int64)
    bounds = k * rate.denominator / rate.numerator
    centres = (2 * k[:-1] + 1) * rate.denominator / (2 * rate.numerator)
    return Grid(centres, bounds[:-1], bounds[1:], float(1 / rate)).cut(start_s, stop_s)


def _bin_of(time_s: float, rate: Fraction) -> int:
    """Return the number of the bin in which a moment lies, by the rounded bounds that the grid will have."""
    k = math.floor(Fraction(time_s) * rate)
    return k + 1 if float((k + 1) / rate) <= time_s else k


def _bin_after(clock: Clock, rate: Fraction) -> int:
    """Return the number of the first bin that lies behind the end of the last row."""
    last = float(clock.times[-1])
    behind = _bin_of(last, rate) + 1
    if math.isinf(clock.step_s):
        return behind
    end = Fraction(last + clock.step_s / 2 - SLACK_S)
    return max(behind, math.ceil(end * rate - Fraction(1, 2)))


def row_grid(clock: Clock) -> Grid:
    """Return the grid of the rows of a series; each bin reaches half-way to its neighbours, at most half a step.

    Rows at the same moment have the same bin. The bin of a single row without a rate is the whole clip.
    """
    moments, which = np.unique(clock.times, return_inverse=True)
    half = np.diff(moments) / 2
    half = np.minimum(half, clock.step_s / 2)
    edge = np.full(1, clock.step_s / 2)
    starts, stops = moments - np.concatenate([edge, half]), moments + np.concatenate([half, edge])
    # Neighbours that touch must have one bound, not two that differ by rounding: a row between them would be lost.
    touching = np.abs(starts[1:] - stops[:-1]) <= SLACK_S
    starts[1:][touching] = stops[:-1][touching]
    which = which.reshape(-1)  # numpy 2.0 gives it another shape
    return Grid(clock.times, starts[which], stops[which], clock.step_s)


def window(start_s: Any, stop_s: Any) -> tuple[float | None, float | None]:
    """Return a range of time as floats; None is an open end.

    Raises:
        BadInput: if it is reversed, or an end is no finite number.
    """
    ends = []
    for end in (start_s, stop_s):
        try:
            ends.append(None if end is None else float(end))
        except (TypeError, ValueError):
            ends.append(math.nan)
    start, stop = ends
    finite = all(end is None or math.isfinite(end) for end in ends)
    if not finite or (start is not None and stop is not None and start > stop):
        raise BadInput(
            "A range of time was asked for.",
            f"It goes from {start_s} s to {stop_s} s.",
            "Give finite seconds with start_s <= stop_s; leave an end out to keep it open.",
        )
    return start, stop
