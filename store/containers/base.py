"""What a container must do for the store: keep groups, segments and clips tables, each complete or not there at all.

The store decides what is written and which series wins; a container decides how the bytes lie. All methods that read
raise Corrupt, naming what they read, when the bytes are not what a store can hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from ..clips_table import ClipsTable
    from ..recipe import FeatureSpec


class SegmentFile(Protocol):
    """A committed segment."""

    where: str  # the segment in words, for errors
    name: str
    series: int
    rows: int

    def index(self, name: str) -> bytes:
        """Return the bytes of an index array, proven by its checksum."""

    def map_rows(self, name: str) -> np.ndarray:
        """Return `values` (rows, D), `times` (rows,) or `valid` (rows,) as a read-only view of the mapped file."""

    def check(self) -> Iterator[str]:
        """Yield what is wrong with all bytes that neither `index` nor the checksums of the series prove."""


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

    def publish(self) -> str:
        """Make the finished segment visible as the newest one, durably; return its name. May be called again."""

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

    def feature_sets(self) -> list[str]:
        """Return the names of all feature sets, sorted."""

    def has(self, name: str) -> bool:
        """Return whether a feature set exists."""

    def add_feature_set(self, spec: FeatureSpec) -> bool:
        """Make a feature set; return False if one of this name is there already. It is durable either way."""

    def spec(self, name: str) -> FeatureSpec:
        """Return the description of a feature set."""

    def segments(self, name: str) -> list[str]:
        """Return the names of the committed segments of a feature set, from the oldest to the newest."""

    def has_segment(self, name: str, segment: str) -> bool:
        """Return whether a segment is there (another process may have removed it)."""

    def open_segment(self, spec: FeatureSpec, segment: str) -> SegmentFile:
        """Open a committed segment."""

    def new_segment(self, spec: FeatureSpec) -> SegmentWriter:
        """Begin a segment in the writing area."""

    def size(self, name: str) -> int:
        """Return the bytes that a feature set takes on the disk."""

    def clips_versions(self) -> list[str]:
        """Return all versions of the clips table, from the oldest to the newest."""

    def write_clips(self, table: ClipsTable) -> str:
        """Keep a table as the newest version, unless it is that already; return the version."""

    def read_clips(self, version: str) -> ClipsTable:
        """Return a version of the clips table."""

    def check(self) -> Iterator[tuple[str | None, str]]:
        """Yield (feature set or None, what is wrong) of everything but the segments; raises nothing but OSError."""
