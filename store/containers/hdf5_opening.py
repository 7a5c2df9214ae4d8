"""Telling what lies at the path of an HDF5 store: one of the two forms of a store, a part of one, or something else."""

from __future__ import annotations

import os

from ..errors import BadInput, CuebankError, NotFound
from ..files import corrupt, open_regular
from .hdf5_file import Stored
from .hdf5_layout import BUNDLES, LINKS, USER_BLOCK, kind_of
from .hdf5_packed import STORE
from .hdf5_shelf import STORE_FILE, Shelf

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_store(shelf: Shelf) -> bool:
    """Return whether there is a store, in either form; False if there is nothing.

    Raises:
        NotFound: if something else is there, or only the links of a store.
        BadInput: if it is an HDF5 file of something else, or of a newer cuebank.
        Corrupt: if a file is damaged on which all of it depends.
    """
    where = f"The store {shelf.path}"
    while True:
        folder = shelf.is_folder()
        try:
            found = _look(shelf, folder, where)
        except (CuebankError, FileNotFoundError) as error:
            if shelf.is_folder() != folder:
                continue  # it took its other form while we looked
            if isinstance(error, FileNotFoundError):
                raise corrupt(where, f"A file of it is not there: {error.filename}.") from error
            raise
        if shelf.is_folder() == folder:
            shelf.strict = found
            return found


def _look(shelf: Shelf, folder: bool, where: str) -> bool:
    kind = _file_kind(shelf, where)
    if folder:
        _check_root(shelf, f"{shelf.root}/{STORE_FILE}", where)
        for path in shelf.packed_paths():
            shelf.open_packed(path)
        return True
    if kind == BUNDLES:
        _check_root(shelf, str(shelf.path), where)
        return True
    if kind == LINKS:
        raise NotFound(
            f"{where} was opened.",
            f"It has only links; they lead into the folder `{shelf.root.name}`, which is not there.",
            "Put the folder beside the file; `cuebank store export` makes one file that needs no folder.",
        )
    return False


def _file_kind(shelf: Shelf, where: str) -> str | None:
    """Return what the file at the path is, None if there is no file."""
    asked = f"{where} was opened."
    if not os.path.lexists(shelf.path):
        return None
    if shelf.path.is_dir():
        raise NotFound(asked, "It is a folder.", "Give the HDF5 file of a store, or a folder like `features.zarr`.")
    fd = open_regular(shelf.path, where)
    try:
        block = os.pread(fd, USER_BLOCK + len(_SIGNATURE), 0)
    finally:
        os.close(fd)
    kind = kind_of(block, where)
    if kind is None:
        what = "an HDF5 file" if _SIGNATURE in (block[: len(_SIGNATURE)], block[USER_BLOCK:]) else "a file"
        raise BadInput(asked, f"It is {what}, but not a cuebank store.", "Give another path.")
    return kind


def _check_root(shelf: Shelf, path: str, where: str) -> None:
    attributes = Stored(shelf.open_packed(path), "", where).attributes
    if attributes.get("kind") != "store":
        kind = str(attributes.get("kind"))[:40]
        raise BadInput(f"{where} was opened.", f"It is a part of one, a {kind}.", "Give the path of the store.")
    if attributes != STORE:
        raise corrupt(where, "Its document is not that of a store.")
