"""Merging small segments, leaving out what was written over, and giving the space of both back.

Readers and writers go on meanwhile. A new segment appears in one step and names those that it stands in place of, so
before and after that step a reader sees the same series. What was replaced lies there until nobody else has the store
open; the next `compact`, or the next writer that closes the store, then gives the space back. An HDF5 store becomes
one self-contained file when the process that has compacted it closes it, and nobody else has it open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Conflict, Corrupt, CuebankError
from .merged import agrees, merge_indexes
from .rewrite import live_masks, rewrite
from .tables import MAX_COVERED

if TYPE_CHECKING:
    from .feature_set import CommittedSet
    from .feature_store import FeatureStore
    from .segments import Segment

SMALL_BYTES = 2**26  # a segment below this is merged with its neighbours
TARGET_BYTES = 2**30  # and so large are merged ones at most, unless one alone is larger
TEXT_TARGET_BYTES = 2**27  # of text sets: texts are in memory until they are written
MAX_RUN = 2**16  # segments that become one at once: it names all of them
DEAD_SHARE = 0.1  # so much of a larger one may be dead before it is written anew


def compact(store: FeatureStore, feature_sets: Sequence[str] | None = None, wait_s: float = 10.0) -> dict[str, Any]:
    """Merge small segments of a store and write merged indexes.

    Args:
        store: open for writing.
        feature_sets: names; None: all.
        wait_s: how long to wait for another process that is compacting.

    Returns:
        `{"feature_sets": {name: {"segments_before", "segments_after", "bytes_before", "bytes_after"}},
        "waiting_bytes": bytes that can be given back once nobody else has the store open,
        "problems": [{"feature_set", "problem"}]}`; what is damaged is left as it is, and reported.

    Raises:
        NotFound: if there is no such feature set.
        BadInput: if the store is open for reading.
        Conflict: if another process goes on compacting.
    """
    told: dict[str, Any] = {}
    problems: list[dict[str, str]] = []
    with store._writer.area().alone(wait_s):
        store.compacted = True
        for name in store.feature_sets() if feature_sets is None else feature_sets:
            try:
                committed = store._committed(name)
                store.refresh()
                told[name] = {f"{key}_before": value for key, value in _measured(store, committed).items()}
            except Corrupt as error:
                problems.append(_problem(name, error))
                continue
            problems += merge_segments(store, committed)
        store._container.settled()
        waiting = give_back(store, list(told))
    store.refresh()
    for name, one in told.items():
        committed = store._committed(name)
        one.update({f"{key}_after": value for key, value in _measured(store, committed).items()})
    return {"feature_sets": told, "waiting_bytes": waiting, "problems": problems}


def _measured(store: FeatureStore, committed: CommittedSet) -> dict[str, int]:
    committed._with_ids()  # looks at the disk
    return {"segments": len(committed.visible), "bytes": store._container.size(committed.spec.name)}


def merge_segments(
    store: FeatureStore,
    known: CommittedSet,
    dropped: Collection[tuple[str, int]] = (),
    only: Collection[str] | None = None,
) -> list[dict[str, str]]:
    """Write some segments of a feature set anew, and its merged index; return what is damaged.

    What counts is taken from the segments themselves: a merged index that lies must not cost a series.

    Args:
        store: open for writing, alone.
        known: the feature set, just refreshed.
        dropped: (segment, position) of series that are not kept.
        only: segments that are written anew, each on its own; None: those that are small or hold much that is dead.
    """
    committed = known.from_segments_alone()
    try:
        return _merge(store, committed, dropped, only)
    finally:
        committed.let_go()
        known.refresh()


def _problem(feature_set: str, error: CuebankError) -> dict[str, str]:
    return {"feature_set": feature_set, "problem": f"{error.asked} {error.found}"}


def _merge(
    store: FeatureStore,
    committed: CommittedSet,
    dropped: Collection[tuple[str, int]],
    only: Collection[str] | None,
) -> list[dict[str, str]]:
    name = committed.spec.name
    index = committed._with_ids()
    if committed.unopened:  # what one of them replaces looks as if it counted; it must not be written as new
        return [_problem(name, committed.broken[one]) for one in sorted(committed.unopened)]
    unread = [one for one in committed.visible if one in committed.broken]
    if unread and only is not None:  # nothing is known of what counts in them, so they cannot be written anew
        return [_problem(name, committed.broken[one]) for one in unread]
    problems = []
    keep = live_masks(index)
    if dropped:
        gone: dict[str, list[int]] = {}
        for segment, position in dropped:
            gone.setdefault(segment, []).append(position)
        for segment, positions in gone.items():
            kept = keep.get(segment, np.empty(0, np.int64))
            keep[segment] = kept[~np.isin(kept, positions)]
    runs = list(_runs(committed, keep)) if only is None else [[one] for one in committed.visible if one in only]
    replaced = set(committed.replaced)
    for run in runs:
        segments = {one: committed.segment(one) for one in run}
        kept_of = {one: keep.get(one, np.empty(0, np.int64)) for one in run}
        try:
            rewrite(store._container, committed.spec, segments, kept_of, replaced)
        except Conflict:
            continue  # what was committed between them has its turn next time
        except Corrupt as error:
            problems.append(_problem(name, error))
            if dropped:
                break  # the oldest come first: without the newer one, what it had been written over would show again
    committed.refresh()
    _write_merged(store, committed)
    return problems


def _runs(committed: CommittedSet, keep: dict[str, np.ndarray]) -> Iterator[list[str]]:
    """Yield runs of neighbours that are worth being written anew as one."""
    run: list[str] = []
    size, target = 0, TEXT_TARGET_BYTES if committed.spec.is_text else TARGET_BYTES
    for name in committed.visible:
        segment = None if name in committed.broken else committed.segment(name)
        own = 0 if segment is None else _bytes(committed, segment.file.rows) + _text_bytes(segment)
        worth = segment is not None and (own < SMALL_BYTES or _dead(segment, keep.get(name)) >= DEAD_SHARE)
        if run and (not worth or size + own > target or len(run) >= MAX_RUN):
            yield from _worthy(committed, run, keep)
            run, size = [], 0
        if worth:
            run.append(name)
            size += own
    yield from _worthy(committed, run, keep)


def _worthy(committed: CommittedSet, run: list[str], keep: dict[str, np.ndarray]) -> Iterator[list[str]]:
    """Yield a run unless it is one segment in which everything counts."""
    if len(run) > 1 or (run and len(keep.get(run[0], ())) < len(committed.segment(run[0]))):
        yield run


def _bytes(committed: CommittedSet, rows: int) -> int:
    return rows * (committed.spec.dim * np.dtype(committed.spec.dtype).itemsize + 9)


def _text_bytes(segment: Segment) -> int:
    ids = sum(len(segment.file.array(name)) for name in ("clip_id", "entity_id", "reason"))
    return ids + int(segment.file.array("text_offsets")[-1]) if segment.is_text else ids


def _dead(segment: Segment, keep: np.ndarray | None) -> float:
    """Return which share of a segment's series and failures, or of its rows, does not count any more."""
    if keep is None:
        return 1.0
    rows = int(segment.row_size[keep].sum())
    return 1 - min(len(keep) / max(1, len(segment)), rows / segment.file.rows if segment.file.rows else 1.0)


