"""Reading HDF5 files of bundles by their directory; nothing of a file is believed before it is checked.

Opening one must be cheap, since a feature set may have thousands: two reads, the second of which usually brings the
index arrays too, since they lie just before the directory at the end of the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import CuebankError
from ..files import MAX_JSON_BYTES, corrupt, crc32c, open_regular, parse_json
from ..mapping import map_descriptor
from .hdf5_builder import Region, gaps
from .hdf5_descriptor import PIECE_BYTES
from .hdf5_layout import ALIGNED_BYTES, ALIGNMENT, USER_BLOCK, Frame, parse_directory, parse_entry, parse_frame
from .zarr_bundle import count

TAIL_BYTES = 2**14  # of the end of a file are read when it is opened
MAX_CHUNKS = 2**22  # of one array
_KEYS = {"shape", "dtype", "chunk_rows"}
_DTYPES = {
    name: np.dtype(name) for name in ("bool", "uint8", "uint32", "int64", "uint64", "float16", "float32", "float64")
}


class Hdf5File:
    """A file of bundles.

    Args:
        path: the file.
        where: what is read, in words, for errors.
        keep: map it now, for reading it when its name leads to another file, or to none.

    Raises:
        Corrupt: if it is no such file, its user block or its directory is damaged, or it is not as long as it was.
    """

    def __init__(self, path: str, where: str, keep: bool = False) -> None:
        self.path, self.where = path, where
        self._mapped: np.ndarray | None = None
        fd = open_regular(path, where)
        try:
            self.size = os.fstat(fd).st_size
            self.frame: Frame = parse_frame(self._read(fd, USER_BLOCK, 0), where)
            if self.frame.file_size != self.size:
                raise corrupt(where, f"Its file has {self.size} bytes where {self.frame.file_size} are recorded.")
            begin = self.size if keep else max(USER_BLOCK, self.size - TAIL_BYTES) // ALIGNMENT * ALIGNMENT
            self._tail_begin, self._tail = begin, self._read(fd, self.size - begin, begin)
            if keep:
                self._mapped = self._map(fd)
            directory = self.bytes_at(self.frame.offset, self.frame.size, fd)
            self.bundles: Mapping[str, Any] = parse_directory(directory, self.frame, where)
        finally:
            os.close(fd)

    def _read(self, fd: int, size: int, offset: int) -> bytes:
        try:
            data = os.pread(fd, size, offset)
        except OSError as error:
            raise corrupt(self.where, f"Its file cannot be read: {error.strerror}.") from error
        if len(data) != size:
            raise corrupt(self.where, f"Its file ends at byte {offset + len(data)}.")
        return data

    def _map(self, fd: int) -> np.ndarray:
        if os.fstat(fd).st_size != self.size:
            raise corrupt(self.where, "Its file has not the size that it had when it was opened.")
        return map_descriptor(fd, self.size)

    def map(self) -> np.ndarray:
        """Return the whole file as (size,) uint8, mapped; it stays mapped as long as anyone holds a view.

        Raises:
            Corrupt: if the file is not there any more, or of another size.
        """
        if self._mapped is not None:
            return self._mapped
        fd = open_regular(self.path, self.where)
        try:
            return self._map(fd)
        finally:
            os.close(fd)

    def bytes_at(self, offset: int, size: int, fd: int | None = None) -> bytes:
        """Return some bytes of the file, which must have so many there."""
        if offset >= self._tail_begin:
            return self._tail[offset - self._tail_begin : offset - self._tail_begin + size]
        if self._mapped is not None or fd is None:
            return self.map()[offset : offset + size].tobytes()
        return self._read(fd, size, offset)

    def view(self, offset: int, size: int) -> np.ndarray:
        """Return some bytes of the file as (size,) uint8, read-only, mapped if there are many."""
        if size < ALIGNED_BYTES:
            return np.frombuffer(self.bytes_at(offset, size), np.uint8)
        return self.map()[offset : offset + size]

    def check(self) -> Iterator[str]:
        """Yield what is wrong with all bytes that neither documents nor checksums of arrays prove."""
        regions: list[Region] = [(self.frame.offset, self.frame.size)]
        try:
            for path in self.bundles:
                regions += Stored(self, path, self.where).regions()
            mapped = self.map()
            structure = 0
            for begin, end in gaps(regions, self.size):
                structure = crc32c(mapped[begin:end], start=structure)
        except ValueError as error:
            if isinstance(error, CuebankError):
                raise
            yield f"{self.where}: {error}."
            return
        except CuebankError as error:
            yield f"{error.asked} {error.found}"
            return
        if structure != self.frame.structure:
            yield f"What HDF5 itself has written is damaged in {self.where[:1].lower()}{self.where[1:]}."


class Stored:
    """One bundle of a file: its document, and where its arrays lie.

    Args:
        file: the file.
        path: of the bundle in it.
        where: the bundle in words, for errors.

    Raises:
        Corrupt: if it is not there, or its document is damaged.
    """

    def __init__(self, file: Hdf5File, path: str, where: str) -> None:
        self.file, self.path, self.where = file, path, where
        self.entry = parse_entry(file.bundles.get(path), file.size, where)
        if self.entry.size > MAX_JSON_BYTES:
            raise corrupt(where, f"Its document has {self.entry.size} bytes; at most {MAX_JSON_BYTES} make sense.")
        data = file.bytes_at(self.entry.offset, self.entry.size)
        self.crc = crc32c(data)
        if self.crc != self.entry.crc:
            raise corrupt(where, "Its document does not agree with its checksum.")
        document = parse_json(data, where)
        attributes, arrays = document.get("attributes"), document.get("arrays")
        if not isinstance(attributes, dict) or not isinstance(arrays, dict) or len(arrays) != len(self.entry.arrays):
            raise corrupt(where, "Its document does not describe a bundle.")
        self.attributes: dict[str, Any] = attributes
        self.arrays: dict[str, Any] = arrays
        self._offsets = dict(zip(sorted(arrays), self.entry.arrays, strict=True))

    def describe(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Return type and shape of an array, as the document says.

        Raises:
            Corrupt: if it describes no such array.
        """
        try:
            document = self.arrays[name]
            shape = tuple([count(size, 2**62) for size in document["shape"]])
            if len(shape) in (1, 2) and document.keys() <= _KEYS:
                return _DTYPES[document["dtype"]], shape
            found = str(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = repr(error)
        raise corrupt(self.where, f"Its document does not describe its array `{name[:40]}`: {found[:80]}.")

    def region(self, name: str) -> Region:
        """Return offset and size of an uncompressed array; it lies inside the file.

        Raises:
            Corrupt: if it does not.
        """
        dtype, shape = self.describe(name)
        return self._inside(name, dtype.itemsize * math.prod(shape), dtype.itemsize)

    def _inside(self, name: str, size: int, itemsize: int) -> Region:
        offset = self._offsets[name]
        aligned = size < ALIGNED_BYTES or offset % itemsize == 0
        if size and not (offset >= USER_BLOCK and offset + size <= self.file.size and aligned):
            raise corrupt(self.where, f"Its array `{name[:40]}` lies outside of its file.")
        return (offset, size) if size else (0, 0)

    def view(self, name: str) -> np.ndarray:
        """Return the elements of an uncompressed array, read-only, not yet proven."""
        dtype, shape = self.describe(name)
        data = self.file.view(*self._inside(name, dtype.itemsize * math.prod(shape), dtype.itemsize)).view(dtype)
        return data if len(shape) == 1 else data.reshape(shape)

    def chunk_rows(self, name: str) -> int | None:
        """Return how many rows a chunk of a compressed array has; None if it is not compressed."""
        return self.arrays[name].get("chunk_rows")

    def chunks(self, name: str) -> np.ndarray:
        """Return (chunks, 2) uint64, offset and size of each chunk of a compressed array; they lie inside the file.

        Raises:
            Corrupt: if they do not.
        """
        offset, size = self.table(name)
        table = self.file.view(offset, size).view("<u8").reshape(-1, 2)
        offsets, lengths, limit = table[:, 0], table[:, 1], np.uint64(self.file.size)
        if (offsets > limit).any() or (lengths > limit).any() or (offsets + lengths > limit).any():
            raise corrupt(self.where, f"The chunks of its array `{name[:40]}` lie outside of its file.")
        return table

    def table(self, name: str) -> Region:
        """Return where the offsets and sizes of the chunks of a compressed array lie."""
        _, shape = self.describe(name)
        rows = self.chunk_rows(name)
        if type(rows) is not int or rows < 1 or -(-shape[0] // rows) > MAX_CHUNKS:
            raise corrupt(self.where, f"Its array `{name[:40]}` has chunks of {str(rows)[:40]} rows.")
        return self._inside(name, 16 * -(-shape[0] // rows), 8)

    def regions(self) -> Iterator[Region]:
        """Yield where all lies that the structure's checksum does not prove: document and arrays."""
        yield self.entry.offset, self.entry.size
        for name in self.arrays:
            self.describe(name)
            if self.chunk_rows(name) is None:
                yield self.region(name)
            else:
                yield from ((begin, size) for begin, size in self.chunks(name).tolist())

    def size(self) -> int:
        """Return the bytes of document and arrays."""
        return sum(size for _, size in self.regions())


def chunks_checksum(stored: Stored, name: str) -> int:
    """Return the crc32c of all chunks of a compressed array, one after the other."""
    mapped, value = stored.file.map(), 0
    for offset, size in stored.chunks(name).tolist():
        for begin in range(offset, offset + size, PIECE_BYTES):
            value = crc32c(mapped[begin : min(begin + PIECE_BYTES, offset + size)], start=value)
    return value
