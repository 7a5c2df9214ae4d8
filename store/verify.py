"""Prove a store: every byte of it that means something is checked, and what is wrong is listed with its series.

Nothing is repaired. A damaged store never makes `verify` fail; only a path that holds no store does. It may run while
others write: it looks at what is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Corrupt, CuebankError
from .feature_store import FeatureStore
from .files import crc32c
from .keys import hash_key
from .merged import check_merged
from .recipe import FeatureSpec
from .segments import FAILED, Segment
from .series import finite
from .text_rows import check_sizes, decode_rows
from .writing_area import area_of

Found = tuple[str | None, str | None, str]  # clip_id, entity_id, what is wrong


def verify(store_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Check a store completely.

    Args:
        store_path: the store's folder.

    Returns:
        `{"ok": bool, "series": live series, "problems": [{"feature_set", "clip_id", "entity_id", "problem"}],
        "notes": [text]}`; the fields of a problem that do not apply are None. Notes are no damage: unfinished work of
        other writers, or what a dead one left.

    Raises:
        NotFound: if there is no store.
        BadInput: if the path holds something else.
    """
    problems: list[dict[str, Any]] = []

    def add(feature_set: str | None, found: Found) -> None:
        problem = dict(zip(("clip_id", "entity_id", "problem"), found, strict=True))
        problems.append({"feature_set": feature_set, **problem})

    store = FeatureStore(Path(os.path.realpath(store_path)), "r")
    try:
        store = FeatureStore.open(store_path)
    except CuebankError as error:
        # With feature sets or clips in it, it is a store whose own description is damaged.
        if not (store._container.feature_sets() or store._container.clips_versions()):
            raise
        add(None, (None, None, said(error)))
    with store:
        series = _check_all(store, add)
        notes = _notes(store.path)
    return {"ok": not problems, "series": series, "problems": problems, "notes": notes}


def _check_all(store: FeatureStore, add: Callable[[str | None, Found], None]) -> int:
    """Check everything in a store; return how many series count."""
    for feature_set, text in store._container.check():
        add(feature_set, (None, None, text))
    series = 0
    for name in store.feature_sets():
        try:
            spec = store.spec(name)
        except (Corrupt, OSError):
            continue  # reported by the container's check
        try:
            series += len(list(store.series(name)))
        except (Corrupt, OSError) as error:
            add(name, (None, None, said(error)))
        for segment in store._container.segments(name):
            for found in _check_segment(store, spec, segment):
                add(name, found)
        for index in store._container.indexes(name):
            for text in check_merged(store._container, spec, index):
                add(name, (None, None, text))
    return series


def said(error: Exception) -> str:
    """Return what an error found, without its advice."""
    return f"{error.asked} {error.found}" if isinstance(error, CuebankError) else str(error)


def _check_segment(store: FeatureStore, spec: FeatureSpec, name: str) -> Iterator[Found]:
    """Yield all that is wrong with a segment; what keeps one part from being checked is reported once."""
    try:
        file = store._container.open_segment(spec, name)
    except (Corrupt, OSError) as error:
        if store._container.has_segment(spec.name, name):  # else it was removed while we looked
            yield None, None, said(error)
        return
    try:
        for text in file.check():
            yield None, None, text
        segment = Segment(file)
        for texts in ("clip_id", "entity_id", "reason"):
            segment.texts(texts)
        starts, checksums, _ = segment.starts, segment.checksums, segment.key_hash
        if segment.is_text:
            segment.packed_texts()
    except (Corrupt, OSError) as error:
        yield None, None, said(error)
        return
    yield from _check_keys(segment)
    try:
        segment.map()
    except (Corrupt, OSError) as error:
        yield None, None, said(error)
        return
    for position in np.flatnonzero(segment.status != FAILED).tolist():
        start, stop = starts[position : position + 2].tolist()
        problem = _row_problem(segment, position, start, stop, int(checksums[position]))
        if problem:
            yield *segment.key(position), f"{problem} It is in segment `{name}`."


def _check_keys(segment: Segment) -> Iterator[Found]:
    """Check what reading one series does not need: that hashes belong to their keys, and no key is there twice."""
    seen = set()
    for position in range(len(segment)):
        key = segment.encoded_key(position)
        if int(segment.key_hash[position]) != hash_key(*key):
            yield *segment.key(position), f"The hash of its key is wrong in {segment.file.where}."
        if key in seen:
            yield *segment.key(position), f"It is twice in {segment.file.where}."
        seen.add(key)


def _row_problem(segment: Segment, position: int, start: int, stop: int, checksum: int) -> str | None:
    """Return what is wrong with the rows of a series."""
    try:
        values, times, valid = segment.rows(start, stop)
    except Corrupt as error:
        return error.found
    text = segment.text(position)
    if crc32c(values, times, valid, text) != checksum:
        return "Its rows do not agree with their checksum."
    if segment.is_text:
        try:
            check_sizes(values, text, "")
            decode_rows(values, text, 0, len(values), "")
        except Corrupt as error:
            return error.found
        if values[~valid].any():
            return "A row that is not valid has a text."
    if not np.isfinite(times).all() or (times[1:] < times[:-1]).any():
        return "Its times are not finite, or they decrease."
    if values.dtype.kind == "f" and not np.all(finite(values) | ~valid[:, None]):
        return "A valid row has a value that is NaN or infinite."
    return None


def _notes(path: Path) -> list[str]:
    area = area_of(path)
    if not area.is_dir():
        return []
    return [f"`{area.name}` holds unfinished work, of writers at work or dead ones; it is no part of the store."]
