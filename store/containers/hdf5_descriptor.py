"""A file as libhdf5 sees it when it writes for us: every access goes through our own descriptor.

So no file is locked, no descriptor is kept, and a test that makes one operation fail can do it here too.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import write_all
from .hdf5_layout import ALIGNED_BYTES, ALIGNMENT, USER_BLOCK

if TYPE_CHECKING:
    import h5py

PIECE_BYTES = 2**22  # of what is copied at once


def create_readable(path: Path) -> int:
    """Return a descriptor for writing and reading a file that is empty now."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)


def write_at(fd: int, data: bytes | memoryview | np.ndarray, offset: int) -> None:
    """Write all bytes from an offset on; the descriptor's position is behind them then."""
    os.lseek(fd, offset, os.SEEK_SET)
    raw = data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    for begin in range(0, len(raw), PIECE_BYTES):
        write_all(fd, raw[begin : begin + PIECE_BYTES])


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Return bytes from an offset on, fewer where the file ends."""
    data = os.pread(fd, size, offset)
    while len(data) < size:
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


class Descriptor:
    """A descriptor as the file object that h5py can make a file on.

    It looks empty at first, whatever is there already: libhdf5 would not make a new file on it otherwise.

    After the first error it only pretends: libhdf5 must come to an end without errors of its own, since it does not
    survive all of them. Whoever uses it then calls `close`, which raises what was caught.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = self._end = 0
        self._caught: BaseException | None = None

    def close(self) -> None:
        """Raise what an operation raised, if any did; the descriptor itself stays open."""
        if self._caught is not None:
            raise self._caught

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; what lies behind the end of the file is read as zeros."""
        view = memoryview(buffer).cast("B")
        data = self._try(lambda: read_at(self._fd, len(view), self._position)) or b""
        view[:] = data.ljust(len(view), b"\0")
        self._position += len(view)
        return len(view)

    def read(self, size: int) -> bytes:
        """Return bytes from the position on."""
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def write(self, data: Any) -> int:
        """Write all bytes at the position."""
        view = memoryview(data).cast("B")
        self._try(lambda: write_at(self._fd, view, self._position))
        self._position += len(view)
        self._end = max(self._end, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file as long as libhdf5 says."""
        size = self._position if size is None else size
        self._try(lambda: os.ftruncate(self._fd, size))
        self._end = size
        return size

    def flush(self) -> None:
        """Nothing is held back."""

    def _try(self, operation: Any) -> Any:
        if self._caught is None:
            try:
                return operation()
            except BaseException as error:  # noqa: BLE001 (Ctrl-C too: `close` raises it when libhdf5 has ended)
                self._caught = error
        return None


def new_hdf5(descriptor: Descriptor | io.BytesIO, many: bool = False) -> h5py.File:
    """Return a new, empty HDF5 file that has a user block, and that any HDF5 since 1.8 reads.

    Args:
        descriptor: where it is made.
        many: whether it will hold so much that only large arrays can be aligned: of every gap that an alignment leaves
            HDF5 takes note, and finding a place among a hundred thousand takes it a long time.
    """
    import h5py

    return h5py.File(
        descriptor,
        "w",
        userblock_size=USER_BLOCK,
        libver=("v108", "v108"),
        alignment_threshold=ALIGNED_BYTES if many else 1,
        alignment_interval=ALIGNMENT,
    )


@contextmanager
def hdf5_on(fd: int, many: bool) -> Iterator[tuple[h5py.File, Descriptor]]:
    """Give a new HDF5 file on a descriptor, and close it at the end; what went wrong below it is raised then."""
    descriptor = Descriptor(fd)
    file = new_hdf5(descriptor, many)
    try:
        try:
            yield file, descriptor
        finally:
            file.close()
    except Exception:
        descriptor.close()  # libhdf5 may have stumbled over what only pretended; this says what it was
        raise
    descriptor.close()
