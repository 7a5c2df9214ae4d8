"""Stands between the store and the file functions of `os`, to count, break or record what is done to the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

WRITES = ("write", "pwrite")
NAMES = ("mkdir", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir")
SYNCS = ("fsync", "fdatasync")
CHANGES = ("open", *WRITES, *NAMES, *SYNCS, "ftruncate", "close")
LOOKS = ("read", "pread", "scandir", "listdir")

Around = Callable[[str, Callable[..., Any], tuple, dict], Any]


def install(around: Around, names: Iterable[str]) -> Callable[[], None]:
    """Send every call of these functions of `os`, in this process, through `around(name, function, args, kwargs)`.

    Returns:
        a function that takes it all back.
    """
    real = {name: getattr(os, name) for name in names}
    for name, function in real.items():
        setattr(os, name, _sent_through(around, name, function))
    return lambda: [setattr(os, name, function) for name, function in real.items()] and None


def _sent_through(around: Around, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: around(name, function, args, kwargs)


def creates(name: str, args: tuple) -> bool:
    """Return whether a call may need space on the disk."""
    if name == "open":
        return len(args) > 1 and bool(args[1] & os.O_CREAT)
    return name in (*WRITES, "mkdir", "rename", "replace", "link", "symlink", "ftruncate")
