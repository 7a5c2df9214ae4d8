"""Putting what was finished in the writing area into its place, and taking away what is no longer needed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import folder_bytes, sync, sync_tree


@contextmanager
def publishing(target: Path, alone: bool) -> Iterator[None]:
    """Let nobody else list the segments in a folder, and rename one into it, in a way that contradicts this one.

    A commit takes its rank from what it sees. Commits may see the same and have ranks side by side; a segment that
    stands in place of several must not appear while a commit has looked and has not yet renamed.

    Args:
        target: the folder in which the segment is going to be seen.
        alone: whether it stands in place of others.
    """
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def publish_folder(folder: Path, target: Path) -> bool:
    """Sync a finished folder and rename it to its place; return False if the name is taken."""
    sync_tree(folder)
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(folder)
        return False
    finally:
        sync(target.parent)
    return True


def empty(trash: Path) -> int:
    """Remove a folder of the writing area; return how many bytes were in it."""
    size = folder_bytes(trash)
    shutil.rmtree(trash)
    return size
