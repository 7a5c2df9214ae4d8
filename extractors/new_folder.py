"""A folder that appears under its name whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..store.errors import BadInput, Conflict
from ..store.files import sync, sync_tree


@contextmanager
def new_folder(target: Path, replaceable: frozenset[str] | None) -> Iterator[Path]:
    """Give an empty folder beside `target`, which takes its name when the block ends without an error.

    Args:
        target: the folder to make; one that is empty is taken over.
        replaceable: the files, as paths from the folder, that an older one may hold if it is to be replaced; None: it
            is never replaced.

    Raises:
        Conflict: if there is an older folder that must not be replaced.
        BadInput: if something that is no folder has the name, or is in the way to it.
    """
    check_free(target, replaceable)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _in_the_way(target) from error
    token = secrets.token_hex(4)
    making = target.parent / f".{target.name[:80]}.{token}.making"
    making.mkdir()
    try:
        yield making
        sync_tree(making)
        _take_place(making, target, replaceable, token)
        sync(target.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def check_free(target: Path, replaceable: frozenset[str] | None) -> None:
    """Check that `new_folder` may make this folder, before any work; arguments and errors as there."""
    if not target.name or (target.exists() and not target.is_dir()) or target.is_symlink():
        raise _in_the_way(target)
    held = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_symlink() or not path.is_dir()}
    asked = f"The folder `{target}` was to be made."
    if replaceable is None and target.is_dir() and any(target.iterdir()):
        raise Conflict(asked, "It is there already.", "Choose another with --out, or replace it with --overwrite.")
    if replaceable is not None and (others := sorted(held - replaceable)):
        found = f"It is there already, with {', '.join(others[:5])}, which no import wrote."
        raise Conflict(asked, found, "Choose another with --out.")


def _take_place(making: Path, target: Path, replaceable: frozenset[str] | None, token: str) -> None:
    check_free(target, replaceable)
    if not target.is_dir() or not any(target.iterdir()):
        # A rename replaces an empty folder; should another process have filled it, it fails.
        making.rename(target)
        return
    old = target.parent / f".{target.name[:80]}.{token}.old"
    target.rename(old)
    try:
        making.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _in_the_way(target: Path) -> BadInput:
    return BadInput(
        f"The folder `{os.fspath(target)}` was to be made.",
        "A file or a link, not a folder, is in the way.",
        "Choose another with --out.",
    )
