"""What a segment is: series of one feature set, written by one writer, visible all at once, never changed afterwards.

`PendingSegment` collects series until the commit; `Segment` reads a committed one. Where and how the bytes lie is the
business of `containers`. In a text set, `values` are the sizes of texts, and all texts of a series together are one
packed text of the segment; see `text_rows`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .containers.base import EncodedRows, SegmentFile, SegmentWriter
from .files import corrupt, crc32c
from .keys import Key, decode_key, hash_key
from .series import Series
from .texts import Texts, pack_texts

OK, FAILED = 0, 1
TEXT_BYTES = (
    2**26
)  # of the texts of a segment, unless a single series has more: so much is in memory until it is written
Maps = tuple[np.ndarray | EncodedRows, np.ndarray, np.ndarray]
_NO_TEXT = np.empty(0, np.uint8)


class Place(NamedTuple):
    """Where a series lies in its segment: rows `start` to `stop`, which is not included, and their checksum."""

    key: Key
    position: int
    start: int
    stop: int
    checksum: int


class PendingSegment:
    """Series and failures that wait for the commit. Rows go to the disk at once; index and texts are in memory.

    Args:
        writer: of the segment.
        is_text: whether it is one of texts.
    """

    def __init__(self, writer: SegmentWriter, is_text: bool) -> None:
        self.writer = writer
        self.bytes = self.text_bytes = 0
        self.sealed = False  # once a commit has begun, even if it was interrupted, nothing more comes in
        self.finished = False  # all of it is on the disk
        # Key -> UTF-8 of all rows; of an interrupted `add` there may be one too much.
        self.texts: dict[tuple[bytes, bytes], bytes] | None = {} if is_text else None
        # Key -> (rows, crc32c, rows up to and including it), in order of writing. It alone says what is pending: an
        # interrupted `add` may have left bytes in the files, which the next one overwrites.
        self.series: dict[tuple[bytes, bytes], tuple[int, int, int]] = {}
        self.failures: dict[tuple[bytes, bytes], bytes] = {}

    def add(self, key: tuple[bytes, bytes], series: Series, text: bytes = b"") -> None:
        """Append a checked series under a key that is not yet in this segment, with the texts of its rows."""
        rows, count = self.rows, len(series.values)
        self.writer.put(rows, series.values, series.times, series.valid)
        if self.texts is not None:
            self.texts[key] = text
            self.text_bytes += len(text)
        self.series[key] = count, crc32c(*series, text), rows + count
        self.failures.pop(key, None)
        self.bytes += sum(array.nbytes for array in series) + len(text)

    def has_room(self, text: bytes) -> bool:
        """Return whether the texts of one more series fit into the memory that a segment may take."""
        return not self.text_bytes or self.text_bytes + len(text) <= TEXT_BYTES

    @property
    def rows(self) -> int:
        """Number of rows of all pending series."""
        return next(reversed(self.series.values()))[2] if self.series else 0

    def add_failure(self, key: tuple[bytes, bytes], reason: str) -> None:
        """Record why a key has no series; a series that is there already stays."""
        if key not in self.series:
            self.failures[key] = str(reason).encode("utf-8", "backslashreplace")

    def finish(self, fingerprint: str) -> None:
        """Write the index and make everything durable, in the writing area still. May be called again."""
        self.sealed = True
        if self.finished:
            return
        keys = [*self.series, *self.failures]
        sizes = [*self.series.values(), *((0, 0, 0) for _ in self.failures)]
        index = {}
        if self.texts is not None:  # first: what is small shall lie together at the end of an HDF5 file
            texts = [*(self.texts[key] for key in self.series), *(b"" for _ in self.failures)]
            index["text"], index["text_offsets"] = pack_texts(texts)
        index |= {
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
        self.finished = True
        if self.texts is not None:
            self.texts = {}


class Segment:
    """The series of a committed segment; what it holds is looked at, and checked, when it is first needed.

    Args:
        file: the segment in its container.
    """

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self._starts: np.ndarray | None = None
        self._texts: dict[str, Texts] = {}
        self._proven = np.zeros(file.series, bool)
        self._maps: Maps | None = None
        self._text: Texts | None = None

    def __len__(self) -> int:
        return self.file.series

    @property
    def status(self) -> np.ndarray:
        """(series,) uint8: OK or FAILED."""
        return self.file.array("status")

    @property
    def key_hash(self) -> np.ndarray:
        """(series,) uint64: hashes of the keys."""
        return self.file.array("key_hash")

    @property
    def row_size(self) -> np.ndarray:
        """(series,) int64: rows of each series."""
        return self.file.array("row_size")

    @property
    def checksums(self) -> np.ndarray:
        """(series,) uint32: crc32c over the rows of each series."""
        return self.file.array("crc32c")

    @property
    def starts(self) -> np.ndarray:
        """(series + 1,) int64: where each series starts; the row counts have been found to add up."""
        if self._starts is None:
            self._starts = self._row_starts()
        return self._starts

    def texts(self, name: str) -> Texts:
        """Return `clip_id`, `entity_id` or `reason` of all series."""
        found = self._texts.get(name)
        if found is None:
            where = f"{self.file.where}, array `{name}`"
            found = Texts(self.file.array(name), self.file.array(name + "_offsets"), where)
            if name == "clip_id" and found.any_empty():
                raise corrupt(self.file.where, "A clip_id is empty.")
            self._texts[name] = found
        return found

    def _row_starts(self) -> np.ndarray:
        sizes, rows = self.row_size, self.file.rows
        if len(sizes) and (sizes.min() < 0 or sizes.max() > rows):
            raise corrupt(self.file.where, "A row count is outside the segment.")
        if float(sizes.sum(dtype=np.float64)) > 2.0**62:  # the exact sum below must not wrap round
            raise corrupt(self.file.where, "The row counts are larger than the segment.")
        starts = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        if starts[-1] != rows:
            raise corrupt(self.file.where, f"The row counts give {starts[-1]} rows, not {rows}.")
        if (self.status > FAILED).any() or sizes[self.status == FAILED].any():
            raise corrupt(self.file.where, "A status is unknown, or a failure has rows.")
        return starts

    def encoded_key(self, position: int) -> tuple[bytes, bytes]:
        """Return the key of a series as it is stored."""
        return self.texts("clip_id")[position], self.texts("entity_id")[position]

    def key(self, position: int) -> Key:
        """Return the key of a series."""
        return decode_key(*self.encoded_key(position))

    def reason(self, position: int) -> str:
        """Return why a failed series failed."""
        return self.texts("reason")[position].decode("utf-8")

    def read(self, place: Place) -> Series:
        """Return all rows of a series, read-only: views of the mapped files unless they are compressed.

        Raises:
            Corrupt: if they do not agree with the series' checksum; it is computed once for each series.
        """
        series = self.rows(place.start, place.stop)
        if not self._proven[place.position]:
            if crc32c(*series, self.text(place.position)) != place.checksum:
                raise corrupt(self.name_of(place), "Its rows do not agree with their checksum.")
            self._proven[place.position] = True
        return series

    def name_of(self, place: Place) -> str:
        """Return a series in words, for errors."""
        return f"Series {tuple(place.key)} in {self.file.where[:1].lower()}{self.file.where[1:]}"

    @property
    def is_text(self) -> bool:
        """Whether its rows are texts: `values` are their sizes then."""
        return self.file.is_text

    def text(self, position: int) -> np.ndarray:
        """Return the texts of all rows of a series as a view, uint8, unproven; without any if it is not one of texts.

        Raises:
            Corrupt: if they are not there.
        """
        if not self.is_text:
            return _NO_TEXT
        found = self._text
        if found is None:
            found = self._text = self.packed_texts()
        return found.view(position)

    def packed_texts(self) -> Texts:
        """Return the texts of all series, unproven, mapped anew.

        Raises:
            Corrupt: if they are not there, or a failure has some.
        """
        where = f"{self.file.where}, array `text`"
        found = Texts(self.file.unproven("text"), self.file.array("text_offsets"), where, utf8=False)
        if np.diff(found.offsets)[self.status == FAILED].any():
            raise corrupt(where, "A failure has a text.")
        return found

    def rows(self, start: int, stop: int) -> Series:
        """Return rows, unproven.

        Raises:
            Corrupt: if compressed ones cannot be read.
        """
        values, times, valid = self.maps
        if isinstance(values, EncodedRows):
            return Series(self._decoded(values, start, stop), times[start:stop], valid[start:stop])
        return Series(values[start:stop], times[start:stop], valid[start:stop])

    def _decoded(self, encoded: EncodedRows, start: int, stop: int) -> np.ndarray:
        from .codecs import decode

        dim, dtype = self.file.dim, self.file.dtype
        size = encoded.chunk_rows * dim * dtype.itemsize
        first, last = start // encoded.chunk_rows, -(-stop // encoded.chunk_rows) if stop > start else 0
        values = np.empty((stop - start, dim), dtype)
        for chunk in range(first, last):
            offset, length = encoded.entries[chunk].tolist()
            data = encoded.data[offset : offset + length]
            rows = decode(encoded.codec, data, size, dtype.itemsize, self.file.where).view(dtype).reshape(-1, dim)
            begin = chunk * encoded.chunk_rows
            low, high = max(start, begin), min(stop, begin + encoded.chunk_rows)
            values[low - start : high - start] = rows[low - begin : high - begin]
        values.flags.writeable = False
        return values

    def map(self) -> Maps:
        """Map the row files; they stay mapped until `unmap`, and as long as anyone holds a view."""
        values, times, valid = (self.file.map_rows(name) for name in ("values", "times", "valid"))
        if isinstance(times, EncodedRows) or isinstance(valid, EncodedRows):
            raise corrupt(self.file.where, "Its times or flags are compressed.")
        self._maps = values, times, valid
        return self._maps

    @property
    def maps(self) -> Maps:
        """All values, times and flags, as they are mapped."""
        return self._maps or self.map()

    def unmap(self) -> None:
        """Let go of the row files."""
        self._maps = self._text = None

    @property
    def compressed(self) -> bool:
        """Whether values must be unpacked to be read; known once the row files have been mapped."""
        return isinstance(self.maps[0], EncodedRows)

    @property
    def mapped(self) -> bool:
        """Whether the row files are mapped."""
        return self._maps is not None
