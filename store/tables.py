"""Which series and failures there are, as arrays sorted by the hash of the key.

Arrays, not dictionaries: a million keys take tens of megabytes, most of which lie in the page cache, and a look-up is
one binary search and one comparison of the ids themselves. There are two kinds: what the segments say one by one, put
together in memory, and what a merged index says of many segments at once, memory-mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .containers.base import IndexFile
from .containers.zarr_bundle import count
from .files import corrupt
from .keys import Key
from .segments import FAILED, Place, Segment
from .texts import Texts

MAX_COVERED = 2**18  # segments of one merged index
MAX_EQUAL = 64  # keys with the same 64-bit hash: no honest store has more than two, and each costs time


class Table(Protocol):
    """Entries in order of their hashes; all of one table have different keys.

    `names` are the segments, in order of rank; `numbers` (n,) is for each entry which of them it is in, and
    `positions` (n,) where in that.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def hashes(self) -> np.ndarray: ...
    @property
    def status(self) -> np.ndarray: ...
    @property
    def numbers(self) -> np.ndarray: ...
    @property
    def positions(self) -> np.ndarray: ...
    @property
    def row_sizes(self) -> np.ndarray: ...

    def prove(self) -> None:
        """Look at all ids; Corrupt if some cannot be read."""

    def encoded_key(self, entry: int) -> tuple[bytes, bytes]:
        """Return the key of an entry as it is stored."""

    def is_key(self, entry: int, clip: bytes, entity: bytes) -> bool:
        """Return whether this is the key of an entry."""

    def place(self, entry: int, key: Key) -> Place:
        """Return where the rows of an entry's series are in its segment."""


