"""Reading a segment that is a folder: a Zarr group whose arrays are raw files, memory-mapped; and how it is named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CuebankError
from ..files import (
    corrupt,
    crc32c,
    map_bytes,
    open_regular,
    parse_json,
    read_bytes,
    real_folders,
    render_json,
)
from . import zarr_metadata as metadata
from .zarr_check import differences, strange_names

MAX_SERIES = 2**24  # of one segment; bounds what a hostile index can make us read
MAX_TEXT_BYTES = 2**28  # of all ids of one segment, likewise
MAX_CHUNKS = 2**22  # of one shard
CHUNK_BYTES = 2**16, 2**26  # least and most, unless the array or one row is smaller or larger than that
_NAME = re.compile(r"([0-9]{8,18})-([0-9a-f]{12})-([0-9a-f]{8})")


def generation(name: str) -> int | None:
    """Return the generation in a segment's name, or None if it is no such name.

    Example:
        >>> generation("00000012-0123456789ab-89abcdef"), generation("zarr.json")
        (12, None)
    """
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def segment_names(folder: Path) -> list[str]:
    """Return the names of the segments in a folder, from the oldest to the newest."""
    ranked = [(generation(name), name) for name in real_folders(folder)]
    return [name for _, name in sorted((number, name) for number, name in ranked if number is not None)]


class SegmentFolder:
    """Reads a finished segment; trusts nothing in it that is not proven by a checksum or a file size.

    Args:
        folder: the segment's folder.
        dim: columns of `values` as the feature set says.
        dtype: type of `values`, likewise.
        fingerprint: of the feature set.
        where: the segment in words, for errors.

    Raises:
        Corrupt: if its metadata are damaged, or are not those of a segment of this feature set.
    """

    def __init__(self, folder: Path, dim: int, dtype: np.dtype[Any], fingerprint: str, where: str) -> None:
        self.folder = folder
        self.name = folder.name
        self.where = where
        self.dtype = dtype
        self.dim = dim
        data = read_bytes(folder / "zarr.json", where)
        match = _NAME.fullmatch(folder.name)
        if match is None or f"{crc32c(data):08x}" != match[3]:
            raise corrupt(where, "Its zarr.json does not agree with the checksum in the segment's name.")
        document = parse_json(data, where)
        try:
            own = document["attributes"]["cuebank"]
            members = document["consolidated_metadata"]["metadata"]
            self.series, self.rows = _count(own["series"], MAX_SERIES), _count(own["rows"], 2**62)
            self.checksums = {name: _count(own["checksums"][name], 2**32) for name in metadata.INDEX_ARRAYS}
            self.members = {name: self._expected(name, members[name]) for name in _ARRAYS}
            agrees = all(members[name] == self.members[name] for name in _ARRAYS)
            named = own["format"] == metadata.FORMAT and own["kind"] == "segment"
            mine = own["fingerprint"] == fingerprint
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise corrupt(where, f"Its zarr.json is not that of a segment: {error!r}.") from error
        if not (agrees and named):
            raise corrupt(where, "Its zarr.json is not that of a segment of format 1.")
        if not mine:
            raise corrupt(where, "It was made by another recipe than its feature set.")

    def _expected(self, name: str, found: Any) -> dict[str, Any]:
        """Return the only metadata an array of this segment can have, given the sizes claimed for it."""
        if name in metadata.ROW_ARRAYS:
            dtype = metadata.row_dtype(name, self.dtype)
            row_bytes = dtype.itemsize * (self.dim if name == "values" else 1)
            inner = _count(found["codecs"][0]["configuration"]["chunk_shape"][0], 2**62)
            # Other chunk sizes than ours are fine, but not such that the shard index or the padding gets enormous.
            least, most = min(self.rows, CHUNK_BYTES[0] // row_bytes), max(1, CHUNK_BYTES[1] // row_bytes)
            if not max(1, least) <= inner <= most or -(-self.rows // inner) > MAX_CHUNKS:
                raise ValueError(f"array `{name}` has inner chunks of {inner} rows")
            return metadata.row_array(name, self.rows, self.dim, dtype, inner)
        if name in metadata.TEXT_ARRAYS:
            return metadata.index_array(name, _count(found["shape"][0], MAX_TEXT_BYTES))
        return metadata.index_array(name, self.series + name.endswith("_offsets"))

    def index(self, name: str) -> bytes:
        """Return the bytes of one of the index arrays, proven by its checksum.

        Raises:
            Corrupt: if they are absent or damaged.
        """
        dtype, count = metadata.index_dtype(name), self.members[name]["shape"][0]
        data = b""
        if count:
            self._check_folder(name)
            path, size = self.folder / name / "0", count * dtype.itemsize
            data = read_bytes(path, f"{self.where}, array `{name}`", size, max(MAX_TEXT_BYTES, size))
        if crc32c(data) != self.checksums[name]:
            raise corrupt(self.where, f"Its array `{name}` does not agree with its checksum.")
        return data

    def map_rows(self, name: str) -> np.ndarray:
        """Return `values` (rows, D), `times` (rows,) or `valid` (rows,) as a read-only view of the mapped file.

        Raises:
            Corrupt: if the file is absent or of another size than the metadata say.
        """
        document = self.members[name]
        dtype, shape = np.dtype(document["data_type"]), tuple(document["shape"])
        if not self.rows:
            return np.empty(shape, dtype)
        self._check_folder(name)
        data = map_bytes(self.folder / name / metadata.chunk_name(document), self.where, self.shard_bytes(name))
        row_bytes = dtype.itemsize * (self.dim if name == "values" else 1)
        return data[: self.rows * row_bytes].view(dtype).reshape(shape)

    def shard_bytes(self, name: str) -> int:
        """Return how long the file of a row array must be."""
        _, count, chunk_bytes = metadata.shard_layout(self.members[name])
        return count * chunk_bytes + 16 * count + 4

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the metadata of the arrays, the shard indexes, or foreign files among them."""
        yield from strange_names(self.folder, {"zarr.json", *self.members})
        for name, document in self.members.items():
            where = f"array `{name}` of segment `{self.name}`"
            if (self.folder / name).is_symlink():
                yield f"The {where} is a link."
                continue
            yield from differences(self.folder / name / "zarr.json", render_json(document), where)
            chunk = {metadata.chunk_name(document)} if document["shape"][0] else set()
            yield from strange_names(self.folder / name, {"zarr.json"} | chunk)
            if self.rows and name in metadata.ROW_ARRAYS:
                yield from self._check_tail(name, where)

    def _check_tail(self, name: str, where: str) -> Iterator[str]:
        """Check what follows the rows in a shard file: other readers find the rows by it."""
        expected = metadata.shard_tail(self.members[name], self.rows)
        try:
            fd = open_regular(self.folder / name / metadata.chunk_name(self.members[name]), self.where)
        except CuebankError as error:
            yield f"{error.asked} {error.found}"
            return
        try:
            damaged = os.pread(fd, len(expected) + 1, self.shard_bytes(name) - len(expected)) != expected
            # A file of another size is reported when its rows are mapped.
            if damaged and os.fstat(fd).st_size == self.shard_bytes(name):
                yield f"The shard index of {where} is damaged."
        finally:
            os.close(fd)

    def _check_folder(self, name: str) -> None:
        """Refuse an array that is a link: nothing outside the store is ever read."""
        if (self.folder / name).is_symlink():
            raise corrupt(f"{self.where}, array `{name}`,", "It is a link.")


_ARRAYS = (*metadata.ROW_ARRAYS, *metadata.INDEX_ARRAYS)


def _count(value: Any, limit: int) -> int:
    """Return a stored number as a count from 0 to `limit`."""
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{str(value)[:40]} is not a count")
    return value
