"""Turning an HDF5 store from a folder into one file and back, and taking bundles out of files that hold many.

Both forms show the same at every moment: what is new is complete in its place before the old goes, and where both are
there the folder counts. A lock on the store's file keeps one process from folding while another one unfolds.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadInput
from ..files import sync
from ..writing_area import WritingArea
from .hdf5_file import Stored
from .hdf5_packed import CLIPS, STORE, write_packed, write_single
from .hdf5_shelf import PACKED, STORE_FILE, SUFFIX, Shelf
from .names import by_rank
from .publishing import empty, publish_folder


def unfold(shelf: Shelf, area: WritingArea) -> None:
    """Make the folder of a store that is one file; the file becomes its first part, without being copied.

    Raises:
        BadInput: if the file system has no hard links.
    """
    with _locked(shelf.path):
        if shelf.is_folder():
            return  # another process was quicker
        folder = area.new_folder()
        write_single(folder / STORE_FILE, dict(STORE), {})
        (folder / CLIPS).mkdir()
        (folder / PACKED).mkdir()
        try:
            os.link(shelf.path, folder / PACKED / _new_name())
        except OSError as error:
            raise BadInput(
                f"The store {shelf.path} was opened for writing.",
                f"It is one file, and the file system cannot link it into a folder: {error.strerror}.",
                "Copy the store to another file system, or write to a new store.",
            ) from error
        publish_folder(folder, shelf.root)


def fold(shelf: Shelf, area: WritingArea) -> None:
    """Make a store that is a folder one file with all that is visible; the caller holds the exclusive lock.

    Raises:
        Corrupt: if something in it is damaged; nothing is changed then.
        BadInput: if there are more segments than one file can have.
    """
    folder = area.new_folder()
    path = folder / "packed.h5"
    write_packed(path, visible(shelf))  # the shelf is strict: what cannot be read is not left out
    sync(path)
    with _locked(shelf.path), _locked(path):
        path.rename(shelf.path)
        sync(shelf.path.parent)
        shelf.root.rename(folder / "segments")
        sync(shelf.root.parent)
    shutil.rmtree(folder)


def visible(shelf: Shelf) -> Iterator[tuple[str, Stored]]:
    """Yield (path as in a packed file, bundle) of all that counts: nothing that was replaced, one index at most."""
    for version in sorted(shelf.clips()):
        yield f"{CLIPS}/{version}", shelf.stored(f"{CLIPS}/{version}")
    for quoted in shelf.quoted_sets():
        yield quoted, shelf.stored(quoted)
        names, hidden = shelf.names(quoted, "segments"), set()
        for name in names:
            hidden.update(shelf.stored(f"{quoted}/segments/{name}").attributes.get("replaces", ()))
        shown = [name for name in names if name not in hidden]
        for name in shown:
            yield f"{quoted}/segments/{name}", shelf.stored(f"{quoted}/segments/{name}")
        for name in reversed(by_rank(shelf.names(quoted, "index"))):
            stored = shelf.stored(f"{quoted}/index/{name}")
            if set(stored.attributes.get("covers", ())) <= set(shown):
                yield f"{quoted}/index/{name}", stored
                break


def remove_packed(shelf: Shelf, area: WritingArea, paths: set[str]) -> int:
    """Take bundles out of the files that hold many, each of which is written anew; return the bytes given back."""
    given = 0
    for packed in shelf.packed():
        if paths.isdisjoint(packed.bundles):
            continue
        folder = area.new_folder()
        kept = [path for path in packed.bundles if path and path not in paths]
        if kept:
            new = folder / "packed.h5"
            write_packed(new, ((path, Stored(packed, path, packed.where)) for path in kept))
            sync(new)
            given -= new.stat().st_size
            new.rename(shelf.root / PACKED / _new_name())
            sync(shelf.root / PACKED)
        Path(packed.path).rename(folder / "removed")
        shelf.forget(packed)
        sync(shelf.root / PACKED)
        given += empty(folder)
    return given


def publish_file(path: Path, target: Path) -> None:
    """Sync a finished file and rename it to its place."""
    sync(path)
    if not target.parent.is_dir():  # empty folders get lost where a store is copied by a program that knows only files
        target.parent.mkdir(exist_ok=True)
        sync(target.parent.parent)
    path.rename(target)
    sync(target.parent)


def _new_name() -> str:
    return secrets.token_hex(6) + SUFFIX


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file; of none if there is no file. The lock follows the file when it is renamed."""
    fd = _lock(path)
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)


def _lock(path: Path) -> int | None:
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.lexists(path) and os.path.samestat(os.fstat(fd), os.lstat(path)):
                return fd
        except FileNotFoundError:
            pass  # gone while we looked; another one may be there
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
