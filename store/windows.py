"""Which rows of a series lie in a range of time."""

from __future__ import annotations

import numpy as np

from .errors import BadInput

SLACK_ROWS = 1e-6  # a row may be off its place by this part of a step in a series that is called regular
_LEAST, _MOST = 2 * SLACK_ROWS, 1 - 2 * SLACK_ROWS

Clock = tuple[float, float]  # time of the first row of a regular series, rows per second


def regular_clock(times: np.ndarray, rate_hz: float | None) -> Clock | None:
    """Return the clock of a series with rows at `times` (T,); None if it is not regular, or its rate is not known."""
    if rate_hz is None or not len(times):
        return None
    places = (times - times[0]) * rate_hz
    places -= np.arange(len(times))
    return (times.item(0), rate_hz) if np.abs(places, out=places).max() < SLACK_ROWS else None


def rows_between(
    times: np.ndarray, rows: tuple[int, int], start_s: float | None, stop_s: float | None, clock: Clock | None = None
) -> tuple[int, int]:
    """Return (first, last + 1) of those rows of a series with `start_s <= time < stop_s`.

    Args:
        times: float64 seconds of these and other rows.
        rows: (first, last + 1) of the series in `times`; there the times never decrease.
        start_s: None: from the first row.
        stop_s: None: to the last row.
        clock: of the series if it is regular: rows are then computed, and the times only looked at in case of doubt.

    Raises:
        BadInput: if the range is reversed or NaN.

    Example:
        >>> rows_between(np.array([7.0, 0.0, 0.5, 1.0, 1.5]), (1, 5), 0.5, 1.5)
        (2, 4)
    """
    if start_s is not None and stop_s is not None:
        usable = start_s <= stop_s
    else:
        usable = start_s == start_s and stop_s == stop_s
    if not usable:  # reversed, or NaN
        raise BadInput(
            "A range of time was asked for.", f"It goes from {start_s} s to {stop_s} s.", "Give start_s <= stop_s."
        )
    first, last = rows
    return (
        first if start_s is None else _first_from(times, first, last, start_s, clock),
        last if stop_s is None else _first_from(times, first, last, stop_s, clock),
    )


def _first_from(times: np.ndarray, first: int, last: int, moment_s: float, clock: Clock | None) -> int:
    """Return the number of the first row from `first` on that is not before `moment_s`, `last` if all are."""
    if clock is not None:
        begin, rate_hz = clock
        place = (moment_s - begin) * rate_hz + 1
        if place <= 0:
            return first
        if place >= last - first + 1:
            return last
        whole = int(place)
        # So near to a row, only its time can tell on which side of it the moment is.
        if _LEAST < place - whole < _MOST:
            return first + whole
    return first + int(times[first:last].searchsorted(moment_s))
