"""What a segment is: series of one feature set, written by one writer, visible all at once, never changed afterwards.

`PendingSegment` collects series until the commit; `Segment` reads a committed one. Where and how the bytes lie is the
business of `containers`.
"""

from __future__ import annotations

import numpy as np

from .containers.base import SegmentFile, SegmentWriter
from .files import corrupt, crc32c
from .keys import Key, hash_key
from .series import Series
from .texts import check_texts, pack_texts

OK, FAILED = 0, 1


class PendingSegment:
    """Series and failures that wait for the commit. Rows go to the disk at once; only the index is in memory."""

    def __init__(self, writer: SegmentWriter) -> None:
        self.writer = writer
        self.bytes = 0
        self.sealed = False  # once a commit has begun, even if it was interrupted, nothing more comes in
        # Key -> (rows, crc32c, rows up to and including it), in order of writing. It alone says what is pending: an
        # interrupted `add` may have left bytes in the files, which the next one overwrites.
        self.series: dict[tuple[bytes, bytes], tuple[int, int, int]] = {}
        self.failures: dict[tuple[bytes, bytes], bytes] = {}

    def add(self, key: tuple[bytes, bytes], series: Series) -> None:
        """Append a checked series under a key that is not yet in this segment."""
        rows, count = self.rows, len(series.values)
        self.writer.put(rows, series.values, series.times, series.valid)
        self.series[key] = count, crc32c(*series), rows + count
        self.failures.pop(key, None)
        self.bytes += sum(array.nbytes for array in series)

    @property
    def rows(self) -> int:
        """Number of rows of all pending series."""
        return next(reversed(self.series.values()))[2] if self.series else 0

    def add_failure(self, key: tuple[bytes, bytes], reason: str) -> None:
        """Record why a key has no series; a series that is there already stays."""
        if key not in self.series:
            self.failures[key] = str(reason).encode("utf-8", "backslashreplace")

    def finish(self, fingerprint: str) -> None:
        """Write the index and make everything durable, in the writing area still."""
        self.sealed = True
        keys = [*self.series, *self.failures]
        sizes = [*self.series.values(), *((0, 0, 0) for _ in self.failures)]
        index = {
            "row_size": np.array([rows for rows, _, _ in sizes], "<i8"),
            "crc32c": np.array([crc for _, crc, _ in sizes], "<u4"),
            "status": np.array([OK] * len(self.series) + [FAILED] * len(self.failures), "u1"),
            "key_hash": np.array([hash_key(*key) for key in keys], "<u8"),
        }
        reasons = [b""] * len(self.series) + [*self.failures.values()]
        for name, texts in (
            ("clip_id", [clip for clip, _ in keys]),
            ("entity_id", [entity for _, entity in keys]),
            ("reason", reasons),
        ):
            index[name], index[name + "_offsets"] = pack_texts(texts)
        self.writer.finish(self.rows, index, {"fingerprint": fingerprint})


class Segment:
    """The series of a committed segment.

    Args:
        file: the segment in its container.

    Raises:
        Corrupt: if its index is damaged or contradicts itself.
    """

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.row_size = np.frombuffer(file.index("row_size"), "<i8")
        self.status = np.frombuffer(file.index("status"), "u1")
        self.key_hash = np.frombuffer(file.index("key_hash"), "<u8")
        self._clips, self._clip_offsets = self._texts("clip_id")
        self._entities, self._entity_offsets = self._texts("entity_id")
        self.starts = self._row_starts()
        self._crc: np.ndarray | None = None
        self._reasons: tuple[bytes, np.ndarray] | None = None
        self._proven = np.zeros(file.series, bool)
        self._maps: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.file.series

    def _texts(self, name: str) -> tuple[bytes, np.ndarray]:
        data, offsets = self.file.index(name), np.frombuffer(self.file.index(name + "_offsets"), "<i8")
        check_texts(data, offsets, f"{self.file.where}, array `{name}`")
        if name == "clip_id" and (offsets[1:] == offsets[:-1]).any():
            raise corrupt(self.file.where, "A clip_id is empty.")
        return data, offsets

    def _row_starts(self) -> np.ndarray:
        """Return where each series starts, (series + 1,), after checking that the row counts add up."""
        sizes = self.row_size
        if len(sizes) and (sizes.min() < 0 or sizes.max() > self.file.rows):
            raise corrupt(self.file.where, "A row count is outside the segment.")
        if float(sizes.sum(dtype=np.float64)) > 2.0**62:  # the exact sum below must not wrap round
            raise corrupt(self.file.where, "The row counts are larger than the segment.")
        starts = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        if starts[-1] != self.file.rows:
            raise corrupt(self.file.where, f"The row counts give {starts[-1]} rows, not {self.file.rows}.")
        if (self.status > FAILED).any() or sizes[self.status == FAILED].any():
            raise corrupt(self.file.where, "A status is unknown, or a failure has rows.")
        return starts

    def encoded_key(self, position: int) -> tuple[bytes, bytes]:
        """Return the key of a series as it is stored."""
        clip, entity = self._clip_offsets, self._entity_offsets
        return (
            self._clips[clip[position] : clip[position + 1]],
            self._entities[entity[position] : entity[position + 1]],
        )

    def key(self, position: int) -> Key:
        """Return the key of a series."""
        clip, entity = self.encoded_key(position)
        return Key(clip.decode("utf-8"), entity.decode("utf-8") if entity else None)

    def reason(self, position: int) -> str:
        """Return why a failed series failed."""
        if self._reasons is None:
            self._reasons = self._texts("reason")
        data, offsets = self._reasons
        return data[offsets[position] : offsets[position + 1]].decode("utf-8")

    def read(self, position: int) -> Series:
        """Return all rows of a series as read-only views of the mapped files.

        Raises:
            Corrupt: if they do not agree with the series' checksum; it is computed once for each series.
        """
        series = self.rows(position)
        if not self._proven[position]:
            self._prove(position, series)
        return series

    def rows(self, position: int) -> Series:
        """Return all rows of a series, unproven."""
        values, times, valid = self._maps or self.map()
        start, stop = self.starts[position], self.starts[position + 1]
        return Series(values[start:stop], times[start:stop], valid[start:stop])

    def map(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Map the row files; they stay mapped until `unmap`, and as long as anyone holds a view."""
        self._maps = (self.file.map_rows("values"), self.file.map_rows("times"), self.file.map_rows("valid"))
        return self._maps

    def unmap(self) -> None:
        """Let go of the row files."""
        self._maps = None

    @property
    def mapped(self) -> bool:
        """Whether the row files are mapped."""
        return self._maps is not None

    def _prove(self, position: int, series: Series) -> None:
        if self._crc is None:
            self._crc = np.frombuffer(self.file.index("crc32c"), "<u4")
        if crc32c(*series) != self._crc[position]:
            key = self.key(position)
            raise corrupt(
                f"Series {tuple(key)} in {self.file.where[:1].lower()}{self.file.where[1:]}",
                "Its rows do not agree with their checksum.",
            )
        self._proven[position] = True
