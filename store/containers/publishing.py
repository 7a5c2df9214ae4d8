"""Putting what was finished in the writing area into its place, and taking away what is no longer needed."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ..files import folder_bytes, sync, sync_tree


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
