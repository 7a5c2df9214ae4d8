"""The file of a store that is a folder: nothing but links, by which h5py alone reads everything from one place.

It is derived from the listing of the folder, and never the truth.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..errors import Corrupt, CuebankError
from ..files import crc32c, open_regular, render_json
from .hdf5_descriptor import create_readable, hdf5_on, read_at, write_at
from .hdf5_file import Stored
from .hdf5_layout import USER_BLOCK, Links, parse_frame, parse_links
from .hdf5_packed import CLIPS, PARTS, STORE, bundle_path
from .hdf5_shelf import PACKED, SUFFIX, Shelf, files_in

MAX_BYTES = 2**28


def listing(shelf: Shelf) -> dict[str, Any]:
    """Return everything that the file is to lead to: path of a group -> (file, path of the group in it)."""
    root = shelf.root.name
    links: dict[str, tuple[str, str]] = {}
    for packed in shelf.packed():
        file = f"{root}/{PACKED}/{os.path.basename(packed.path)}"  # noqa: PTH119 (paths of files are text here)
        for (quoted, part), names in packed.parts.items():
            links |= {bundle_path(quoted, part, name): (file, f"/{bundle_path(quoted, part, name)}") for name in names}
        links |= {f"{CLIPS}/{version}": (file, f"/{CLIPS}/{version}") for version in packed.clips}
    links |= {f"{CLIPS}/{name}": (f"{root}/{CLIPS}/{name}{SUFFIX}", "/") for name in files_in(f"{shelf.root}/{CLIPS}")}
    quoted_sets = shelf.quoted_sets()
    for quoted in quoted_sets:
        for part in PARTS:
            for name in files_in(f"{shelf.root}/{quoted}/{part}"):
                links[bundle_path(quoted, part, name)] = f"{root}/{quoted}/{part}/{name}{SUFFIX}", "/"
    return {"root": root, "feature_sets": quoted_sets, "links": links}


def digest(found: dict[str, Any]) -> str:
    """Return the digest of a listing."""
    return blake2b(render_json(found), digest_size=16).hexdigest()


def write_links(path: Path, shelf: Shelf, found: dict[str, Any]) -> None:
    """Make the file that leads to everything in a listing. It is not synced."""
    import h5py

    fd = create_readable(path)
    try:
        with hdf5_on(fd, many=True) as (file, _):
            file.attrs["cuebank"] = render_json(STORE).decode("ascii")
            file.create_group(CLIPS)
            for quoted in found["feature_sets"]:
                group = file.create_group(quoted)
                group.create_group(PARTS[0])
                where = f"Feature set `{quoted}`"
                try:
                    described = Stored(*shelf.open_set(quoted, where), where).attributes
                except Corrupt:
                    continue  # whoever reads the feature set is told
                group.attrs["cuebank"] = render_json(described).decode("ascii")
            for name, (target, inner) in found["links"].items():
                file[name] = h5py.ExternalLink(target, inner)
        size = os.fstat(fd).st_size
        checksum = crc32c(read_at(fd, size - USER_BLOCK, USER_BLOCK))
        write_at(fd, Links(digest(found), checksum, size).render(), 0)
    finally:
        os.close(fd)


def read_links(path: Path) -> Links | None:
    """Return what the user block of a file of links says, or None if there is no such file, or it is damaged."""
    block = _user_block(path)
    return None if block is None else parse_links(block)


def is_neither(path: Path) -> bool:
    """Return whether there is a file whose user block is damaged: neither of links, nor of what was one file before."""
    block = _user_block(path)
    if block is None or parse_links(block) is not None:
        return False
    try:
        parse_frame(block, "The file of links")
    except CuebankError:
        return True
    return False


def _user_block(path: Path) -> bytes | None:
    try:
        fd = open_regular(path, "The file of links")
    except (CuebankError, OSError):
        return None
    try:
        return read_at(fd, USER_BLOCK, 0)
    finally:
        os.close(fd)


def is_damaged(path: Path, links: Links) -> bool:
    """Return whether a file of links is not as it was written."""
    fd = open_regular(path, "The file of links")
    try:
        data = read_at(fd, min(links.file_size, MAX_BYTES), USER_BLOCK)
    finally:
        os.close(fd)
    return len(data) + USER_BLOCK != links.file_size or crc32c(data) != links.crc
