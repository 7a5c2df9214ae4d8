"""The feature store: series of features by feature set, clip, entity and time; durable once committed.

Any number of processes may read and write one store at once. What is written becomes visible with `commit`, whole
segments at a time; see FORMAT.md for what lies on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .compact import leave_tidy
from .containers import container_at
from .errors import BadInput, Conflict, NotFound, nearest
from .feature_set import CommittedSet, MapBudget, SeriesList
from .keys import Key, encode_key
from .lease import Lease
from .opening import prepare_to_write, take_lease
from .recipe import FeatureSpec
from .seen import SEEN_SERIES, Seen, see
from .series import Coverage, Failure, Series, check_series, copy_values
from .text_rows import check_text_series
from .writer import StoreWriter

if TYPE_CHECKING:
    from .clips_table import ClipsTable


class FeatureStore:
    """A store of features. Make one with `FeatureStore.open`.

    Reading sees what was committed when the store was opened, last refreshed, or last committed by this object.
    Closing does not commit: what is pending is dropped, like after a crash.

    Example:
        >>> import tempfile
        >>> from cuebank.store import FeatureSpec, FeatureStore, Recipe
        >>> spec = FeatureSpec("demo.x", "numeric", 2, "float16", Recipe("demo", {"source": "none"}))
        >>> with tempfile.TemporaryDirectory() as folder, FeatureStore.open(f"{folder}/f.zarr", "a") as store:
        ...     store.create(spec)
        ...     store.write("demo.x", "clip 1", None, [[1, 2], [3, 4]], [0.5, 1.5], [True, True])
        ...     store.commit()
        ...     store.read("demo.x", "clip 1", start_s=1).values
        array([[3., 4.]], dtype=float16)
    """

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        self._writer = StoreWriter(path, writable=mode == "a")
        self._container = container_at(path, self._writer.area)
        self._sets: dict[str, CommittedSet] = {}
        self._budget = MapBudget()
        self._lease: Lease | None = None
        self._closed = False
        self.compacted = False  # by this object
        self._seen: dict[tuple[str, str, str | None], Seen] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str], mode: str = "r") -> FeatureStore:
        """Open a store.

        Args:
            path: its folder.
            mode: `r` to read; `a` to read and write, which makes the store if there is none and removes what dead
                writers left in the writing area.

        Raises:
            NotFound: if there is no store to read, or no folder in which to make one.
            BadInput: for another mode, or a path that holds something else.
            Corrupt: if the store's metadata are damaged.
        """
        if mode not in ("r", "a"):
            raise BadInput("A store was opened.", f"The mode is {mode!r}.", "Use `r` to read or `a` to write.")
        real = Path(os.path.realpath(path))
        store = cls(real, mode)
        if mode == "a":
            prepare_to_write(real, store._container)
        elif not store._container.exists():
            raise NotFound(f"The store {path} was opened.", "It does not exist.", "Run `cuebank extract` to make it.")
        store._lease = take_lease(store._container, mode == "a")
        return store

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is pending and leave the writing area. Arrays that were read stay valid.

        What others have replaced may be taken away from now on: reading through a closed store may fail.
        """
        if self._writer.at_work and not self._closed:
            self._closed = True
            try:
                leave_tidy(self)
            finally:
                self._let_go()
            return
        self._let_go()

    def _let_go(self) -> None:
        self._closed = True
        self._writer.close()
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    # Feature sets

    def feature_sets(self) -> list[str]:
        """Return the names of all feature sets, sorted."""
        return self._container.feature_sets()

    def spec(self, feature_set: str) -> FeatureSpec:
        """Return the description of a feature set.

        Raises:
            NotFound: with the nearest names.
            Corrupt: if it is damaged.
        """
        return self._committed(feature_set).spec

    def create(self, spec: FeatureSpec) -> None:
        """Make a feature set; nothing happens if it exists with the same fingerprint.

        Raises:
            Conflict: if it exists with another fingerprint, with a line for each field that differs.
            BadInput: if the store is open for reading, or was closed.
            Corrupt: if it exists, and its description is damaged.
        """
        self._writer.area()  # says so if the store is read-only, even if there is nothing to do
        if self._container.add_feature_set(spec):
            return
        there = self.spec(spec.name)
        if there.fingerprint != spec.fingerprint:
            lines = "\n".join(f"  {line}" for line in there.difference(spec))
            raise Conflict(
                f"Feature set `{spec.name}` was to be written to {self.path}.",
                f"It exists with another recipe (stored -> asked for):\n{lines}\n",
                "Choose another store or weights tag, or make the recipes equal.",
            )

    def _committed(self, feature_set: str) -> CommittedSet:
        found = self._sets.get(feature_set)
        if found is None:
            if not self._container.has(feature_set):
                raise NotFound(
                    f"No feature set `{feature_set}` in {self.path}.",
                    nearest(feature_set, self.feature_sets()),
                    "Run `cuebank store info` to see what there is.",
                )
            found = CommittedSet(self._container, self._container.spec(feature_set), self._budget)
            found = self._sets.setdefault(feature_set, found)
        return found

    def forget(self, feature_set: str) -> None:
        """Let go of all that is known of a feature set, and of what is pending for it: it is being removed."""
        self._writer.forget(feature_set)
        committed = self._sets.pop(feature_set, None)
        if committed is not None:
            committed.let_go()
        self._seen = {}

    def refresh(self) -> None:
        """See what others have committed since; done lazily, at the next look at each feature set."""
        if self._lease is None and not self._closed:
            self._lease = take_lease(self._container, self._writer.writable)  # what was one file may be a folder by now
        for committed in list(self._sets.values()):
            committed.refresh()
        self._seen = {}  # last: what another thread has looked up in between may be from before

    # Reading

    def series(self, feature_set: str) -> SeriesList:
        """Return all committed series, the newest of each key, in order of commit.

        Returns:
            A sequence of items with `.clip_id`, `.entity_id` and `.rows`, made one by one as they are asked for.

        Raises:
            NotFound: if there is no such feature set.
            Corrupt: if its description is damaged. A damaged segment is left out; `store verify` names it.
        """
        return self._committed(feature_set).series()

    def read(
        self,
        feature_set: str,
        clip_id: str,
        entity_id: str | None = None,
        start_s: float | None = None,
        stop_s: float | None = None,
        out: np.ndarray | None = None,
    ) -> Series:
        """Return the rows of a series with `start_s <= time < stop_s`.

        Args:
            feature_set: name.
            clip_id: clip.
            entity_id: entity, None for the whole clip.
            start_s: seconds from the clip's start; None: from the first row.
            stop_s: likewise; None: to the last row.
            out: (>= T, D) buffer of the stored or a wider type, into which the values are copied.

        Returns:
            `.values` (T, D), `.times` (T,), `.valid` (T,): read-only views of the mapped files; with `out`, `.values`
            is `out[:T]`. Of a text set, `.values` are (T,) objects of type str.

        Raises:
            NotFound: if there is no such series.
            BadInput: if the range is reversed, or `out` is too small or of another type, or given for texts.
            Corrupt: if the stored rows do not agree with their checksum.
        """
        seen = self._seen.get((feature_set, clip_id, entity_id)) or self._look(feature_set, clip_id, entity_id)
        series = seen.rows(start_s, stop_s)
        if out is not None:
            series = Series(copy_values(series.values, out), series.times, series.valid)
        return series

    def _look(self, feature_set: str, clip_id: str, entity_id: str | None) -> Seen:
        """Find and prove a series, and remember it for the next time."""
        known, dropped = self._seen, self._budget.dropped
        committed = self._committed(feature_set)
        seen = see(*committed.locate(clip_id, entity_id), committed.rate_hz)
        if len(known) >= SEEN_SERIES or self._budget.dropped != dropped:
            known.clear()  # its views keep files open that the budget has let go of
        known[feature_set, clip_id, entity_id] = seen
        return seen

    def missing(self, feature_set: str, keys: Iterable[tuple[str, str | None]]) -> list[Key]:
        """Return those keys of which there is no committed series, in their order; failures count as missing.

        Raises:
            NotFound, Corrupt: as `series`.
        """
        wanted = list(keys)  # it may be looked at twice
        return self._committed(feature_set).ask(lambda index: index.missing(wanted))

    def failures(self, feature_set: str) -> list[Failure]:
        """Return the keys that have no series, only a recorded failure, each with its newest reason.

        Raises:
            NotFound, Corrupt: as `series`; Corrupt also if a reason cannot be read.
        """
        return self._committed(feature_set).failures()

    def coverage(self) -> dict[str, Coverage]:
        """Return for each feature set how many series, clips and rows are committed, and how many keys failed.

        Raises:
            Corrupt: if the description of a feature set is damaged.
        """
        return {name: self._coverage(name) for name in self.feature_sets()}

    def _coverage(self, feature_set: str) -> Coverage:
        return self._committed(feature_set).ask(
            lambda index: Coverage(index.series_count, index.clip_count, index.row_count(), index.failed_count)
        )

    def info(self) -> dict[str, Any]:
        """Return what `cuebank store info --json` prints: format, feature sets with their sizes, clips version."""
        from .info import store_info

        return store_info(self)

    # Writing

    def write(self, feature_set: str, clip_id: str, entity_id: str | None, values: Any, times: Any, valid: Any) -> None:
        """Add a series; it becomes visible and durable with `commit`. A key that exists is replaced then.

        Args:
            feature_set: name; made with `create` before.
            clip_id: clip.
            entity_id: entity, None for the whole clip.
            values: (T, D) numbers, converted to the stored type; T may be 0. Of a text set, T texts.
            times: (T,) seconds from the clip's start, finite, never decreasing.
            valid: (T,) booleans; where False, the values are not stored.

        Raises:
            NotFound: if there is no such feature set.
            BadInput: if the arrays do not fit, the stored type or UTF-8 cannot hold a valid value, or the store is open
                for reading.
            Corrupt: if the description of the feature set is damaged.
            OSError: if the disk failed; the series is not pending then.
        """
        key, spec = encode_key(clip_id, entity_id), self.spec(feature_set)
        where = f"Series {(clip_id, entity_id)!r} of feature set `{feature_set}`"
        if spec.is_text:
            series, text = check_text_series(where, values, times, valid)
        else:
            series, text = check_series(where, spec.dim, np.dtype(spec.dtype), values, times, valid), b""
        self._writer.add(self._container, spec, key, series, text)

    def record_failure(self, feature_set: str, clip_id: str, entity_id: str | None, reason: str) -> None:
        """Note that a series could not be made, and why. It never hides a series of the same key.

        Raises:
            NotFound, BadInput, Corrupt, OSError: as `write`.
        """
        key = encode_key(clip_id, entity_id)
        self._writer.add_failure(self._container, self.spec(feature_set), key, reason)

    @property
    def pending_series(self) -> int:
        """Number of series and failures that wait for `commit`."""
        return self._writer.series

    @property
    def pending_bytes(self) -> int:
        """Bytes of rows that wait for `commit`; all but some texts are on the disk already, in the writing area."""
        return self._writer.bytes

    def commit(self) -> None:
        """Make everything pending durable and visible; return when it is. Nothing pending: nothing happens.

        What was written becomes visible segment by segment, each in one step. A feature set has one, unless a key was
        written twice, or there are more than 64 MiB of texts.

        Raises:
            OSError: if the disk failed. Nothing more can be committed by this object then: what is committed stays,
                the rest must be written again through a new one.
        """
        try:
            self._writer.commit()
        finally:
            self.refresh()
        self._container.settled()

    # The clips table

    def write_clips(self, table: ClipsTable) -> str:
        """Keep a clips table as an immutable version and return its id; the newest version's equal is not rewritten."""
        self._writer.area()
        return self._container.write_clips(table)

    def clips_versions(self) -> list[str]:
        """Return the versions of the clips table, from the oldest to the newest."""
        return self._container.clips_versions()

    def clips(self, version: str | None = None) -> ClipsTable:
        """Return a version of the clips table, the newest if none is named.

        Raises:
            NotFound: if there is none.
            Corrupt: if it is damaged.
        """
        known = self._container.clips_versions()
        if not known:
            raise NotFound(
                f"The clips table of {self.path} was asked for.", "It has none.", "Run `cuebank extract` with one."
            )
        if version is not None and version not in known:
            raise NotFound(
                f"Version `{version}` of the clips table was asked for.",
                nearest(version, known),
                "Ask for one that is there.",
            )
        return self._container.read_clips(version or known[-1])
