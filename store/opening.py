"""Opening a store: making it if need be, and locking what a reader has open."""

from __future__ import annotations

from pathlib import Path

from .containers.base import Container
from .errors import BadInput, NotFound
from .lease import Lease
from .writing_area import clean


def prepare_to_write(path: Path, container: Container) -> None:
    """Make the store at a resolved path unless there is one, and remove what dead writers left beside it.

    Raises:
        NotFound: if there is no folder in which to make it.
        BadInput: if nothing can be written there, or something else is there.
    """
    if not path.parent.is_dir():
        raise NotFound(f"A store was to be made at {path}.", "The folder around it does not exist.", "Make it first.")
    if path.is_dir() and path.stat().st_dev != path.parent.stat().st_dev:
        raise BadInput(
            f"The store {path} was opened for writing.",
            "It is on another file system than the folder around it, so nothing can be renamed into it.",
            "Put the store into a subfolder of the mounted file system.",
        )
    if not container.exists():
        container.create()
        container.exists()  # whatever is there now, ours or another process's, must be a store
    clean(path)


def take_lease(container: Container, writable: bool) -> Lease | None:
    """Lock what is open, so that nothing of it is taken away; None where nothing can be.

    Raises:
        FileNotFoundError: if the store is not there any more.
        Corrupt: if it has become unreadable.
    """
    while True:
        if writable:
            container.prepare_to_write()
        folder = container.lock_folder()
        try:
            if folder is not None:
                return Lease(folder)
            if not writable:
                return None
        except FileNotFoundError:
            if not container.exists():  # else another process has just changed the store's form
                raise
