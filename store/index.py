"""Which series a key means: the newest of its kind over all segments of a feature set.

Arrays, not dictionaries: 64-bit hashes of the keys, sorted, beside the place each leads to. A million keys take 16 MB,
and a look-up is one binary search and one comparison of the ids themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .keys import encode_key, hash_key
from .segments import OK, Segment


class KeyIndex:
    """The live series and failures of a feature set.

    Args:
        segments: from the oldest to the newest. A series wins over a failure, the newer over the older.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        lengths = [len(segment) for segment in segments]
        numbers = np.repeat(np.arange(len(segments), dtype=np.int32), lengths)
        positions = np.concatenate([np.empty(0, np.int32), *(np.arange(n, dtype=np.int32) for n in lengths)])
        status = np.concatenate([np.empty(0, np.uint8), *(segment.status for segment in segments)])
        hashes = np.concatenate([np.empty(0, np.uint64), *(segment.key_hash for segment in segments)])
        order = np.lexsort((-positions, -numbers, status, hashes))
        self._hashes, self._numbers, self._positions = hashes[order], numbers[order], positions[order]
        live = self._winners()
        self._hashes, self._numbers, self._positions = (
            self._hashes[live],
            self._numbers[live],
            self._positions[live],
        )
        row_sizes = np.concatenate([np.empty(0, np.int64), *(segment.row_size for segment in segments)])
        self._row_sizes = row_sizes[order][live]
        ok = status[order][live] == OK
        self._series = self._by_place(np.flatnonzero(ok))
        self._failed = self._by_place(np.flatnonzero(~ok))

    def _winners(self) -> np.ndarray:
        """Return a mask of the first entry of each key; entries of one hash are in order of preference."""
        hashes = self._hashes
        live = np.ones(len(hashes), bool)
        repeats = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        seen: set[tuple[bytes, bytes]] = set()
        previous = -1
        for i in repeats.tolist():
            if i != previous + 1:  # a new run of equal hashes, whose first entry is at i - 1
                seen = {self._key_at(i - 1)}
            key = self._key_at(i)
            live[i] = key not in seen  # another key with the same hash lives on
            seen.add(key)
            previous = i
        return live

    def _key_at(self, i: int) -> tuple[bytes, bytes]:
        return self.segments[self._numbers[i]].encoded_key(int(self._positions[i]))

    def _by_place(self, entries: np.ndarray) -> np.ndarray:
        """Return entries in the order in which they were committed."""
        return entries[np.lexsort((self._positions[entries], self._numbers[entries]))]

    def find(self, clip: bytes, entity: bytes) -> tuple[Segment, int] | None:
        """Return where the newest series (or, without one, failure) of an encoded key is; None if there is neither."""
        hashes, wanted = self._hashes, np.uint64(hash_key(clip, entity))
        i = int(hashes.searchsorted(wanted))
        while i < len(hashes) and hashes[i] == wanted:
            segment, position = self.segments[self._numbers[i]], int(self._positions[i])
            if segment.encoded_key(position) == (clip, entity):
                return segment, position
            i += 1
        return None

    def has_series(self, keys: Iterable[tuple[str, str | None]]) -> list[bool]:
        """Return for each key whether there is a series of it."""
        found = []
        for clip_id, entity_id in keys:
            place = self.find(*encode_key(clip_id, entity_id))
            found.append(place is not None and place[0].status[place[1]] == OK)
        return found

    @property
    def series_count(self) -> int:
        """Number of live series."""
        return len(self._series)

    @property
    def failed_count(self) -> int:
        """Number of keys that have only failed."""
        return len(self._failed)

    def series_at(self, i: int) -> tuple[Segment, int]:
        """Return the place of the i-th live series in order of commit."""
        entry = self._series[i]
        return self.segments[self._numbers[entry]], int(self._positions[entry])

    def failed_places(self) -> list[tuple[Segment, int]]:
        """Return the places of all live failures."""
        return [(self.segments[self._numbers[e]], int(self._positions[e])) for e in self._failed]

    def row_count(self) -> int:
        """Return the number of rows of all live series."""
        return int(self._row_sizes[self._series].sum())

    def clip_count(self) -> int:
        """Return the number of different clips with a live series."""
        clips = set()
        for i in range(len(self._series)):
            segment, position = self.series_at(i)
            clips.add(segment.encoded_key(position)[0])
        return len(clips)