def _write_merged(store: FeatureStore, committed: CommittedSet) -> None:
    """Write the merged index of all that is visible, unless the one in use is right or something cannot be read."""
    committed._with_ids()
    if not committed.visible or any(name in committed.broken for name in committed.visible):
        return
    if len(committed.visible) + len(committed.replaced) > MAX_COVERED:
        return  # it would name too many; opening takes longer without it
    segments = {name: committed.segment(name) for name in committed.visible}
    arrays, attributes = merge_indexes(segments, committed.replaced, committed.spec.fingerprint)
    known = store._committed(committed.spec.name)
    known.refresh()
    used = known.merged
    # What it calls replaced may be gone by now, which does no harm.
    same = {name: value for name, value in attributes.items() if name != "replaced"}
    if used is not None and used.replaced.isdisjoint(segments) and agrees(used.file, arrays, same):
        return
    store._container.write_index(committed.spec, arrays, attributes)


def give_back(store: FeatureStore, feature_sets: Sequence[str]) -> int:
    """Remove what was replaced, if nobody else has the store open; return how many bytes could not be removed.

    Args:
        store: open for writing, alone.
        feature_sets: names.
    """
    if store._lease is None:
        return 0
    with store._lease.exclusive() as alone:
        waiting = 0
        for name in feature_sets:
            known = store._committed(name)
            known.refresh()
            used = None if known.merged is None else known.merged.file.name
            committed = known.from_segments_alone()  # what is removed for good, no index decides
            committed._with_ids()
            stale = [one for one in store._container.indexes(name) if one != used and used is not None]
            if not alone:
                waiting += _replaced_bytes(store, committed)
            elif committed.replaced and not committed.is_sound():
                # What stands in place of the others cannot be read: they may be all that is left of some series.
                waiting += _replaced_bytes(store, committed)
            elif committed.replaced or stale:
                store._container.remove(name, committed.replaced, stale)
                store.refresh()
            committed.let_go()
        if alone:
            store._container.settled()
    return waiting


def _replaced_bytes(store: FeatureStore, committed: CommittedSet) -> int:
    """Return how many bytes of rows lie in segments that were replaced."""
    total = 0
    for name in committed.replaced:
        try:
            total += _bytes(committed, store._container.open_segment(committed.spec, name).rows)
        except Corrupt:
            continue  # it can be neither read nor, for now, removed
    return total


def leave_tidy(store: FeatureStore) -> None:
    """Give back what can be given back when a writer closes the store; what cannot is left to the next one.

    Args:
        store: open for writing; the last that is done with it. If it was compacted, and nobody else has it open, it is
            also brought into its most self-contained form.
    """
    if store._lease is None:
        return
    try:
        replaced = [name for name, one in store._sets.items() if one._with_ids() and one.replaced]
        if not (replaced or store.compacted):
            return
        with store._writer.area().alone(0.0):
            give_back(store, replaced)
            with store._lease.exclusive() as alone:
                if alone and store.compacted:
                    store._container.fold()
    except CuebankError:
        return  # another process is compacting, or something is damaged, which `verify` says
