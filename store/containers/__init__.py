"""The containers a store can live in, behind the interface in `base`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput

if TYPE_CHECKING:
    from ..writing_area import WritingArea
    from .base import Container


def container_at(path: Path, area: Callable[[], WritingArea]) -> Container:
    """Return the container for a store at a resolved path, chosen by its suffix.

    Args:
        path: of the store.
        area: gives the writing area when something is to be written.

    Raises:
        BadInput: for a container that this version does not have.
    """
    if path.suffix.lower() in (".h5", ".hdf5"):
        raise BadInput(
            f"The store {path} was opened.", "This version has no HDF5 container.", "Use a name like `features.zarr`."
        )
    from .zarr import ZarrContainer

    return ZarrContainer(path, area)
