"""Which rows of a series lie in a range of time."""

from __future__ import annotations

import numpy as np

from .errors import BadInput


def rows_between(
    times: np.ndarray,
    rows: tuple[int, int],
    start_s: float | None,
    stop_s: float | None,
    rate_hz: float | None = None,
) -> tuple[int, int]:
    """Return (first, last + 1) of those rows of a series with `start_s <= time < stop_s`.

    Args:
        times: float64 seconds of these and other rows.
        rows: (first, last + 1) of the series in `times`; there the times never decrease.
        start_s: None: from the first row.
        stop_s: None: to the last row.
        rate_hz: rows per second, if the series is likely to be regular: then the row numbers are computed and only
            confirmed by the times, which is quicker than searching.

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
        first if start_s is None else _first_from(times, first, last, start_s, rate_hz),
        last if stop_s is None else _first_from(times, first, last, stop_s, rate_hz),
    )


def _first_from(times: np.ndarray, first: int, last: int, moment_s: float, rate_hz: float | None) -> int:
    """Return the number of the first row from `first` on that is not before `moment_s`, `last` if all are."""
    if rate_hz is not None and first < last:
        place = (moment_s - times.item(first)) * rate_hz
        if place <= 0:
            return first
        if place < last - first - 1:
            guess = first + int(place + 0.999999)  # rounded up, unless only rounding makes it more than whole
            if times.item(guess - 1) < moment_s <= times.item(guess):
                return guess
    return first + int(times[first:last].searchsorted(moment_s))