class SegmentTable:
    """Puts together what segments hold: the newest of each key, a series before a failure.

    Args:
        segments: name -> segment, in order of rank.
    """

    def __init__(self, segments: dict[str, Segment]) -> None:
        self.names = list(segments)
        self._segments = list(segments.values())
        numbers = np.repeat(np.arange(len(segments), dtype=np.uint32), [len(one) for one in self._segments])
        positions = _joined([np.arange(len(one), dtype=np.uint32) for one in self._segments], np.uint32)
        status = _joined([one.status for one in self._segments], np.uint8)
        hashes = _joined([one.key_hash for one in self._segments], np.uint64)
        sizes = _joined([one.row_size for one in self._segments], np.int64)
        # From the newest to the oldest; among equals the sort keeps that order.
        order = np.lexsort((status[::-1], hashes[::-1]))
        order = len(hashes) - 1 - order
        live = order[self._winners(hashes[order], numbers[order], positions[order])]
        self.hashes, self.status, self.row_sizes = hashes[live], status[live], sizes[live]
        self.numbers, self.positions = numbers[live], positions[live]
        # Python takes a single number out of these in a fraction of the time.
        self._at = self.numbers.data, self.positions.data

    def _winners(self, hashes: np.ndarray, numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return a mask of the first entry of each key; entries of one hash are in order of preference."""
        live = np.ones(len(hashes), bool)
        repeats = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        seen: set[tuple[bytes, bytes]] = set()
        previous = -1

        def key(i: int) -> tuple[bytes, bytes]:
            return self._segments[numbers[i]].encoded_key(int(positions[i]))

        for i in repeats.tolist():
            if i != previous + 1:  # a new run of equal hashes, whose first entry is at i - 1
                seen = {key(i - 1)}
            mine = key(i)
            live[i] = mine not in seen  # another key with the same hash lives on
            seen.add(mine)
            previous = i
        return live

    def prove(self) -> None:
        """Look at all ids; Corrupt if some cannot be read."""
        for segment in self._segments:
            segment.texts("clip_id"), segment.texts("entity_id")

    def encoded_key(self, entry: int) -> tuple[bytes, bytes]:
        """Return the key of an entry as it is stored."""
        numbers, positions = self._at
        return self._segments[numbers[entry]].encoded_key(positions[entry])

    def is_key(self, entry: int, clip: bytes, entity: bytes) -> bool:
        """Return whether this is the key of an entry."""
        return self.encoded_key(entry) == (clip, entity)

    def place(self, entry: int, key: Key) -> Place:
        """Return where the rows of an entry's series are in its segment."""
        segment, position = self._segments[self.numbers[entry]], int(self.positions[entry])
        start, stop = segment.starts[position : position + 2].tolist()
        return Place(key, position, start, stop, int(segment.checksums[position]))


class MergedTable:
    """Reads a merged index; its numbers are checked at once, its texts when they are first needed.

    Args:
        file: the index in its container.

    Raises:
        Corrupt: if its attributes or numbers are not those of a merged index.
    """

    def __init__(self, file: IndexFile) -> None:
        self.file = file
        own = file.attributes
        try:
            self.names: Sequence[str] = _texts(own["covers"])
            self.replaced = frozenset(_texts(own["replaced"]))
            self.series, self.failed, self.rows, self.clip_count = (
                count(own[name], 2**62) for name in ("series_ok", "series_failed", "rows", "clips")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise corrupt(file.where, f"Its attributes are not those of a merged index: {error!r}.") from error
        self.hashes = file.array("key_hash")
        self._ids: tuple[Texts, Texts] | None = None
        self._packed: tuple[memoryview, memoryview, memoryview, memoryview]  # the same, once they are there
        self._check()

    def _check(self) -> None:
        """Make sure that its entries lead to where segments can be, and are as many as it says."""
        starts, sizes, status = self.file.array("row_start"), self.row_sizes, self.status
        _ = self.positions, self.file.array("crc32c")  # looking is checking
        if len(self.hashes):
            good = (
                int(self.numbers.max()) < len(self.names)
                and int(status.max()) <= FAILED
                and int(starts.min()) >= 0
                and int(sizes.min()) >= 0
                and max(int(starts.max()), int(sizes.max())) <= 2**61
                and not sizes[status == FAILED].any()
                and not (self.hashes[1:] < self.hashes[:-1]).any()
                and not (self.hashes[MAX_EQUAL:] == self.hashes[:-MAX_EQUAL]).any()
            )
            if not good:
                raise corrupt(self.file.where, "Its entries lead nowhere, or are out of order.")
        if counts(status) != (self.series, self.failed) or float(sizes.sum(dtype=np.float64)) > 2.0**62:
            raise corrupt(self.file.where, "It does not have the entries that it says it has.")
        if int(sizes.sum()) != self.rows or self.clip_count > self.series:
            raise corrupt(self.file.where, "It does not have the rows or clips that it says it has.")

    @property
    def status(self) -> np.ndarray:
        """(n,) uint8: OK or FAILED."""
        return self.file.array("status")

    @property
    def numbers(self) -> np.ndarray:
        """(n,) uint32: which of the covered segments."""
        return self.file.array("segment")

    @property
    def positions(self) -> np.ndarray:
        """(n,) uint32: which of the segment's series."""
        return self.file.array("position")

    @property
    def row_sizes(self) -> np.ndarray:
        """(n,) int64: rows of each."""
        return self.file.array("row_size")

    def prove(self) -> None:
        """Look at all ids; Corrupt if some cannot be read."""
        self._texts()

    def encoded_key(self, entry: int) -> tuple[bytes, bytes]:
        """Return the key of an entry as it is stored."""
        clips, entities = self._ids or self._texts()
        return clips[entry], entities[entry]

    def _texts(self) -> tuple[Texts, Texts]:
        clips, entities = (
            Texts(self.file.array(name), self.file.array(name + "_offsets"), self.file.where)
            for name in ("clip_id", "entity_id")
        )
        if clips.any_empty():
            raise corrupt(self.file.where, "A clip_id is empty.")
        self._packed = clips.ends, clips.bytes, entities.ends, entities.bytes
        self._ids = clips, entities
        return self._ids

    def is_key(self, entry: int, clip: bytes, entity: bytes) -> bool:
        """Return whether this is the key of an entry."""
        if self._ids is None:
            self._texts()
        clip_ends, clips, entity_ends, entities = self._packed  # not by calls: look-ups are made by the million
        return (
            clips[clip_ends[entry] : clip_ends[entry + 1]] == clip
            and entities[entity_ends[entry] : entity_ends[entry + 1]] == entity
        )

    def place(self, entry: int, key: Key) -> Place:
        """Return where the rows of an entry's series are in its segment."""
        start, rows = int(self.file.array("row_start")[entry]), int(self.row_sizes[entry])
        return Place(key, int(self.positions[entry]), start, start + rows, int(self.file.array("crc32c")[entry]))


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *arrays])


def counts(status: np.ndarray) -> tuple[int, int]:
    """Return how many series and how many failures there are."""
    failed = int(np.count_nonzero(status == FAILED))
    return len(status) - failed, failed


def _texts(value: object) -> list[str]:
    """Return a stored list of names.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(value, list) or len(value) > MAX_COVERED or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{str(value)[:40]} is no list of names")
    return value
