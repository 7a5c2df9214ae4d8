"""Mapping files into memory without keeping them open.

Python's own `mmap` keeps a descriptor for each mapping, of which a process has a thousand; a store may have more
segments than that. Where the system call cannot be made directly, Python's is used.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from typing import Any

import numpy as np

_FAILED = ctypes.c_void_p(-1).value


def map_descriptor(fd: int, size: int) -> np.ndarray:
    """Return a read-only map of the first `size` bytes of an open file as (size,) uint8; it outlives the descriptor.

    Raises:
        OSError: if it cannot be mapped.
    """
    libc = _library()
    address = None if libc is None or not size else libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address is None or address == _FAILED:
        return np.frombuffer(mmap.mmap(fd, size, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED), np.uint8)
    memory: Any = (ctypes.c_uint8 * size).from_address(address)
    finalizer = weakref.finalize(memory, libc.munmap, address, size)
    finalizer.atexit = False  # others may still look at it at the very end; the system unmaps it anyway
    return np.frombuffer(memoryview(memory).toreadonly(), np.uint8)  # nobody can make it writable


_loaded: list[Any] = []


def _library() -> Any:
    """Return the C library with `mmap` described, or None if its offsets are not known to be of 64 bits."""
    if not _loaded:
        library: Any = None
        if ctypes.sizeof(ctypes.c_void_p) == 8:
            library = ctypes.CDLL(None, use_errno=True)
            library.mmap.restype = ctypes.c_void_p
            library.mmap.argtypes = (
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_int,
                ctypes.c_int,
                ctypes.c_int,
                ctypes.c_int64,
            )
            library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        _loaded.append(library)
    return _loaded[0]
