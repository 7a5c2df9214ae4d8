"""Files of many bundles: a whole store in one file, or what was once one and is now part of a folder.

No document says where its bundle lies; only the directory of the file does. So bundles move from file to file with
their bytes, their checksums and their names unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..files import corrupt, crc32c, render_json
from . import zarr_metadata as metadata
from .hdf5_builder import Builder, building
from .hdf5_descriptor import create_readable
from .hdf5_file import Hdf5File, Stored
from .hdf5_layout import FORMAT, inside

CLIPS = "clips"
PARTS = ("segments", "index")
STORE = {"format": FORMAT, "kind": "store"}  # attributes of the root


class PackedFile(Hdf5File):
    """A file of bundles, mapped as long as it is known, and what it holds.

    Attributes:
        identity: tells whether the path still leads to this file.
        clips: versions of the clips table.
        described: quoted names of the feature sets whose description it holds.
        parts: (quoted name of a feature set, `segments` or `index`) -> names.
        strange: paths of bundles that are nothing of this.
    """

    def __init__(self, path: str, where: str, identity: tuple[int, ...]) -> None:
        super().__init__(path, where, keep=True)
        self.identity = identity
        self.clips: list[str] = []
        self.described: list[str] = []
        self.parts: dict[tuple[str, str], list[str]] = {}
        self.strange: list[str] = []
        for bundle in self.bundles:
            words = bundle.split("/")
            if len(words) == 2 and words[0] == CLIPS:
                self.clips.append(words[1])
            elif len(words) == 1 and words[0] not in ("", CLIPS):
                self.described.append(words[0])
            elif len(words) == 3 and words[0] != CLIPS and words[1] in PARTS:
                self.parts.setdefault((words[0], words[1]), []).append(words[2])
            elif bundle:
                self.strange.append(bundle)

    def names(self, quoted: str, part: str) -> list[str]:
        """Return the names of the segments or indexes of a feature set."""
        return self.parts.get((quoted, part), [])


def write_packed(path: Path, bundles: Iterable[tuple[str, Stored]]) -> None:
    """Make a file of bundles, which are copied byte by byte. It is not synced.

    Args:
        path: of the new file.
        bundles: (path in the new file, bundle) of each but the store's own, whose path is "".
    """
    fd = create_readable(path)
    try:
        with building(fd, many=True) as builder:
            builder.end_bundle("", STORE)
            builder.set_attribute("", "cuebank", render_json(STORE).decode("ascii"))
            for name, stored in bundles:
                _copy(builder, name, stored)
            builder.finish()
    finally:
        os.close(fd)


def _copy(builder: Builder, path: str, stored: Stored) -> None:
    rows_first = sorted(stored.arrays, key=lambda name: (name not in metadata.ROW_ARRAYS, name))
    for name in rows_first:
        dtype, shape = stored.describe(name)
        chunk_rows = stored.chunk_rows(name)
        if chunk_rows is None:
            builder.add(path, name, shape, dtype, stored.view(name))
        else:
            codec = stored.attributes.get("codec", "none")
            builder.add_compressed(path, (shape[0], shape[1]), dtype, chunk_rows, codec, _frames(stored, name))
    if crc32c(builder.end_bundle(path, stored.attributes)) != stored.crc:
        raise corrupt(stored.where, "Its document is not written as cuebank writes documents, and cannot be copied.")
    if stored.attributes.get("kind") == "feature-set":
        builder.set_attribute(path, "cuebank", render_json(stored.attributes).decode("ascii"))


def _frames(stored: Stored, name: str) -> Iterator[np.ndarray]:
    mapped = stored.file.map()
    for offset, size in stored.chunks(name).tolist():
        yield mapped[offset : offset + size]


def write_single(path: Path, attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    """Make a file of one bundle; return the crc32c of its document. It is not synced."""
    fd = create_readable(path)
    try:
        with building(fd) as builder:
            for name, array in arrays.items():
                builder.add("", name, array.shape, array.dtype, array)
            data = builder.end_bundle("", attributes)
            builder.finish()
    finally:
        os.close(fd)
    return crc32c(data)


def bundle_path(quoted: str, part: str, name: str) -> str:
    """Return the path of a segment or an index in a packed file."""
    return inside(inside(quoted, part), name)
