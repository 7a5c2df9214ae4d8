"""File operations: writes that are durable when they return, reads that trust nothing about the file.

Every byte that the store writes or reads goes through these few functions.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from .errors import Corrupt
from .mapping import map_descriptor

MAX_JSON_BYTES = 16 * 2**20  # far above any honest metadata; a bound on what a hostile file can make us parse
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_SYNC_FILE_RANGE_WRITE = 2  # of Linux's call
_sync_file_range: Any = None
SYNCERS = 4  # threads that wait for the disk
WRITEBACK_BYTES = 2**23  # so much of a growing file is enough to begin writing it
_NOT_THE_FILES_FAULT = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def corrupt(where: str, found: str) -> Corrupt:
    """Return the error that says what is wrong with stored data.

    Args:
        where: what was read, as the subject of a sentence.
        found: what is wrong with it, as a sentence.
    """
    return Corrupt(
        f"{where} was read.",
        found,
        "Run `cuebank store verify` to list all damage; restore the store, or extract again with `--overwrite`.",
    )


def crc32c(*parts: bytes | np.ndarray, start: int = 0) -> int:
    """Return the crc32c (Castagnoli) over the bytes of C-contiguous arrays or byte strings, one after the other.

    Args:
        parts: arrays or byte strings.
        start: the crc32c of what comes before them.
    """
    value = start
    for part in parts:
        if isinstance(part, np.ndarray):
            part = part.reshape(-1).view(np.uint8)
        if len(part):
            value = google_crc32c.extend(value, part)
    return value


def write_all(fd: int, data: bytes | np.ndarray) -> None:
    """Write all bytes at the descriptor's position; a short write is continued, an error is raised."""
    view = memoryview(data.reshape(-1).view(np.uint8).data if isinstance(data, np.ndarray) else data)
    while len(view):
        view = view[os.write(fd, view) :]


def create_file(path: Path) -> int:
    """Return a descriptor for writing a file that is empty now."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)


def write_file(path: Path, data: bytes | np.ndarray) -> None:
    """Create a file with this content, or replace it. It is not durable before `sync_tree` or `sync` has seen it."""
    fd = create_file(path)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def sync(path: str | Path) -> None:
    """Return when the file's content, or the folder's list of names, is on the disk."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def begin_writeback(fd: int) -> None:
    """Have the system begin to write what it holds of a file, without waiting: a later `sync` is short then.

    Only a hint. It promises nothing, and where the system has no such call nothing happens.
    """
    global _sync_file_range
    if _sync_file_range is None:
        import ctypes

        _sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None) or (lambda *_: 0)
        _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    _sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


def _raise(error: OSError) -> None:
    raise error


def sync_tree(folder: Path) -> None:
    """Return when every file and folder below `folder`, and `folder` itself, is on the disk.

    Raises:
        OSError: if one of them cannot be read or synced.
    """
    files: list[str] = []
    folders: list[str] = []
    for parent, _, names in os.walk(folder, onerror=_raise):
        folders.append(parent)
        files += [f"{parent}/{name}" for name in names]
    # Several at once: each waits for the disk, which writes its journal once for all that wait at the same time.
    with ThreadPoolExecutor(SYNCERS) as pool:
        for names in (files, folders):
            for _ in pool.map(sync, names):
                pass


def base_name(path: str | Path) -> str:
    """Return the last part of a path."""
    return os.fspath(path).rpartition("/")[2]


def open_regular(path: str | Path, where: str) -> int:
    """Return a descriptor for reading a regular file: no link, no pipe, no device.

    Raises:
        Corrupt: naming `where`, if there is no such file.
        OSError: if it may not be read, or this process has too many open files.
    """
    try:
        fd = os.open(path, _READ_FLAGS)
    except OSError as error:
        if error.errno in _NOT_THE_FILES_FAULT:
            raise
        raise corrupt(where, f"Its file `{base_name(path)}` cannot be opened: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise corrupt(where, f"Its `{base_name(path)}` is not a regular file.")
    return fd


def read_bytes(path: str | Path, where: str, size: int | None = None, limit: int = MAX_JSON_BYTES) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        where: what is being read, for the error message.
        size: the only acceptable size in bytes; None accepts any up to `limit`.
        limit: never read more than this.

    Raises:
        Corrupt: if the file is absent, of another size, or above the limit.
    """
    fd = open_regular(path, where)
    try:
        found = os.fstat(fd).st_size
        if size is not None and found != size:
            raise corrupt(where, f"Its file `{base_name(path)}` has {found} bytes where {size} are recorded.")
        if found > limit:
            raise corrupt(where, f"Its file `{base_name(path)}` has {found} bytes; at most {limit} make sense.")
        parts, left = [], found
        while left:
            try:
                part = os.read(fd, min(left, 2**30))
            except OSError as error:
                raise corrupt(where, f"Its file `{base_name(path)}` cannot be read: {error.strerror}.") from error
            if not part:
                raise corrupt(where, f"Its file `{base_name(path)}` became shorter while it was read.")
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(fd)


def map_bytes(path: str | Path, where: str, size: int | None = None) -> np.ndarray:
    """Return a read-only memory map of a regular file as (size,) uint8; without a size, all of it.

    Raises:
        Corrupt: if the file is absent, empty, or not exactly `size` bytes long.
    """
    fd = open_regular(path, where)
    try:
        found = os.fstat(fd).st_size
        if found != size and (size is not None or not found):
            raise corrupt(where, f"Its file `{base_name(path)}` has {found} bytes where {size or 'some'} are recorded.")
        return map_descriptor(fd, found)
    finally:
        os.close(fd)


def leads_to(path: Path, fd: int) -> bool:
    """Return whether a name, which may be a link, still leads to an open file or folder itself."""
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def real_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder; links do not count. Empty if it is no folder itself."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def folder_bytes(folder: Path) -> int:
    """Return the sum of the sizes of all files below a folder; links are not followed."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 (hot for many segments)
            except FileNotFoundError:
                continue  # removed while we looked
    return total


def render_json(document: Any) -> bytes:
    """Return the one JSON form in which the store writes a document: sorted keys, no spaces, ASCII, a final newline."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number - number != 0:
        _refuse(digits[:40])
    return number


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Raises:
        Corrupt: if it is no JSON, nested without end, or not an object.
    """
    try:
        document = DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise corrupt(where, f"Its zarr.json is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise corrupt(where, "Its zarr.json does not hold an object.")
    return document
