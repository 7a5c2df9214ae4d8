"""Series that were read before, so that reading them again costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .segments import Place, Segment
from .series import Series
from .text_rows import check_sizes, decode_rows
from .windows import Stretch

SEEN_SERIES = 2**16  # so many are remembered at most: half a kilobyte each


class Seen(NamedTuple):
    """A series that has been found and proven.

    `series`: views of all its rows, without values if they are compressed, or texts: `unpack(first, last)` then gives
    rows. `stretch`: how they lie in time. `rate_hz`: rows per second as far as known.
    """

    series: Series
    stretch: Stretch
    rate_hz: float | None
    unpack: Callable[[int, int], Series] | None

    def rows(self, start_s: float | None, stop_s: float | None) -> Series:
        """Return the rows with `start_s <= time < stop_s`; None leaves an end open.

        Raises:
            BadInput: if the range is reversed or NaN.
        """
        series = self.series
        if start_s is None and stop_s is None:
            return series if self.unpack is None else self.unpack(0, len(series.times))
        first, last = self.stretch.between(series.times, start_s, stop_s, self.rate_hz)
        if self.unpack is not None:
            return self.unpack(first, last)
        return Series(series.values[first:last], series.times[first:last], series.valid[first:last])


def see(segment: Segment, place: Place, rate_hz: float | None) -> Seen:
    """Prove a series of a mapped segment, and return it.

    Raises:
        Corrupt: if its rows do not agree with their checksum.
    """
    series, unpack = segment.read(place), None
    if segment.is_text:
        sizes, text, where = series.values, segment.text(place.position), segment.name_of(place)
        check_sizes(sizes, text, where)
        series = Series(np.empty(0, object), series.times, series.valid)

        def unpack(first: int, last: int) -> Series:
            rows = decode_rows(sizes, text, first, last, where)
            return Series(rows, series.times[first:last], series.valid[first:last])

    elif segment.compressed:
        series = Series(np.empty((0, segment.file.dim), segment.file.dtype), series.times, series.valid)

        def unpack(first: int, last: int) -> Series:
            return segment.rows(place.start + first, place.start + last)

    return Seen(series, Stretch(0, len(series.times)), rate_hz, unpack)
