"""What a container must do for the store: keep immutable *bundles* of arrays, each complete or not there at all.

A bundle is a segment, a merged index or a version of the clips table. The store decides what is written, which series
wins and what may be removed; a container decides how the bytes lie. All methods that read raise Corrupt, naming what
they read, when the bytes are not what a store can hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from ..clips_table import ClipsTable
    from ..recipe import FeatureSpec


class EncodedRows(NamedTuple):
    """Compressed rows: chunk i holds `chunk_rows` rows (the last one perhaps padded with zeros).

    `data` (bytes,) uint8 maps the file; `entries` (chunks, 2) uint64 are offset and length of each chunk in it, checked
    to lie inside.
    """

    data: np.ndarray
    entries: np.ndarray
    chunk_rows: int
    codec: str


class IndexFile(Protocol):
    """A committed bundle of index arrays: a merged index, or what a segment has beside its rows."""

    where: str  # the bundle in words, for errors
    name: str
    attributes: Mapping[str, Any]  # its own (`attributes.cuebank` in Zarr), proven by the checksum in its name

    def array(self, name: str) -> np.ndarray:
        """Return an index array (n,), read-only, proven by its checksum; memory-mapped if it is large."""

    def unproven(self, name: str) -> np.ndarray:
        """Return an index array (n,), read-only, as it lies there; it is mapped anew with each call."""

    def check(self) -> Iterator[str]:
        """Yield what is wrong with all bytes that neither `array` nor the checksums of the series prove."""


class SegmentFile(IndexFile, Protocol):
    """A committed segment."""

    series: int
    rows: int
    dim: int
    dtype: np.dtype[Any]  # of `values`
    is_text: bool  # whether it has the index arrays `text` and `text_offsets`
    fingerprint: str
    replaces: Sequence[str]  # names of the segments in place of which it stands

    def map_rows(self, name: str) -> np.ndarray | EncodedRows:
        """Return `values` (rows, D), `times` (rows,) or `valid` (rows,) as a read-only view of the mapped file.

        Only `values` may be compressed.
        """


class SegmentWriter(Protocol):
    """A segment that is being written, out of sight."""

    def put(self, row: int, values: np.ndarray, times: np.ndarray, valid: np.ndarray) -> None:
        """Write rows from number `row` on, over whatever an interrupted call may have left there.

        Args:
            row: number of the first of these rows in the segment.
            values: (T, D) of the stored type; like the others C-contiguous and little-endian.
            times: (T,) float64.
            valid: (T,) bool.
        """

    def finish(self, rows: int, index: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """Cut the segment to `rows`, add the index arrays, return when all is on the disk. May be called again."""

    def publish(self, neighbours: Sequence[str] = (), between: Collection[str] = ()) -> str:
        """Make the finished segment visible, durably; return its name. May be called again.

        Args:
            neighbours: segments that it stands in place of, in order of rank.
            between: others that may lie between these, since they do not count.

        Raises:
            Conflict: if a segment has come between these; nothing has changed then.

        Its generation is one more than any that is visible, unless it replaces others: then it takes generation and
        random part of the first of `attributes["replaces"]`, so that it ranks where that one ranked.
        """

    def discard(self) -> None:
        """Close what is open; the files are removed with the writing area."""


class Container(Protocol):
    """One store in one container."""

    path: Path
    format: int

    def exists(self) -> bool:
        """Return whether there is a store at the path; NotFound or BadInput if something else is there."""

    def create(self) -> None:
        """Make an empty store at the path, unless another process has just done so."""

    def prepare_to_write(self) -> None:
        """Called once before the first write of a process, when the store exists."""

    def lock_folder(self) -> Path | None:
        """Return the folder on which readers hold a shared lock; None if nothing a reader has open can be removed."""

    def feature_sets(self) -> list[str]:
        """Return the names of all feature sets, sorted."""

    def has(self, name: str) -> bool:
        """Return whether a feature set exists."""

    def add_feature_set(self, spec: FeatureSpec) -> bool:
        """Make a feature set; return False if one of this name is there already. It is durable either way."""

    def spec(self, name: str) -> FeatureSpec:
        """Return the description of a feature set."""

    def segments(self, name: str) -> list[str]:
        """Return the names of all segments of a feature set that lie there, in order of rank, replaced ones too.

        The listing is stable: what was visible before the call is in it.
        """

    def has_segment(self, name: str, segment: str) -> bool:
        """Return whether a segment is there (another process may have removed it)."""

    def open_segment(self, spec: FeatureSpec, segment: str) -> SegmentFile:
        """Open a committed segment."""

    def new_segment(self, spec: FeatureSpec) -> SegmentWriter:
        """Begin a segment in the writing area."""

    def indexes(self, name: str) -> list[str]:
        """Return the names of the merged indexes of a feature set, from the oldest to the newest."""

    def open_index(self, spec: FeatureSpec, index: str) -> IndexFile:
        """Open a merged index."""

    def write_index(self, spec: FeatureSpec, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> str:
        """Write a merged index, durably, as the newest one; return its name."""

    def remove(self, name: str, segments: Sequence[str], indexes: Sequence[str]) -> int:
        """Take segments and merged indexes of a feature set out of sight, then give their bytes back; return those.

        The caller holds the exclusive lock, and has made sure that nothing needs them.
        """

    def remove_feature_set(self, name: str) -> int:
        """Take a feature set out of sight in one step, then give its bytes back; return those. Locked as `remove`."""

    def settled(self) -> None:
        """Called after commits, compaction and removal: brings what is derived up to date."""

    def fold(self) -> bool:
        """Under the exclusive lock: bring the store into its most self-contained form; return whether that changed."""

    def size(self, name: str) -> int:
        """Return the bytes that a feature set takes on the disk."""

    def clips_versions(self) -> list[str]:
        """Return all versions of the clips table, from the oldest to the newest."""

    def write_clips(self, table: ClipsTable) -> str:
        """Keep a table as the newest version, unless it is that already; return the version."""

    def read_clips(self, version: str) -> ClipsTable:
        """Return a version of the clips table."""

    def check(self) -> Iterator[tuple[str | None, str]]:
        """Yield (feature set or None, what is wrong) of all but segments and indexes; raises nothing but OSError."""
