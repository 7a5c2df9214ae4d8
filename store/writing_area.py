"""Where unfinished work lies: a folder beside the store, one locked corner of it for each writer.

Beside, not inside, so that the store itself is plain Zarr at every moment. A writer owns `<id>.lock`, held by flock as
long as the process lives, and the folder `<id>/`. The lock is made before the folder and removed after it, so a folder
whose lock can be taken, or that has none, belongs to nobody alive.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BadInput, Conflict
from .files import leads_to

_WRITER = re.compile(r"[0-9a-f]{16}")  # anything else in the area is not ours to remove


def area_of(store: Path) -> Path:
    """Return the writing area of a store; `store` is a resolved path."""
    return store.with_name(store.name + ".writing")


class WritingArea:
    """One writer's corner of the writing area.

    Args:
        store: resolved path of the store; its parent folder must exist.

    Raises:
        BadInput: if nothing may be written there, or the file system cannot lock files.
    """

    def __init__(self, store: Path) -> None:
        self._area = area_of(store)
        self._process = os.getpid()
        self._made = 0
        while True:
            try:
                self._area.mkdir(exist_ok=True)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                raise BadInput(
                    f"The store {store} was opened for writing.",
                    f"The folder around it may not be written: {error.strerror}.",
                    "Ask for the right to write there, or choose another place for the store.",
                ) from error
            writer = secrets.token_hex(8)
            lock = self._area / f"{writer}.lock"
            try:
                self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
            except FileNotFoundError:
                continue  # another writer, the last one then, removed the empty area in between
            if _try_lock(self._lock) and leads_to(lock, self._lock):
                break
            os.close(self._lock)  # a cleaner was quicker and took the file for a leftover
        self._folder = self._area / writer
        self._finalizer = weakref.finalize(self, _leave, self._area, self._folder, self._lock, self._process)
        self._folder.mkdir()

    @property
    def mine(self) -> bool:
        """Whether this process made the area (a forked child did not, and must not touch it)."""
        return os.getpid() == self._process

    def new_folder(self) -> Path:
        """Make and return an empty folder on the store's file system."""
        self._made += 1
        folder = self._folder / f"{self._made:06d}"
        folder.mkdir()
        return folder

    @contextmanager
    def alone(self, wait_s: float) -> Iterator[None]:
        """Let no other process compact or drop meanwhile; reading and writing are not hindered.

        Args:
            wait_s: how long to wait for another one.

        Raises:
            Conflict: if another one is at it for longer.
        """
        fd = os.open(self._area, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + wait_s
            while not _try_lock(fd):
                if time.monotonic() >= until:
                    raise Conflict(
                        f"The store beside {self._area} was to be compacted, or something dropped from it.",
                        "Another process is doing that right now.",
                        "Try again when it has finished.",
                    )
                time.sleep(0.02)
            yield
        finally:
            _unlock(fd)  # closing is not enough: a child that was forked meanwhile has it open too
            os.close(fd)

    def close(self) -> None:
        """Remove what is left of this writer, and the area if it is empty then."""
        self._finalizer()


def _leave(area: Path, folder: Path, lock: int, process: int) -> None:
    if os.getpid() != process:
        return  # a forked child: the files are its parent's
    _remove(area, folder.name, lock)


def _remove(area: Path, writer: str, lock: int) -> None:
    """Remove a writer's folder, then its lock file, then the area if nobody else is there. Closes the lock."""
    shutil.rmtree(area / writer, ignore_errors=True)
    if not (area / writer).exists():  # else keep the lock, so that the next writer tries again
        (area / f"{writer}.lock").unlink(missing_ok=True)
    os.close(lock)
    try:
        area.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def _try_lock(fd: int) -> bool:
    """Return whether this process now holds the lock; False if another one does."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return False
        raise BadInput(
            "A store was opened for writing.",
            f"Its file system cannot lock files: {error.strerror}.",
            "Put the store on a file system with flock, or write to a local disk and copy the store afterwards.",
        ) from error
    return True


def _unlock(fd: int) -> None:
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_UN)


def leftovers(store: Path) -> Iterator[tuple[str, int | None]]:
    """Yield (writer, descriptor of its lock, which we now hold) of each dead writer; (writer, None) if it has no lock.

    The caller closes the descriptor.
    """
    area = area_of(store)
    try:
        names = [path.name for path in area.iterdir()]
    except FileNotFoundError:
        return
    for writer in sorted({name.removesuffix(".lock") for name in names}):
        if not _WRITER.fullmatch(writer):
            continue
        lock = area / f"{writer}.lock"
        try:
            fd = os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            yield writer, None  # locks outlive their folders, so nobody owns this one
            continue
        except PermissionError:
            continue  # another user's; that user will clean it up
        if _try_lock(fd) and leads_to(lock, fd):
            yield writer, fd
        else:
            os.close(fd)


def clean(store: Path) -> int:
    """Remove what dead writers left in the writing area of a store; return how many they were."""
    area, count = area_of(store), 0
    for writer, lock in leftovers(store):
        count += 1
        if lock is None:
            _remove_orphan(area / writer)
        else:
            _remove(area, writer, lock)
    return count


def _remove_orphan(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
