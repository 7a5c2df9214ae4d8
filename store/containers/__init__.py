"""The containers a store can live in, behind the interface in `base`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..writing_area import WritingArea
    from .base import Container


def container_at(path: Path, area: Callable[[], WritingArea]) -> Container:
    """Return the container for a store at a resolved path: HDF5 for `.h5` and `.hdf5`, else a Zarr folder.

    Args:
        path: of the store.
        area: gives the writing area when something is to be written.
    """
    if path.suffix.lower() in (".h5", ".hdf5"):
        from .hdf5 import Hdf5Container

        return Hdf5Container(path, area)
    from .zarr import ZarrContainer

    return ZarrContainer(path, area)
