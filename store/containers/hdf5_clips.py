"""Versions of the clips table as bundles of HDF5 files; they have the names that they have in Zarr."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..clips_table import ClipsTable
from ..errors import CuebankError
from ..files import corrupt, render_json
from .hdf5_file import Hdf5File, Stored
from .zarr_clips import MAX_CLIPS, MAX_COLUMN_BYTES, content_digest, files_of, table_of, version_arrays


def read(file: Hdf5File, path: str, version: str, where: str) -> ClipsTable:
    """Return the clips table in a file.

    Raises:
        Corrupt: naming `where`, if it is damaged.
    """
    stored = Stored(file, path, where)
    return _table(stored, version, where)


def _table(stored: Stored, version: str, where: str) -> ClipsTable:
    arrays = _arrays(stored)
    try:
        digest = content_digest(files_of(stored.attributes, arrays))
    except (KeyError, TypeError, ValueError) as error:
        raise corrupt(where, f"It is not a clips table: {error!r}.") from error
    if digest != version.split("-")[1]:
        raise corrupt(where, "Its content does not agree with the checksum in its name.")

    def content(name: str) -> bytes:
        return arrays[name].tobytes()

    return table_of(stored.attributes, content, where)


def _arrays(stored: Stored) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    size = 0
    for name in stored.arrays:
        dtype, shape = stored.describe(name)
        array_size = stored.region(name)[1]
        size += array_size
        if len(shape) != 1 or stored.chunk_rows(name) is not None or array_size > MAX_COLUMN_BYTES:
            raise corrupt(stored.where, f"Its array `{name[:40]}` cannot be a column: {dtype} {shape}.")
        if size > 4 * MAX_COLUMN_BYTES or len(arrays) > MAX_CLIPS:
            raise corrupt(stored.where, f"Its columns have more than {4 * MAX_COLUMN_BYTES} bytes.")
        arrays[name] = stored.view(name)
    return arrays


def check(file: Hdf5File, path: str, version: str, where: str) -> Iterator[str]:
    """Yield what is wrong with a version; of its file too, if it has one of its own."""
    try:
        if not path:
            yield from file.check()
        stored = Stored(file, path, where)
        own, arrays = version_arrays(_table(stored, version, where))
        expected = {name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in arrays.items()}
        if render_json(stored.attributes) != render_json(own) or stored.arrays != expected:
            yield f"The document of {where[:1].lower()}{where[1:]} is not the one that cuebank writes for its content."
    except CuebankError as error:
        yield f"{error.asked} {error.found}"
