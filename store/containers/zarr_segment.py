"""Reading a segment that is a folder: index arrays as in any bundle, rows in shards that are memory-mapped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import CuebankError
from ..files import corrupt, crc32c, map_bytes, open_regular, parse_json
from . import zarr_metadata as metadata
from .base import EncodedRows
from .segment_attributes import SegmentAttributes
from .zarr_bundle import IndexFolder, count

MAX_CHUNKS = 2**22  # of one shard
CHUNK_BYTES = 2**16, 2**26  # least and most, unless the array or one row is smaller or larger than that


class SegmentFolder(SegmentAttributes, IndexFolder):
    """Reads a finished segment.

    Args:
        folder: the segment's folder.
        dim: columns of `values` as the feature set says.
        dtype: type of `values`, likewise.
        fingerprint: of the feature set.
        where: the segment in words, for errors.
        is_text: whether the feature set is one of texts.

    Raises:
        Corrupt: if its metadata are damaged, or are not those of a segment of this feature set.
    """

    def __init__(
        self, folder: str, dim: int, dtype: np.dtype[Any], fingerprint: str, where: str, is_text: bool = False
    ) -> None:
        self.dim, self.dtype, self.is_text = dim, dtype, is_text
        self.arrays, self.formats = metadata.segment_arrays(is_text), metadata.segment_formats(is_text)
        super().__init__(folder, "segment", where)
        if self.fingerprint != fingerprint:
            raise corrupt(where, "It was made by another recipe than its feature set.")

    def map_rows(self, name: str) -> np.ndarray | EncodedRows:
        """Return `values` (rows, D), `times` (rows,) or `valid` (rows,) as a read-only view of the mapped file.

        Raises:
            Corrupt: if the file is absent or of another size than the metadata say.
        """
        document = self._row_document(name)
        dtype, shape = np.dtype(document["data_type"]), tuple(document["shape"])
        if not self.rows:
            return np.empty(shape, dtype)
        if os.path.islink(f"{self.folder}/{name}"):  # noqa: PTH114 (nothing outside the store is ever read)
            raise corrupt(f"{self.where}, array `{name}`,", "It is a link.")
        path = f"{self.folder}/{name}/{metadata.chunk_name(document)}"
        if self._compressed(name):
            return self._encoded(map_bytes(path, self.where), document)
        data = map_bytes(path, self.where, shard_bytes(document))
        row_bytes = dtype.itemsize * (self.dim if name == "values" else 1)
        return data[: self.rows * row_bytes].view(dtype).reshape(shape)

    def _compressed(self, name: str) -> bool:
        return name == "values" and self.codec != "none"

    def _encoded(self, data: np.ndarray, document: dict[str, Any]) -> EncodedRows:
        """Return compressed rows by the shard index at the end of the file."""
        inner, chunks, _ = metadata.shard_layout(document)
        end = len(data) - 16 * chunks - 4
        if end < 0 or crc32c(data[end:-4]) != int.from_bytes(data[-4:].tobytes(), "little"):
            raise corrupt(self.where, "The shard index of its values does not agree with its checksum.")
        entries = np.frombuffer(data[end:-4].tobytes(), "<u8").reshape(chunks, 2)
        offsets, lengths = entries[:, 0], entries[:, 1]
        limit = np.uint64(end)
        if (offsets > limit).any() or (lengths > limit).any() or (offsets + lengths > limit).any():
            raise corrupt(self.where, "The shard index of its values leads out of the file.")
        return EncodedRows(data, entries, inner, self.codec)

    def _row_document(self, name: str) -> dict[str, Any]:
        """Return the only metadata that a row array of this segment can have."""
        try:
            found = parse_json(self._read(), self.where)["consolidated_metadata"]["metadata"][name]
            dtype = metadata.row_dtype(name, self.dtype)
            row_bytes = dtype.itemsize * (self.dim if name == "values" else 1)
            inner = count(found["codecs"][0]["configuration"]["chunk_shape"][0], 2**62)
            # Other chunk sizes than ours are fine, but not such that the shard index or the padding gets enormous.
            least, most = min(self.rows, CHUNK_BYTES[0] // row_bytes), max(1, CHUNK_BYTES[1] // row_bytes)
            if not max(1, least) <= inner <= most or -(-self.rows // inner) > MAX_CHUNKS:
                raise ValueError(f"inner chunks of {inner} rows")
            codec = self.codec if name == "values" else "none"
            document = metadata.row_array(name, self.rows, self.dim, dtype, inner, codec)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, CuebankError):
                raise
            raise corrupt(self.where, f"Its zarr.json does not describe its array `{name}`: {error!r}.") from error
        if found != document:
            raise corrupt(self.where, f"Its zarr.json does not describe its array `{name}` as that of a segment.")
        return document

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the only metadata that each array of this segment can have."""
        return super().members() | {name: self._row_document(name) for name in metadata.ROW_ARRAYS}

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the metadata of the arrays, the shard indexes, or foreign files among them."""
        yield from super().check()
        if self.is_text and crc32c(self.unproven(metadata.TEXT)) != self.checksums.get(metadata.TEXT):
            yield f"The array `{metadata.TEXT}` of segment `{self.name}` does not agree with its checksum."
        if self.rows:
            for name in metadata.ROW_ARRAYS:
                where = f"array `{name}` of segment `{self.name}`"
                if os.path.islink(f"{self.folder}/{name}"):  # noqa: PTH114
                    continue  # reported above; nothing outside the store is ever read
                if self._compressed(name):
                    yield from self._check_chunks(where)
                else:
                    yield from self._check_tail(name, where)

    def _check_tail(self, name: str, where: str) -> Iterator[str]:
        """Check what follows the rows in a shard file: other readers find the rows by it."""
        document = self._row_document(name)
        expected, size = metadata.shard_tail(document, self.rows), shard_bytes(document)
        try:
            fd = open_regular(f"{self.folder}/{name}/{metadata.chunk_name(document)}", self.where)
        except CuebankError as error:
            yield f"{error.asked} {error.found}"
            return
        try:
            damaged = os.pread(fd, len(expected) + 1, size - len(expected)) != expected
            # A file of another size is reported when its rows are mapped.
            if damaged and os.fstat(fd).st_size == size:
                yield f"The shard index of {where} is damaged."
        finally:
            os.close(fd)

    def _check_chunks(self, where: str) -> Iterator[str]:
        """Check that compressed chunks lie one after the other, so that no byte of the file is out of sight."""
        try:
            encoded = self.map_rows("values")
        except CuebankError:
            return  # reported when rows are mapped
        if isinstance(encoded, EncodedRows):
            lengths = encoded.entries[:, 1].astype(np.int64)
            ends = np.cumsum(lengths)
            apart = not np.array_equal(encoded.entries[:, 0].astype(np.int64), ends - lengths)
            if apart or int(ends[-1]) != len(encoded.data) - 16 * len(lengths) - 4:
                yield f"The chunks of {where} do not lie one after the other."
            elif crc32c(encoded.data[: int(ends[-1])]) != self.attributes.get("chunks_crc32c"):
                yield f"The chunks of {where} do not agree with their checksum."


def shard_bytes(document: dict[str, Any]) -> int:
    """Return how long the file of an uncompressed row array must be."""
    _, chunks, chunk_bytes = metadata.shard_layout(document)
    return chunks * chunk_bytes + 16 * chunks + 4
