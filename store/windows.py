"""Which rows of a series lie in a range of time."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from .errors import BadInput

SLACK_ROWS = 1e-6  # what is left of a row number after rounding
_LEAST_OFF = 2 * SLACK_ROWS
LEAST_S = 1e-200  # a shorter series has no rate that a number can hold


class Stretch:
    """The rows of one series among those of many: `first` to `last`, which is not included.

    Most series are regular, or nearly so. Once it is known how far the rows are from a straight line at most, a row
    number is computed, and the times are looked at only where that leaves a choice: none for regular series. That
    matters since a search looks at a dozen places in memory that nobody has looked at for long.
    """

    __slots__ = ("_begin_s", "_off", "_rate_hz", "first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        self._begin_s: float | None = None  # nobody has looked yet
        self._rate_hz = self._off = 0.0

    def between(
        self, times: np.ndarray, start_s: float | None, stop_s: float | None, rate_hz: float | None = None
    ) -> tuple[int, int]:
        """Return (first, last + 1) of the rows with `start_s <= time < stop_s`.

        Args:
            times: float64 seconds of the many; within the series they never decrease. The same in each call.
            start_s: None: from the first row.
            stop_s: None: to the last row.
            rate_hz: rows per second as far as known. The same in each call.

        Raises:
            BadInput: if the range is reversed or NaN.

        Example:
            >>> Stretch(1, 5).between(np.array([7.0, 0.0, 0.5, 1.0, 1.5]), 0.5, 1.5)
            (2, 4)
        """
        begin = self._begin_s
        if begin is None:
            begin = self._look(times, rate_hz)
        start = -math.inf if start_s is None else start_s
        stop = math.inf if stop_s is None else stop_s
        if not start <= stop:  # reversed, or one is NaN
            raise BadInput(
                "A range of time was asked for.", f"It goes from {start_s} s to {stop_s} s.", "Give start_s <= stop_s."
            )
        origin, end, off = self.first, self.last, self._off
        # One more than the place of a row at that moment: cut to a whole number, it is the place rounded up.
        low, high = (start - begin) * self._rate_hz + 1, (stop - begin) * self._rate_hz + 1
        if low > off and high + off < end - origin + 1:  # never if `begin` is NaN
            first, last = origin + int(low - off), origin + int(high - off)
            first_end, last_end = origin + int(low + off), origin + int(high + off)
        else:
            first, last, first_end, last_end = origin, origin, end, end
        # Python finds one number in half the time that numpy takes.
        if first != first_end:
            first = bisect_left(times.data, start, first, first_end)
        if last != last_end:
            last = bisect_left(times.data, stop, last, last_end)
        return first, last

    def _look(self, times: np.ndarray, rate_hz: float | None) -> float:
        """Find the line on which the rows lie, and how far they are off it; NaN if there is none."""
        rows = times[self.first : self.last]
        self._begin_s = math.nan
        if len(rows) > 1 and rows[-1] - rows[0] > LEAST_S:
            self._begin_s = rows.item(0)
            # The same objects for all series of a set: they stay in the processor's cache.
            if rate_hz is not None and self._farthest(rows, rate_hz) < SLACK_ROWS:
                self._rate_hz, self._off = rate_hz, _LEAST_OFF
            else:
                self._rate_hz = (len(rows) - 1) / float(rows[-1] - rows[0])
                self._off = self._farthest(rows, self._rate_hz) + SLACK_ROWS
        return self._begin_s

    @staticmethod
    def _farthest(rows: np.ndarray, rate_hz: float) -> float:
        places = (rows - rows[0]) * rate_hz
        places -= np.arange(len(rows))
        return float(np.abs(places, out=places).max())
