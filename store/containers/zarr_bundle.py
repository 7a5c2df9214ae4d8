"""Bundles as folders: a Zarr group with consolidated metadata, whose name ends with the checksum of its zarr.json.

Opening one must be cheap, since a feature set may have thousands: of its zarr.json only our own attributes are looked
at. What it says of the arrays is looked at when rows are mapped, and proven as a whole by `check`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import (
    DECODER,
    base_name,
    corrupt,
    crc32c,
    map_bytes,
    parse_json,
    read_bytes,
    real_folders,
    render_json,
    write_file,
)
from . import zarr_metadata as metadata
from .names import by_rank, checksum_in
from .zarr_check import differences, strange_names

MAX_SERIES = 2**26  # of one bundle; bounds what a hostile index can make us read
MAX_TEXT_BYTES = 2**31  # of all ids of one bundle, likewise
MAP_BYTES = 2**20  # larger index arrays are mapped, not read
_BEGIN = b'{"attributes":{"cuebank":'  # of a zarr.json as we write it


def bundle_names(folder: Path) -> list[str]:
    """Return the names of the bundles in a folder, in order of rank.

    What was there before the call is in the list: reading a folder while others rename into it may miss some, so it is
    read until nothing has changed.
    """
    found = real_folders(folder)
    while (again := real_folders(folder)) != found:
        found = again
    return by_rank(found)


def count(value: Any, limit: int) -> int:
    """Return a stored number as a count from 0 to `limit`.

    Raises:
        ValueError: if it is none.
    """
    if type(value) is not int or not 0 <= value <= limit:
        raise ValueError(f"{str(value)[:40]} is not a count")
    return value


class IndexFolder:
    """Reads a finished bundle; trusts nothing in it that is not proven by a checksum or a file size.

    Args:
        folder: the bundle's folder.
        kind: what it must say it is.
        where: the bundle in words, for errors.

    Raises:
        Corrupt: if its metadata are damaged, or are those of something else.
    """

    arrays: Sequence[str] = tuple(metadata.MERGED_ARRAYS)
    formats: Sequence[int] = metadata.READABLE

    def __init__(self, folder: str, kind: str, where: str) -> None:
        self.folder = folder
        self.name = base_name(folder)
        self.where = where
        self._found: dict[str, np.ndarray] = {}
        data = self._read()
        try:
            own = _own_attributes(data, where)
            if own["format"] not in self.formats or own["kind"] != kind:
                raise ValueError(f"it is a {str(own['kind'])[:40]} of format {str(own['format'])[:20]}")
            self.series = count(own["series"], MAX_SERIES)
            self.checksums: Mapping[str, int] = _object(own["checksums"])
            self.attributes: Mapping[str, Any] = own
            self._look(own)
        except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
            raise corrupt(where, f"Its zarr.json is not that of a {kind}: {error!r}.") from error

    def _look(self, own: Mapping[str, Any]) -> None:
        """Look at what only this kind of bundle has; KeyError, TypeError or ValueError if it is not there."""

    def _read(self) -> bytes:
        data = read_bytes(self.folder + "/zarr.json", self.where)
        if f"{crc32c(data):08x}" != checksum_in(self.name):
            raise corrupt(self.where, "Its zarr.json does not agree with the checksum in its name.")
        return data

    def array(self, name: str) -> np.ndarray:
        """Return an index array (n,), read-only, proven by its checksum.

        Raises:
            Corrupt: if it is absent or damaged.
        """
        found = self._found.get(name)
        if found is None:
            found = self.unproven(name)
            if crc32c(found) != self.checksums.get(name):
                raise corrupt(self.where, f"Its array `{name}` does not agree with its checksum.")
            self._found[name] = found
        return found

    def unproven(self, name: str) -> np.ndarray:
        """Return an index array (n,), read-only, as it lies there.

        Raises:
            Corrupt: if it is absent, or of another size than it can have.
        """
        dtype, size = metadata.index_dtype(name), metadata.index_size(name, self.series)
        return np.frombuffer(self._bytes(name, None if size is None else size * dtype.itemsize), dtype)

    def _bytes(self, name: str, size: int | None) -> bytes | np.ndarray:
        folder = f"{self.folder}/{name}"
        if os.path.islink(folder):  # noqa: PTH114 (hot for many segments)
            raise corrupt(f"{self.where}, array `{name}`,", "It is a link.")
        if size == 0 or (size is None and self.checksums.get(name) == 0 and not self.has_chunk(name)):
            return b""  # Zarr has no chunk where there is nothing
        where = f"{self.where}, array `{name}`"
        if size is not None and size <= MAP_BYTES:
            return read_bytes(folder + "/0", where, size)
        mapped = map_bytes(folder + "/0", where, size)
        if size is None and len(mapped) > MAX_TEXT_BYTES:
            raise corrupt(where, f"It has {len(mapped)} bytes; at most {MAX_TEXT_BYTES} make sense.")
        return bytes(mapped) if len(mapped) <= MAP_BYTES and name != metadata.TEXT else mapped

    def has_chunk(self, name: str) -> bool:
        """Return whether an index array has a file of elements."""
        return os.path.lexists(f"{self.folder}/{name}/0")

    def members(self) -> dict[str, dict[str, Any]]:
        """Return the only metadata that each array of this bundle can have."""
        found = {}
        for name in self.arrays:
            size = metadata.index_size(name, self.series)
            if size is None:
                size = len(self.unproven(name) if name == metadata.TEXT else self.array(name))
            found[name] = metadata.index_array(name, size)
        return found

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the metadata of the arrays, or foreign files among them."""
        members = self.members()
        expected = render_json(metadata.group(dict(self.attributes), members))
        if self._read() != expected:
            yield f"The zarr.json of {self.where[:1].lower()}{self.where[1:]} is not as it was written."
        folder = Path(self.folder)
        yield from strange_names(folder, {"zarr.json", *members})
        for name, document in members.items():
            where = f"array `{name}` of `{self.name}`"
            if (folder / name).is_symlink():
                yield f"The {where} is a link."
                continue
            yield from differences(folder / name / "zarr.json", render_json(document), where)
            chunk = {metadata.chunk_name(document)} if document["shape"][0] else set()
            yield from strange_names(folder / name, {"zarr.json"} | chunk)


def _own_attributes(data: bytes, where: str) -> dict[str, Any]:
    if data.startswith(_BEGIN):
        return _object(DECODER.raw_decode(data.decode("utf-8"), len(_BEGIN))[0])
    return _object(parse_json(data, where)["attributes"]["cuebank"])


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]} is no object")
    return value


def write_bundle(
    folder: Path,
    own: Mapping[str, Any],
    index: Mapping[str, np.ndarray],
    row_members: Mapping[str, dict[str, Any]],
) -> bytes:
    """Write the index arrays and all metadata of a bundle into its folder; return its zarr.json.

    Args:
        folder: in the writing area; not synced when this returns.
        own: its attributes, but for the checksums of the index arrays, and the format unless it is another than usual.
        index: the index arrays.
        row_members: metadata of row arrays, whose folders are there already.
    """
    members = dict(row_members)
    for name, array in index.items():
        members[name] = metadata.index_array(name, len(array))
        (folder / name).mkdir(exist_ok=True)
        if len(array):
            write_file(folder / name / "0", array)
    for name, document in members.items():
        write_file(folder / name / "zarr.json", render_json(document))
    checksums = {name: crc32c(array) for name, array in index.items()}
    data = render_json(metadata.group({"format": metadata.FORMAT, **own, "checksums": checksums}, members))
    write_file(folder / "zarr.json", data)
    return data
