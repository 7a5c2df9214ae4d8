"""Locks between processes that read a store and those that give space back.

Who has a store open holds a shared lock on its folder, for as long as the process lives. What was replaced is moved
away only under the exclusive lock: while nobody else has the store open. The kernel lets go of the locks of the dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BadInput
from .files import leads_to

_PAUSE_S = 0.02


class Lease:
    """A shared lock on a folder, held until `close` or the end of the object.

    On a file system without locks nothing is locked, and nothing can be given back.

    Args:
        folder: the folder; it must exist.

    Raises:
        FileNotFoundError: if it does not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = os.getpid()
        self._fd = _locked(folder)
        self._finalizer = weakref.finalize(self, os.close, self._fd)

    def close(self) -> None:
        """Let go of the lock."""
        self._finalizer()

    @contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Iterator[bool]:
        """Try to be the only one that holds the lock; the block learns whether that is so.

        A fork shares the lock with its parent, so it is never alone.

        Args:
            wait_s: how long to try.

        Raises:
            BadInput: if the file system cannot lock.
        """
        until = time.monotonic() + wait_s
        if os.getpid() != self._process:
            yield False
            return
        got = self._upgrade()
        while not got and time.monotonic() < until:
            time.sleep(_PAUSE_S)
            got = self._upgrade()
        try:
            yield got
        finally:
            if got:
                fcntl.flock(self._fd, fcntl.LOCK_SH)

    def _upgrade(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                fcntl.flock(self._fd, fcntl.LOCK_SH)  # a failed upgrade may have lost the shared one
                return False
            raise BadInput(
                f"Space was to be given back in {self._folder}.",
                f"Its file system cannot lock folders: {error.strerror}.",
                "Copy the store to a local disk, compact it there, and copy it back.",
            ) from error
        if leads_to(self._folder, self._fd):
            return True
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        return False


def _locked(folder: Path) -> int:
    """Return a descriptor of the folder that holds the shared lock, if its file system has locks."""
    while True:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not _share(fd) or leads_to(folder, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # while we waited, the folder was replaced


def _share(fd: int) -> bool:
    """Take the shared lock; return False if the file system has no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EBADF):
            return False
        raise
    return True
