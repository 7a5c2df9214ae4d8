"""Series that were read before, so that reading them again costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .segments import Place, Segment
from .series import Series
from .text_rows import check_sizes, decode_rows
from .windows import Stretch

SEEN_SERIES = 2**16  # so many are remembered at most: half a kilobyte each


class Seen(NamedTuple):
    """A series that has been found and proven.

    `series`: views of all its rows, without values if they are compressed, or texts. `whole`: the mapped rows of its
    segment; a part is cut out of these, since all series share them: they stay in the processor's cache, while views of
    the one series would have to be fetched first. `stretch`: where the series lies among them, and how in time.
    `rate_hz`: rows per second as far as known. `unpack`: gives rows first to last of `whole` if values do not lie there
    as they are.
    """

    series: Series
    whole: tuple[Any, np.ndarray, np.ndarray]
    stretch: Stretch
    rate_hz: float | None
    unpack: Callable[[int, int], Series] | None

    def rows(self, start_s: float | None, stop_s: float | None) -> Series:
        """Return the rows with `start_s <= time < stop_s`; None leaves an end open.

        Raises:
            BadInput: if the range is reversed or NaN.
        """
        if start_s is None and stop_s is None and self.unpack is None:
            return self.series
        values, times, valid = self.whole
        first, last = self.stretch.between(times, start_s, stop_s, self.rate_hz)
        if self.unpack is not None:
            return self.unpack(first, last)
        return Series(values[first:last], times[first:last], valid[first:last])


def see(segment: Segment, place: Place, rate_hz: float | None) -> Seen:
    """Prove a series of a mapped segment, and return it.

    Raises:
        Corrupt: if its rows do not agree with their checksum.
    """
    series, whole = segment.read(place), segment.maps
    unpack: Callable[[int, int], Series] | None = None
    if segment.is_text:
        sizes, text, where = series.values, segment.text(place.position), segment.name_of(place)
        check_sizes(sizes, text, where)
        series = Series(np.empty(0, object), series.times, series.valid)
        begin = place.start

        def decoded(first: int, last: int) -> Series:
            rows = decode_rows(sizes, text, first - begin, last - begin, where)
            return Series(rows, whole[1][first:last], whole[2][first:last])

        unpack = decoded
    elif segment.compressed:
        series = Series(np.empty((0, segment.file.dim), segment.file.dtype), series.times, series.valid)
        unpack = segment.rows
    return Seen(series, whole, Stretch(place.start, place.stop), rate_hz, unpack)
