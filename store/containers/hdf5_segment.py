"""Reading bundles of HDF5 files as what they are: merged indexes and segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CuebankError
from ..files import corrupt, crc32c
from ..recipe import FeatureSpec
from . import zarr_metadata as metadata
from .base import EncodedRows
from .hdf5_file import Hdf5File, Stored, chunks_checksum
from .hdf5_layout import FORMAT
from .names import checksum_in
from .segment_attributes import SegmentAttributes
from .zarr_bundle import MAX_SERIES, MAX_TEXT_BYTES, count
from .zarr_segment import CHUNK_BYTES


class IndexBundle:
    """Reads a finished bundle of index arrays.

    Args:
        file: the file that it lies in.
        path: of the bundle in the file.
        name: of the bundle.
        kind: what it must say it is.
        where: the bundle in words, for errors.

    Raises:
        Corrupt: if its document is damaged, or is that of something else.
    """

    arrays: Sequence[str] = tuple(metadata.MERGED_ARRAYS)
    formats: Sequence[int] = (FORMAT,)

    def __init__(self, file: Hdf5File, path: str, name: str, kind: str, where: str) -> None:
        self.name, self.where = name, where
        self._found: dict[str, np.ndarray] = {}
        self.stored = Stored(file, path, where)
        if f"{self.stored.crc:08x}" != checksum_in(name):
            raise corrupt(where, "Its document does not agree with the checksum in its name.")
        try:
            own = self.stored.attributes
            if own["format"] not in self.formats or own["kind"] != kind:
                raise ValueError(f"it is a {str(own['kind'])[:40]} of format {str(own['format'])[:20]}")
            self.series = count(own["series"], MAX_SERIES)
            self.checksums: Mapping[str, int] = own["checksums"]
            if not isinstance(self.checksums, dict):
                raise TypeError("it has no checksums")
            self.attributes: Mapping[str, Any] = own
            self._look(own)
        except (KeyError, TypeError, ValueError) as error:
            raise corrupt(where, f"Its document is not that of a {kind}: {error!r}.") from error

    def _look(self, own: Mapping[str, Any]) -> None:
        """Look at what only this kind of bundle has; KeyError, TypeError or ValueError if it is not there."""

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
            Corrupt: if it is absent, or of another type or size than it can have.
        """
        dtype, size = metadata.index_dtype(name), metadata.index_size(name, self.series)
        said, shape = self.stored.describe(name)
        if said != dtype or len(shape) != 1 or (shape[0] > MAX_TEXT_BYTES if size is None else shape[0] != size):
            raise corrupt(self.where, f"Its array `{name}` is {said} {shape}.")
        return self.stored.view(name)

    def check(self) -> Iterator[str]:
        """Yield what is wrong with all bytes that neither `array` nor the checksums of the series prove."""
        if self.stored.path == "":  # the file is this bundle's own; the container checks those of many
            if set(self.stored.file.bundles) != {""}:
                yield f"There are other bundles in the file of {self.where[:1].lower()}{self.where[1:]}."
            yield from self.stored.file.check()
        if set(self.stored.arrays) != set(self._members()):
            yield f"{self.where} has other arrays than it should have."
            return
        for name in self._members():
            try:
                self._check_array(name)
            except CuebankError as error:
                yield f"{error.asked} {error.found}"

    def _members(self) -> Sequence[str]:
        return self.arrays

    def _check_array(self, name: str) -> None:
        self.array(name)


class SegmentBundle(SegmentAttributes, IndexBundle):
    """Reads a finished segment.

    Args:
        file: the file that it lies in.
        path: of the segment in the file.
        name: of the segment.
        spec: of its feature set.
        fingerprint: of that.
        where: the segment in words, for errors.

    Raises:
        Corrupt: if its document is damaged, or is not that of a segment of this feature set.
    """

    def __init__(self, file: Hdf5File, path: str, name: str, spec: FeatureSpec, fingerprint: str, where: str) -> None:
        self.dim, self.dtype, self.is_text = spec.dim, np.dtype(spec.dtype), spec.is_text
        self.arrays = metadata.segment_arrays(self.is_text)
        self.formats = (metadata.TEXT_FORMAT,) if self.is_text else (FORMAT,)
        super().__init__(file, path, name, "segment", where)
        if self.fingerprint != fingerprint:
            raise corrupt(where, "It was made by another recipe than its feature set.")

    def map_rows(self, name: str) -> np.ndarray | EncodedRows:
        """Return `values` (rows, D), `times` (rows,) or `valid` (rows,) as a read-only view of the mapped file.

        Raises:
            Corrupt: if it is not there, or of another type or shape.
        """
        dtype = metadata.row_dtype(name, self.dtype)
        shape = (self.rows, self.dim) if name == "values" else (self.rows,)
        said = self.stored.describe(name)
        if said != (dtype, shape):
            raise corrupt(self.where, f"Its array `{name}` is {said[0]} {said[1]}, not {dtype} {shape}.")
        if not self.rows:
            return np.empty(shape, dtype)
        compressed, chunk_rows = name == "values" and self.codec != "none", self.stored.chunk_rows(name)
        if compressed != (chunk_rows is not None):
            raise corrupt(self.where, f"Its array `{name}` is not stored as its codec `{self.codec}` says.")
        if not compressed or chunk_rows is None:
            return self.stored.view(name)
        row_bytes = self.dim * dtype.itemsize
        least, most = min(self.rows, CHUNK_BYTES[0] // row_bytes), max(1, CHUNK_BYTES[1] // row_bytes)
        table = self.stored.chunks(name)
        if not max(1, least) <= chunk_rows <= most:
            raise corrupt(self.where, f"Its values have chunks of {chunk_rows} rows.")
        return EncodedRows(self.stored.file.map(), table, chunk_rows, self.codec)

    def _members(self) -> Sequence[str]:
        return (*metadata.ROW_ARRAYS, *self.arrays)

    def _check_array(self, name: str) -> None:
        if name not in metadata.ROW_ARRAYS:
            self.array(name)
            return
        checksum = self.attributes.get("chunks_crc32c")
        if isinstance(self.map_rows(name), EncodedRows) and chunks_checksum(self.stored, name) != checksum:
            raise corrupt(self.where, "The chunks of its values do not agree with their checksum.")
