"""Removing series, or a whole feature set, from a store: out of sight at once, from the disk as soon as it is safe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .compact import give_back, merge_segments
from .errors import Conflict, NotFound, nearest
from .keys import Key, encode_key, hash_key

if TYPE_CHECKING:
    from .feature_set import CommittedSet
    from .feature_store import FeatureStore


def drop(
    store: FeatureStore,
    feature_set: str,
    keys: Sequence[tuple[str, str | None]] | None = None,
    wait_s: float = 10.0,
) -> dict[str, Any]:
    """Remove series and recorded failures of some keys, or a whole feature set.

    Of series, also what was written over earlier is removed. Each segment is written anew without them, in one step,
    the oldest first; readers that have the store open go on seeing what they saw, and the bytes are removed once nobody
    else has it open. A feature set is removed in one step, and only while nobody else has the store open.

    Args:
        store: open for writing.
        feature_set: name.
        keys: (clip_id, entity_id) of the series; None: the whole feature set, its name then is free.
        wait_s: how long to wait for others.

    Returns:
        `{"feature_set", "series": how many were removed, "waiting_bytes": what still lies on the disk}`.

    Raises:
        NotFound: if there is no such feature set, or nothing at all of one of the keys; nothing is removed then.
        Conflict: if others have the store open, or compact it, for longer than `wait_s`.
        Corrupt: if a segment that may hold one of the keys cannot be read.
    """
    with store._writer.area().alone(wait_s):
        committed = store._committed(feature_set)
        committed.refresh()
        if keys is None:
            return _drop_all(store, committed, wait_s)
        committed = committed.from_segments_alone()
        there = _positions(committed, keys)
        unique = set(keys)
        series = len(unique) - len(committed._with_ids().missing(unique))
        affected = {name for name, _ in there}
        problems = merge_segments(store, store._committed(feature_set), there, affected)
        if problems:
            raise Conflict(
                f"{len(keys)} series of feature set `{feature_set}` were to be removed.",
                f"A segment cannot be written anew: {problems[0]['problem']}",
                "Run `cuebank store verify`; extract what is damaged again, then drop once more.",
            )
        store.refresh()
        store._container.settled()
        waiting = give_back(store, [feature_set])
    store.refresh()
    return {"feature_set": feature_set, "series": series, "waiting_bytes": waiting}


def keys_of(
    store: FeatureStore,
    feature_set: str,
    clips: Collection[str] = (),
    groups: Collection[str] = (),
    entities: Collection[str] = (),
) -> list[Key]:
    """Return the keys of all series and failures of some clips.

    Args:
        store: an open store.
        feature_set: name.
        clips: ids of clips.
        groups: all clips of these groups, by any version of the clips table.
        entities: only these; none named: all, and the whole clip.

    Raises:
        NotFound: if there is no such feature set, or no version of the clips table has one of the groups.
        Corrupt: if a segment cannot be read, which may hold some.
    """
    wanted, unknown, known = set(clips), set(groups), set()
    for version in store.clips_versions() if groups else ():
        for clip in store.clips(version):
            known.add(clip.group_id or "")
            if clip.group_id in groups:
                wanted.add(clip.clip_id)
                unknown.discard(clip.group_id)
    if unknown:
        missed = min(unknown)
        raise NotFound(
            f"The clips of group {missed!r} were asked for.",
            f"No clips table of the store has it. {nearest(missed, sorted(known - {''}))}",
            "Name the clips with --clip.",
        )
    damaged = store._committed(feature_set).damaged()
    if damaged is not None:
        raise damaged
    listed = [Key(*item[:2]) for item in (*store.series(feature_set), *store.failures(feature_set))]
    return [key for key in listed if key.clip_id in wanted and (not entities or key.entity_id in entities)]


def _positions(committed: CommittedSet, keys: Sequence[tuple[str, str | None]]) -> list[tuple[str, int]]:
    """Return segment and position of everything that there is of some keys."""
    wanted = {encode_key(*key) for key in keys}
    hashes = np.array([hash_key(*key) for key in wanted], np.uint64)
    found, seen = [], set()
    committed._with_ids()
    for name in committed.visible:
        if name in committed.broken:
            raise committed.broken[name]
        segment = committed.segment(name)
        for position in np.flatnonzero(np.isin(segment.key_hash, hashes)).tolist():
            key = segment.encoded_key(position)
            if key in wanted:
                found.append((name, position))
                seen.add(key)
    for clip_id, entity_id in keys:
        if encode_key(clip_id, entity_id) not in seen:
            known = sorted({item.clip_id for item in committed.series()[:5000]})
            raise NotFound(
                f"Clip {clip_id!r}, entity {entity_id!r} was to be removed from feature set `{committed.spec.name}`.",
                f"There is nothing of it. {nearest(clip_id, known)}",
                f"Nothing was removed from `{committed.spec.name}`. Run `cuebank store ls` to see what there is.",
            )
    return found


def _drop_all(store: FeatureStore, committed: CommittedSet, wait_s: float) -> dict[str, Any]:
    name, series = committed.spec.name, committed.index.series_count
    if store._lease is None:
        raise Conflict(f"Feature set `{name}` was to be removed.", "The store was closed.", "Open it again.")
    with store._lease.exclusive(wait_s) as alone:
        if not alone:
            raise Conflict(
                f"Feature set `{name}` was to be removed from {store.path}.",
                "Another process has the store open.",
                "Try again when it has finished, or wait longer (`--wait`).",
            )
        store.forget(name)
        store._container.remove_feature_set(name)
        store._container.settled()
    return {"feature_set": name, "series": series, "waiting_bytes": 0}
