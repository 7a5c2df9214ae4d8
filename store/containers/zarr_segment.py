"""A segment as a folder: a Zarr group whose arrays are raw files, written once and memory-mapped for reading."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import (
    corrupt,
    crc32c,
    create_file,
    map_bytes,
    parse_json,
    read_bytes,
    render_json,
    sync_tree,
    write_all,
    write_new,
)
from . import zarr_metadata as metadata

MAX_SERIES = 2**24  # of one segment; bounds what a hostile index can make us read
MAX_TEXT_BYTES = 2**28  # of all ids of one segment, likewise
_NAME = re.compile(r"([0-9]{8,18})-([0-9a-f]{12})-([0-9a-f]{8})")


def generation(name: str) -> int | None:
    """Return the generation in a segment's name, or None if it is no such name.

    Example:
        >>> generation("00000012-0123456789ab-89abcdef"), generation("zarr.json")
        (12, None)
    """
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


class SegmentFolderWriter:
    """Streams rows into a folder of the writing area, then makes it a complete segment.

    Args:
        folder: an empty folder.
        dim: columns of `values`, D.
        dtype: type of `values`.
    """

    def __init__(self, folder: Path, dim: int, dtype: np.dtype[Any]) -> None:
        self.folder = folder
        self.dim = dim
        self.dtype = dtype
        self.rows = 0
        self._files: dict[str, int] = {}
        for name in metadata.ROW_ARRAYS:
            (folder / name).mkdir()
            self._files[name] = create_file(folder / name / ("0.0" if name == "values" else "0"))

    def append(self, values: np.ndarray, times: np.ndarray, valid: np.ndarray) -> None:
        """Add rows: (T, D) of the stored type, (T,) float64, (T,) bool; all C-contiguous and little-endian."""
        for name, rows in (("values", values), ("times", times), ("valid", valid)):
            write_all(self._files[name], rows)
        self.rows += len(values)

    def finish(self, index: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Add the index arrays and all metadata, and return when the whole folder is on the disk."""
        members = {}
        for name in metadata.ROW_ARRAYS:
            dtype = metadata.row_dtype(name, self.dtype)
            members[name] = metadata.row_array(name, self.rows, self.dim, dtype)
            self._finish_rows(name, members[name])
        for name in metadata.INDEX_ARRAYS:
            members[name] = metadata.index_array(name, len(index[name]))
            (self.folder / name).mkdir()
            if len(index[name]):
                write_new(self.folder / name / "0", index[name])
        for name, document in members.items():
            write_new(self.folder / name / "zarr.json", render_json(document))
        own = {
            "format": metadata.FORMAT,
            "kind": "segment",
            "series": len(index["status"]),
            "rows": self.rows,
            "checksums": {name: crc32c(index[name]) for name in metadata.INDEX_ARRAYS},
            **attributes,
        }
        self._document = render_json(metadata.group(own, members))
        write_new(self.folder / "zarr.json", self._document)
        sync_tree(self.folder)

    def _finish_rows(self, name: str, document: dict[str, Any]) -> None:
        fd = self._files[name]
        if self.rows:
            write_all(fd, shard_tail(document, self.rows))
        else:
            (self.folder / name / metadata.chunk_name(document)).unlink()
        os.close(self._files.pop(name))

    def new_name(self, number: int) -> str:
        """Return a name that no other segment has; it holds the checksum of the finished metadata."""
        return f"{number:08d}-{secrets.token_hex(6)}-{crc32c(self._document):08x}"

    def discard(self) -> None:
        """Close what is open; the files are removed with the writing area."""
        while self._files:
            os.close(self._files.popitem()[1])


def shard_layout(document: dict[str, Any]) -> tuple[int, int, int]:
    """Return (rows of an inner chunk, number of inner chunks, bytes of an inner chunk) of a row array's metadata."""
    inner = document["codecs"][0]["configuration"]["chunk_shape"]
    chunk_bytes = np.dtype(document["data_type"]).itemsize
    for size in inner:
        chunk_bytes *= size
    return inner[0], -(-document["shape"][0] // inner[0]), chunk_bytes


def shard_tail(document: dict[str, Any], rows: int) -> bytes:
    """Return what follows the rows in a shard: the padding of the last inner chunk, the shard index, its crc32c."""
    inner, count, chunk_bytes = shard_layout(document)
    entries = np.empty((count, 2), "<u8")
    entries[:, 0] = np.arange(count, dtype="<u8") * np.uint64(chunk_bytes)
    entries[:, 1] = chunk_bytes
    index = entries.tobytes()
    padding = bytes((inner * count - rows) * (chunk_bytes // inner))
    return padding + index + crc32c(index).to_bytes(4, "little")


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
            inner = _count(found["codecs"][0]["configuration"]["chunk_shape"][0], 2**62)
            dtype = metadata.row_dtype(name, self.dtype)
            return metadata.row_array(name, self.rows, self.dim, dtype, max(1, inner))
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
        _, count, chunk_bytes = shard_layout(self.members[name])
        return count * chunk_bytes + 16 * count + 4

    def _check_folder(self, name: str) -> None:
        """Refuse an array that is a link: nothing outside the store is ever read."""
        if (self.folder / name).is_symlink():
            raise corrupt(self.where, f"Its array `{name}` is a link.")


_ARRAYS = (*metadata.ROW_ARRAYS, *metadata.INDEX_ARRAYS)


def _count(value: Any, limit: int) -> int:
    """Return a stored number as a count from 0 to `limit`."""
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{str(value)[:40]} is not a count")
    return value
