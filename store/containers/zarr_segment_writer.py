"""Writing a segment as a folder: rows stream into raw files of the writing area, then one rename makes it visible."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..codecs import encode
from ..files import WRITEBACK_BYTES, begin_writeback, crc32c, create_file, sync, sync_tree, write_all
from . import zarr_metadata as metadata
from .names import check_neighbours, next_stem
from .publishing import publishing
from .zarr_bundle import bundle_names, write_bundle

_RAW = "values.raw"  # rows that wait in the writing area for their compression


class SegmentFolderWriter:
    """Streams rows into a folder of the writing area, then makes it a complete segment.

    Args:
        folder: an empty folder in the writing area.
        target: the folder in which the segment shall be seen.
        dim: columns of `values`, D.
        dtype: type of `values`.
        codec: of `values`.
    """

    def __init__(self, folder: Path, target: Path, dim: int, dtype: np.dtype[Any], codec: str) -> None:
        self.folder, self.target = folder, target
        self.dim, self.dtype, self.codec = dim, dtype, codec
        self._name = ""
        self._fresh = 0  # bytes of values that the system has not been asked to write yet
        self._chunks = 0  # crc32c of all compressed chunks
        self._files: dict[str, int] = {}
        try:
            for name in metadata.ROW_ARRAYS:
                (folder / name).mkdir()
                raw = folder / name / ("0.0" if name == "values" else "0")
                self._files[name] = create_file(folder / _RAW if self._compressed(name) else raw)
        except BaseException:
            self.discard()
            raise

    def _compressed(self, name: str) -> bool:
        return name == "values" and self.codec != "none"

    def put(self, row: int, values: np.ndarray, times: np.ndarray, valid: np.ndarray) -> None:
        """Write rows from number `row` on, over whatever an interrupted call may have left there."""
        for name, rows, row_bytes in (
            ("values", values, self.dim * self.dtype.itemsize),
            ("times", times, 8),
            ("valid", valid, 1),
        ):
            os.lseek(self._files[name], row * row_bytes, os.SEEK_SET)
            write_all(self._files[name], rows)
        self._fresh += values.nbytes
        if self._fresh >= WRITEBACK_BYTES:
            begin_writeback(self._files["values"])
            self._fresh = 0

    def finish(self, rows: int, index: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Cut the segment to `rows`, add the index arrays and all metadata, return when all is on the disk."""
        if self._published:
            return
        members = {}
        for name in metadata.ROW_ARRAYS:
            codec = self.codec if name == "values" else "none"
            dtype = metadata.row_dtype(name, self.dtype)
            members[name] = metadata.row_array(name, rows, self.dim, dtype, codec=codec)
            self._finish_rows(name, members[name], rows)
        own = {"kind": "segment", "series": len(index["status"]), "rows": rows, **attributes}
        if self.codec != "none":
            own["codec"], own["chunks_crc32c"] = self.codec, self._chunks
        if metadata.TEXT in index:
            own["format"] = metadata.TEXT_FORMAT
        self._replaces: Sequence[str] = own.get("replaces", ())
        self._checksum = crc32c(write_bundle(self.folder, own, index, members))
        (self.folder / _RAW).unlink(missing_ok=True)
        sync_tree(self.folder)

    def _finish_rows(self, name: str, document: dict[str, Any], rows: int) -> None:
        if not rows:  # Zarr writes no chunk where there is nothing
            (self.folder / name / metadata.chunk_name(document)).unlink(missing_ok=True)
            return
        row_bytes = np.dtype(document["data_type"]).itemsize * (self.dim if name == "values" else 1)
        if self._compressed(name):
            self._compress(document, rows, row_bytes)
            return
        fd = self._files[name]
        os.ftruncate(fd, rows * row_bytes)
        os.lseek(fd, rows * row_bytes, os.SEEK_SET)
        write_all(fd, metadata.shard_tail(document, rows))

    def _compress(self, document: dict[str, Any], rows: int, row_bytes: int) -> None:
        """Write the shard of compressed values: chunk after chunk, then the shard index and its checksum."""
        _, chunks, chunk_bytes = metadata.shard_layout(document)
        self._chunks = 0
        entries, end = np.zeros((chunks, 2), "<u8"), 0
        shard = create_file(self.folder / "values" / metadata.chunk_name(document))
        raw = os.open(self.folder / _RAW, os.O_RDONLY)
        try:
            for i in range(chunks):
                left = min(chunk_bytes, rows * row_bytes - i * chunk_bytes)
                padded = read_exactly(raw, left, i * chunk_bytes).ljust(chunk_bytes, b"\0")
                chunk = encode(self.codec, padded, self.dtype.itemsize)
                write_all(shard, chunk)
                self._chunks = crc32c(chunk, start=self._chunks)
                entries[i] = end, len(chunk)
                end += len(chunk)
            write_all(shard, entries.tobytes() + crc32c(entries).to_bytes(4, "little"))
        finally:
            os.close(raw)
            os.close(shard)

    def publish(self, neighbours: Sequence[str] = (), between: Collection[str] = ()) -> str:
        """Make the finished segment visible, durably; return its name."""
        if not self._published:
            with publishing(self.target, alone=bool(neighbours)):
                present = bundle_names(self.target)
                check_neighbours(present, neighbours, between)
                self._name = f"{next_stem(present, self._replaces)}{self._checksum:08x}"
                self.folder.rename(self.target / self._name)
        sync(self.target)
        self.discard()
        return self._name

    @property
    def _published(self) -> bool:
        """Whether the segment is in its place already: a commit that was interrupted is being repeated then."""
        return bool(self._name) and (self.target / self._name).is_dir()

    def discard(self) -> None:
        """Close what is open; the files are removed with the writing area."""
        while self._files:
            os.close(self._files.popitem()[1])


def read_exactly(fd: int, size: int, offset: int) -> bytes:
    """Return `size` bytes of a file from an offset on; OSError if it is shorter."""
    parts = []
    while size:
        part = os.pread(fd, size, offset)
        if not part:
            raise OSError(f"a file of the writing area ends {size} bytes early")
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)
