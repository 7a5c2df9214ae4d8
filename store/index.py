"""Which series a key means: the newest of its kind over all segments of a feature set.

What a merged index says, and what the segments that are not in it say, is kept apart: opening a million series must
not copy them. Where both have a key, the entry that loses is marked as dead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from .containers.names import rank
from .keys import Key, decode_key, encode_key, hash_key
from .segments import FAILED, OK
from .tables import MergedTable, SegmentTable, Table, counts

Found = tuple[Table, int]  # a table, and the number of an entry in it
SPREAD = 2048  # entries to both sides of where a hash should be; of a million hashes, a few dozen lie outside


class KeyIndex:
    """The live series and failures of a feature set. A series wins over a failure, the newer over the older.

    Args:
        merged: what a merged index says, if there is one.
        fresh: what the segments say that it does not cover.
    """

    def __init__(self, merged: MergedTable | None, fresh: SegmentTable) -> None:
        self.merged, self.fresh = merged, fresh
        self.tables: list[Table] = [fresh] if merged is None else [fresh, merged]
        self._dead: list[frozenset[int]] = [frozenset(), frozenset()]
        if merged is not None and len(fresh.hashes):
            self._dead = list(self._losers(merged))
        # Python finds and compares single numbers in a fraction of the time that numpy takes.
        self._searched = [
            (table, table.hashes.data, table.status.data, dead)
            for table, dead in zip(self.tables, self._dead, strict=False)
            if len(table.hashes)
        ]

    def _losers(self, merged: MergedTable) -> tuple[frozenset[int], frozenset[int]]:
        """Return the entries of the fresh table, and of the merged one, that lose against the other."""
        fresh_dead, merged_dead = set(), set()
        places = merged.hashes.searchsorted(self.fresh.hashes)
        inside = places < len(merged.hashes)
        same = np.zeros(len(places), bool)
        same[inside] = merged.hashes[places[inside]] == self.fresh.hashes[inside]
        for entry in np.flatnonzero(same).tolist():
            other = _find(merged, merged.hashes.data, int(self.fresh.hashes[entry]), *self.fresh.encoded_key(entry))
            if other is None:
                continue  # another key with the same hash
            if self._preference(self.fresh, entry) > self._preference(merged, other):
                merged_dead.add(other)
            else:
                fresh_dead.add(entry)
        return frozenset(fresh_dead), frozenset(merged_dead)

    @staticmethod
    def _preference(table: Table, entry: int) -> tuple[bool, tuple[int, str]]:
        return bool(table.status[entry] == OK), rank(table.names[int(table.numbers[entry])])

    def prove(self) -> None:
        """Look at the ids of all entries.

        Raises:
            Corrupt: if some cannot be read.
        """
        for table in self.tables:
            table.prove()

    def find(self, clip: bytes, entity: bytes) -> Found | None:
        """Return where the newest series (or, without one, failure) of an encoded key is; None if there is neither."""
        wanted = hash_key(clip, entity)
        for table, hashes, _, dead in self._searched:
            entry = _find(table, hashes, wanted, clip, entity)
            if entry is not None and entry not in dead:
                return table, entry
        return None

    def missing(self, keys: Iterable[tuple[str, str | None]]) -> list[Key]:
        """Return those keys of which there is no series, in their order."""
        absent = []
        for clip_id, entity_id in keys:
            clip, entity = encode_key(clip_id, entity_id)
            wanted = hash_key(clip, entity)
            for table, hashes, status, dead in self._searched:
                entry = _find(table, hashes, wanted, clip, entity)
                if entry is not None and not (dead and entry in dead):
                    if status[entry] != OK:
                        absent.append(Key(clip_id, entity_id))
                    break
            else:
                absent.append(Key(clip_id, entity_id))
        return absent

    def entries(self, status: int) -> list[np.ndarray]:
        """Return for each table the live entries of a status, in order of their hashes."""
        found = []
        for table, dead in zip(self.tables, self._dead, strict=False):
            mine = np.flatnonzero(table.status == status)
            found.append(np.setdiff1d(mine, np.fromiter(dead, np.int64, len(dead))) if dead else mine)
        return found

    @cached_property
    def _series(self) -> tuple[np.ndarray, np.ndarray]:
        return self._in_order(OK)

    def _in_order(self, status: int) -> tuple[np.ndarray, np.ndarray]:
        """Return table and entry of each live series, or failure, in order of commit."""
        entries = self.entries(status)
        names = sorted({name for table in self.tables for name in table.names}, key=rank)
        number_of = {name: i for i, name in enumerate(names)}
        ranks, positions, tables = [], [], []
        for number, (table, mine) in enumerate(zip(self.tables, entries, strict=True)):
            own = np.array([number_of[name] for name in table.names], np.int64)
            ranks.append(own[table.numbers[mine]] if len(mine) else np.empty(0, np.int64))
            positions.append(table.positions[mine])
            tables.append(np.full(len(mine), number, np.uint8))
        order = np.lexsort((np.concatenate(positions), np.concatenate(ranks)))
        return np.concatenate(tables)[order], np.concatenate(entries)[order]

    def series_at(self, i: int) -> Found:
        """Return the i-th live series in order of commit."""
        tables, entries = self._series
        return self.tables[tables[i]], int(entries[i])

    @cached_property
    def _counts(self) -> tuple[int, int]:
        series, failed = counts(self.fresh.status)
        if self.merged is not None:
            series, failed = series + self.merged.series, failed + self.merged.failed
        for table, dead in zip(self.tables, self._dead, strict=False):
            for entry in dead:
                if table.status[entry] == OK:
                    series -= 1
                else:
                    failed -= 1
        return series, failed

    @property
    def series_count(self) -> int:
        """Number of live series."""
        return self._counts[0]

    @property
    def failed_count(self) -> int:
        """Number of keys that have only failed."""
        return self._counts[1]

    def failures(self) -> Iterator[Found]:
        """Yield the live failures in order of commit."""
        for table, entry in zip(*self._in_order(FAILED), strict=True):
            yield self.tables[table], int(entry)

    def row_count(self) -> int:
        """Return the number of rows of all live series."""
        if self.merged is not None and len(self.tables[0].hashes) == 0:
            return self.merged.rows
        return sum(int(table.row_sizes[mine].sum()) for table, mine in zip(self.tables, self.entries(OK), strict=True))

    @cached_property
    def clip_count(self) -> int:
        """Number of different clips with a live series."""
        if self.merged is not None and len(self.fresh.hashes) == 0:
            return self.merged.clip_count
        clips: set[bytes] = set()
        for table, mine in zip(self.tables, self.entries(OK), strict=True):
            clips.update(table.encoded_key(entry)[0] for entry in mine.tolist())
        return len(clips)


def _find(table: Table, hashes: memoryview, wanted: int, clip: bytes, entity: bytes) -> int | None:
    """Return the entry of a key in a table."""
    count = len(hashes)
    # Hashes are spread evenly: the place is nearly known. What a search over all would look at has long left the
    # processor's cache.
    guess = count * wanted >> 64
    low, high = max(guess - SPREAD, 0), min(guess + SPREAD, count)
    entry = bisect_left(hashes, wanted, low, high)
    if (entry == low and low > 0) or (entry == high and high < count):  # it may lie outside
        entry = bisect_left(hashes, wanted)
    while entry < count and hashes[entry] == wanted:
        if table.is_key(entry, clip, entity):
            return entry
        entry += 1
    return None


def live_key(found: Found) -> Key:
    """Return the key of what was found."""
    table, entry = found
    return decode_key(*table.encoded_key(entry))
