"""Writing an HDF5 file of bundles: h5py makes the empty skeleton, we write what belongs into it."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codecs import hdf5_filter
from ..files import crc32c, render_json
from .hdf5_descriptor import PIECE_BYTES, Descriptor, hdf5_on, new_hdf5, read_at, write_at
from .hdf5_layout import DIRECTORY_PATH, USER_BLOCK, Entry, Frame, header_path, inside, render_directory

if TYPE_CHECKING:
    import h5py

TABLE = "values_chunks"  # where the chunks of compressed values lie
_ATTRIBUTES = {"times": ("units", b"s"), "row_size": ("sample_dimension", b"row")}  # as in Zarr
Region = tuple[int, int]  # offset and size


class CopyOf:
    """The first bytes of another open file, as what an array is filled with."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def pieces(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of the first `size` bytes."""
        for begin in range(0, size, PIECE_BYTES):
            data = read_at(self.fd, min(PIECE_BYTES, size - begin), begin)
            if len(data) != min(PIECE_BYTES, size - begin):
                raise OSError(f"a file of the writing area ends before byte {size}")
            yield begin, data


class Builder:
    """Makes one file of bundles on a descriptor that can be read and written.

    The calls for one bundle are: any number of `add` or `add_compressed`, then `end_bundle`. `finish` comes last.
    """

    def __init__(self, fd: int, file: h5py.File, descriptor: Descriptor) -> None:
        self._fd, self._file, self._descriptor = fd, file, descriptor
        self._proven: list[Region] = []  # regions that something else than the structure's checksum proves
        self._entries: dict[str, Entry] = {}
        self._arrays: dict[str, tuple[dict[str, Any], int]] = {}  # of the bundle under way

    def add(self, path: str, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], content: Any) -> int:
        """Add an array to the bundle at a path; return its offset, 0 if it has no elements.

        Args:
            path: of the bundle, "" for the root.
            name: of the array.
            shape: of the array.
            dtype: of the array, little-endian.
            content: array, bytes or `CopyOf`; None if it lies there already.
        """
        offset, size = self._place(inside(path, name), shape, dtype, content)
        self._arrays[name] = {"shape": list(shape), "dtype": dtype.name}, offset
        self._proven.append((offset, size))
        return offset

    def add_compressed(
        self,
        path: str,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        chunk_rows: int,
        codec: str,
        frames: Iterator[bytes | np.ndarray],
    ) -> int:
        """Add compressed `values` to the bundle at a path, as an HDF5 dataset of chunks; return the crc32c of all.

        Args:
            path: of the bundle.
            shape: of the values.
            dtype: of the values.
            chunk_rows: rows of a chunk.
            codec: by which they are compressed.
            frames: the chunks in order, compressed; the last one as long as the others before that.
        """
        dataset = self._chunked(inside(path, "values"), shape, dtype, chunk_rows, codec)
        checksum, table = 0, np.zeros((-(-shape[0] // chunk_rows), 2), "<u8")
        for i, frame in enumerate(frames):
            dataset.write_direct_chunk((i * chunk_rows, 0), frame)
            self._descriptor.close()
            checksum = crc32c(frame, start=checksum)
            table[i, 1] = len(frame)
        for i in range(len(table)):
            found = dataset.get_chunk_info(i)
            table[i, 0] = found.byte_offset + self._lies_further
        offset, _ = self._place(inside(path, TABLE), table.shape, table.dtype, table)
        self._arrays["values"] = {"shape": list(shape), "dtype": dtype.name, "chunk_rows": chunk_rows}, offset
        self._proven += [(begin, size) for begin, size in table.tolist()]
        return checksum

    @functools.cached_property
    def _lies_further(self) -> int:
        """What is to be added to the offset of a chunk: some versions of HDF5 forget the user block."""
        return _chunk_offset_error()

    def end_bundle(self, path: str, attributes: Mapping[str, Any]) -> bytes:
        """Complete the bundle at a path; return its document."""
        names = sorted(self._arrays)
        data = render_json({"attributes": dict(attributes), "arrays": {name: self._arrays[name][0] for name in names}})
        self._entries[path] = self._document(header_path(path), data, [self._arrays[name][1] for name in names])
        self._arrays = {}
        return data

    def set_attribute(self, path: str, name: str, text: str) -> None:
        """Give a group an attribute, for those who read by h5py alone."""
        self._file.require_group(path or "/").attrs[name] = text

    def finish(self) -> None:
        """Complete the file: directory, content of the arrays, checksum of the rest, user block. It is not synced."""
        directory = self._document(DIRECTORY_PATH, render_directory(self._entries), [])
        self._file.close()
        self._descriptor.close()
        file_size = os.fstat(self._fd).st_size
        structure = 0
        for begin, end in gaps(self._proven, file_size):
            structure = crc32c(read_at(self._fd, end - begin, begin), start=structure)
        frame = Frame(directory.offset, directory.size, directory.crc, structure, file_size)
        write_at(self._fd, frame.render(), 0)

    def _document(self, path: str, data: bytes, arrays: list[int]) -> Entry:
        offset, size = self._place(path, (len(data),), np.dtype(np.uint8), data)
        self._proven.append((offset, size))
        return Entry(offset, size, crc32c(data), arrays)

    def _place(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], content: Any) -> Region:
        """Make a contiguous dataset, and fill it where HDF5 says that it lies."""
        offset = contiguous(self._file, path, shape, dtype)
        self._descriptor.close()
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return 0, 0
        if isinstance(content, CopyOf):
            for begin, data in content.pieces(size):
                write_at(self._fd, data, offset + begin)
        elif content is not None:
            write_at(self._fd, content, offset)
        return offset, size

    def _chunked(self, path: str, shape: tuple[int, int], dtype: np.dtype[Any], chunk_rows: int, codec: str) -> Any:
        import h5py

        number, options = hdf5_filter(codec, dtype.itemsize, chunk_rows * shape[1] * dtype.itemsize)
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((chunk_rows, shape[1]))
        plan.set_filter(number, h5py.h5z.FLAG_OPTIONAL, options)  # optional, so that we need not have the plugin
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        plan.set_obj_track_times(False)
        return _create(self._file, path, shape, dtype, plan)


@contextmanager
def building(fd: int, many: bool = False) -> Iterator[Builder]:
    """Give a builder of a file on a descriptor that can be read and written, whose content may be overwritten.

    Args:
        fd: the descriptor.
        many: whether it will hold many bundles; see `new_hdf5`.
    """
    with hdf5_on(fd, many) as (file, descriptor):
        yield Builder(fd, file, descriptor)


def contiguous(file: h5py.File, path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Make a contiguous dataset that HDF5 itself never fills; return the offset of its content."""
    import h5py

    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)
    dataset = _create(file, path, shape, dtype, plan)
    name = path.rpartition("/")[2]
    if name in _ATTRIBUTES:
        key, text = _ATTRIBUTES[name]
        h5py.Dataset(dataset).attrs[key] = np.bytes_(text)
    return int(dataset.get_offset()) if 0 not in shape else 0


def _create(file: h5py.File, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], plan: Any) -> Any:
    import h5py

    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    type_ = h5py.h5t.py_create(dtype, logical=True)
    return h5py.h5d.create(file.id, path.encode("utf-8"), type_, h5py.h5s.create_simple(shape), plan, links)


@functools.lru_cache
def first_offset(dtype: str) -> int:
    """Return where the first dataset of a file lies, if it is `values` of a type: rows can be written there at once."""
    with new_hdf5(io.BytesIO()) as file:
        return contiguous(file, "values", (1, 1), np.dtype(dtype))


@functools.lru_cache
def _chunk_offset_error() -> int:
    import h5py

    memory, frame = io.BytesIO(), b"one chunk as cuebank looks for it"
    with new_hdf5(memory) as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((len(frame),))
        dataset = _create(file, "x", (len(frame),), np.dtype(np.uint8), plan)
        dataset.write_direct_chunk((0,), frame)
        said = int(dataset.get_chunk_info(0).byte_offset)
    return memory.getvalue().index(frame) - said


def gaps(regions: list[Region], file_size: int) -> Iterator[Region]:
    """Yield (begin, end) of all that lies behind the user block and in no region, in order.

    Raises:
        ValueError: if regions overlap, or lead out of the file.
    """
    position = USER_BLOCK
    for offset, size in sorted(region for region in regions if region[1]):
        if offset < position:
            raise ValueError(f"what lies at byte {offset} begins before byte {position}, where other things end")
        if offset > position:
            yield position, offset
        position = offset + size
    if position > file_size:
        raise ValueError(f"what ends at byte {position} leads out of the file")
    if position < file_size:
        yield position, file_size
