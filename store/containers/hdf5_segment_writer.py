"""Writing a segment as an HDF5 file: values stream to the very place where HDF5 is going to look for them.

How many rows there will be is not known before the end, and HDF5 must be told. But the first dataset of a new file
always lies at the same offset, however large it gets; so values are written from there on, and the skeleton of the
file is made around them when all have come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..codecs import encode
from ..files import WRITEBACK_BYTES, begin_writeback, crc32c, sync, write_all
from . import zarr_metadata as metadata
from .hdf5_builder import Builder, CopyOf, building, first_offset
from .hdf5_descriptor import create_readable, read_at
from .hdf5_layout import FORMAT
from .names import check_neighbours, next_stem
from .publishing import publishing

SUFFIX = ".h5"


class SegmentFileWriter:
    """Streams rows into a file of the writing area, then makes it a complete segment.

    Args:
        folder: an empty folder in the writing area.
        target: the folder in which the segment shall be seen.
        present: returns the names of all segments that are visible.
        dim: columns of `values`, D.
        dtype: type of `values`.
        codec: of `values`.
    """

    def __init__(
        self, folder: Path, target: Path, present: Callable[[], list[str]], dim: int, dtype: np.dtype[Any], codec: str
    ) -> None:
        self.target, self.codec = target, codec
        self._path, self._present = folder / "segment.h5", present
        self._dim, self._dtype = dim, dtype
        self._name = ""
        self._fresh = 0  # bytes of values that the system has not been asked to write yet
        self._replaces: Sequence[str] = ()
        self._checksum = 0
        self._begin = first_offset(dtype.name) if codec == "none" else 0
        self._files: dict[str, int] = {}
        raw = ("times", "valid") if codec == "none" else metadata.ROW_ARRAYS
        try:
            self._files["segment"] = create_readable(self._path)
            for name in raw:  # moved into the file at the end
                self._files[name] = create_readable(folder / name)
        except BaseException:
            self.discard()
            raise

    def put(self, row: int, values: np.ndarray, times: np.ndarray, valid: np.ndarray) -> None:
        """Write rows from number `row` on, over whatever an interrupted call may have left there."""
        row_bytes = self._dim * self._dtype.itemsize
        for name, rows, offset in (
            ("values" if "values" in self._files else "segment", values, self._begin + row * row_bytes),
            ("times", times, 8 * row),
            ("valid", valid, row),
        ):
            os.lseek(self._files[name], offset, os.SEEK_SET)
            write_all(self._files[name], rows)
        self._fresh += values.nbytes
        if self._fresh >= WRITEBACK_BYTES:
            begin_writeback(self._files.get("values", self._files["segment"]))
            self._fresh = 0

    def finish(self, rows: int, index: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Cut the segment to `rows`, add the index arrays, return when all is on the disk."""
        if self._published:
            return
        format_ = metadata.TEXT_FORMAT if metadata.TEXT in index else FORMAT
        own = {"kind": "segment", "series": len(index["status"]), "rows": rows, **attributes, "format": format_}
        own["checksums"] = {name: crc32c(array) for name, array in index.items()}
        self._replaces = own.get("replaces", ())
        os.ftruncate(self._files["segment"], self._begin + rows * self._dim * self._dtype.itemsize * (not self._coded))
        with building(self._files["segment"]) as builder:
            own |= self._add_values(builder, rows)
            builder.add("", "times", (rows,), np.dtype("<f8"), CopyOf(self._files["times"]))
            builder.add("", "valid", (rows,), np.dtype(bool), CopyOf(self._files["valid"]))
            for name, array in index.items():
                builder.add("", name, array.shape, metadata.index_dtype(name), array)
            self._checksum = crc32c(builder.end_bundle("", own))
            builder.finish()
        sync(self._path)

    @property
    def _coded(self) -> bool:
        return self.codec != "none"

    def _add_values(self, builder: Builder, rows: int) -> dict[str, Any]:
        """Add `values`; return what the attributes are to say of them."""
        shape = rows, self._dim
        if not self._coded or not rows:
            found = builder.add("", "values", shape, self._dtype, None)
            if found not in (0, self._begin):
                raise RuntimeError(f"libhdf5 has put the first dataset at {found}, not at {self._begin} as before.")
            return {"codec": self.codec, "chunks_crc32c": 0} if self._coded else {}
        chunk_rows = metadata.chunk_rows(rows, self._dim * self._dtype.itemsize, self.codec)
        frames = self._frames(rows, chunk_rows)
        checksum = builder.add_compressed("", shape, self._dtype, chunk_rows, self.codec, frames)
        return {"codec": self.codec, "chunks_crc32c": checksum}

    def _frames(self, rows: int, chunk_rows: int) -> Iterator[bytes]:
        row_bytes = self._dim * self._dtype.itemsize
        for row in range(0, rows, chunk_rows):
            size = min(chunk_rows, rows - row) * row_bytes
            chunk = read_at(self._files["values"], size, row * row_bytes)
            if len(chunk) != size:
                raise OSError(f"a file of the writing area ends before row {row + chunk_rows}")
            yield encode(self.codec, chunk.ljust(chunk_rows * row_bytes, b"\0"), self._dtype.itemsize)

    def publish(self, neighbours: Sequence[str] = (), between: Collection[str] = ()) -> str:
        """Make the finished segment visible, durably; return its name."""
        if not self._published:
            with publishing(self.target, alone=bool(neighbours)):
                present = self._present()
                check_neighbours(present, neighbours, between)
                self._name = f"{next_stem(present, self._replaces)}{self._checksum:08x}"
                self._path.rename(self.target / (self._name + SUFFIX))
        sync(self.target)
        self.discard()
        return self._name

    @property
    def _published(self) -> bool:
        """Whether the segment is in its place already: a commit that was interrupted is being repeated then."""
        return bool(self._name) and (self.target / (self._name + SUFFIX)).is_file()

    def discard(self) -> None:
        """Close what is open; the files are removed with the writing area."""
        while self._files:
            os.close(self._files.popitem()[1])
