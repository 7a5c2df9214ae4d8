"""Checking all of an HDF5 store but its segments and indexes, which check themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import BadInput, CuebankError
from ..files import render_json
from ..keys import quote_name, unquote_name
from ..recipe import FeatureSpec
from . import hdf5_clips, zarr_clips
from .description import feature_set_attributes
from .hdf5_file import Hdf5File, Stored
from .hdf5_links import digest, is_damaged, is_neither, listing, read_links
from .hdf5_packed import CLIPS, PARTS, STORE
from .hdf5_shelf import PACKED, SET_FILE, STORE_FILE, SUFFIX, Shelf, files_in
from .names import by_rank
from .zarr_check import strange_names

Found = tuple[str | None, str]


def check_store(shelf: Shelf, spec: Callable[[str], FeatureSpec]) -> Iterator[Found]:
    """Yield (feature set or None, what is wrong).

    Args:
        shelf: of the store.
        spec: returns the description of a feature set by its name.
    """
    if shelf.is_folder():
        yield from ((None, text) for text in _check_root(shelf))
    for path in shelf.packed_paths():
        yield from ((None, text) for text in _check_packed(shelf, path))
    for version in zarr_clips.by_age(shelf.clips()):
        where = f"Version `{version}` of the clips table"
        try:
            file, path = shelf.open_clips(version, where)
        except CuebankError as error:
            yield None, f"{error.asked} {error.found}"
            continue
        yield from ((None, text) for text in hdf5_clips.check(file, path, version, where))
    for quoted in shelf.quoted_sets():
        name = unquote_name(quoted)
        yield from ((name, text) for text in _check_set(shelf, quoted, spec))


def _check_root(shelf: Shelf) -> Iterator[str]:
    """Check what the folder of a store has beside feature sets, clips and packed files, and the file of links."""
    yield from _check_single(f"{shelf.root}/{STORE_FILE}", f"The {STORE_FILE} of the store", STORE)
    known = {STORE_FILE, CLIPS, PACKED, *shelf.quoted_sets()}
    yield from strange_names(shelf.root, known)
    yield from _strange_files(shelf.root / PACKED, files_in(f"{shelf.root}/{PACKED}"))
    yield from _strange_files(shelf.root / CLIPS, zarr_clips.by_age(files_in(f"{shelf.root}/{CLIPS}")))
    links = read_links(shelf.path)
    damaged = is_neither(shelf.path) if links is None else is_damaged(shelf.path, links)
    if damaged and (links is None or links.digest == digest(listing(shelf))):
        yield f"The links in `{shelf.path.name}` are damaged. Nothing is lost: they are made anew if it is removed."


def _check_packed(shelf: Shelf, path: str) -> Iterator[str]:
    try:
        packed = shelf.open_packed(path)
    except FileNotFoundError:
        return  # there is no store, or another process has just taken it away
    except CuebankError as error:
        yield f"{error.asked} {error.found}"
        return
    yield from packed.check()
    where = f"`{os.path.basename(path)}`"  # noqa: PTH119 (paths of files are text here)
    strange = list(packed.strange)
    strange += [f"{CLIPS}/{name}" for name in packed.clips if not zarr_clips.by_age([name])]
    for (quoted, part), names in packed.parts.items():
        strange += [f"{quoted}/{part}/{name}" for name in names if not by_rank([name])]
        if quoted not in packed.described:
            strange.append(f"{quoted}/{part}")
    strange += [quoted for quoted in packed.described if not _is_quoted(quoted)]
    for bundle in strange:
        yield f"`{bundle[:200]}` in {where} does not belong there."
    try:
        root = Stored(packed, "", packed.where)
        if root.attributes != STORE or root.arrays:
            yield f"The document of {where} is not that of a store."
    except CuebankError as error:
        yield f"{error.asked} {error.found}"


def _check_set(shelf: Shelf, quoted: str, spec: Callable[[str], FeatureSpec]) -> Iterator[str]:
    name = unquote_name(quoted)
    where = f"Feature set `{name}`"
    try:
        expected = feature_set_attributes(spec(name))
        file, path = shelf.open_set(quoted, where)
        if path:
            stored = Stored(file, path, where)
            if render_json(stored.attributes) != render_json(expected) or stored.arrays:
                yield f"The document of feature set `{name}` is not as it was written."
        else:
            yield from _check_single(file.path, where, expected)
    except CuebankError as error:
        yield f"{error.asked} {error.found}"
    folder = shelf.root / quoted
    if not folder.is_dir():
        return
    yield from strange_names(folder, {SET_FILE, *PARTS})
    for part in PARTS:
        yield from _strange_files(folder / part, by_rank(files_in(f"{folder}/{part}")))


def _check_single(path: str, where: str, expected: dict[str, Any]) -> Iterator[str]:
    """Check a file of one bundle without arrays."""
    try:
        file = Hdf5File(path, where)
        yield from file.check()
        stored = Stored(file, "", where)
        if set(file.bundles) != {""} or stored.arrays or render_json(stored.attributes) != render_json(expected):
            yield f"{where} is not as it was written."
    except CuebankError as error:
        yield f"{error.asked} {error.found}"


def _strange_files(folder: Path, names: list[str]) -> Iterator[str]:
    if not os.path.lexists(folder):
        return  # empty folders get lost where a store is copied by a program that knows only files
    if not folder.is_dir() or folder.is_symlink():
        yield f"`{folder.name}` is no folder."
        return
    yield from strange_names(folder, {name + SUFFIX for name in names})


def _is_quoted(quoted: str) -> bool:
    try:
        return quote_name(unquote_name(quoted)) == quoted
    except BadInput:
        return False
