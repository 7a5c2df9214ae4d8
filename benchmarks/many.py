"""Stores of very many short series, made quickly: index arrays go straight into the container's segment writer.

What comes out is what `store.write` and `store.commit` would have made of the same series; only nothing is synced, and
a new segment does not list the others to find its rank.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from corpus import RECIPE, TIMEBASE

from cuebank.store import FeatureSpec, FeatureStore, compact
from cuebank.store.containers import zarr_segment_writer
from cuebank.store.containers.base import Container
from cuebank.store.containers.zarr_bundle import bundle_names
from cuebank.store.files import crc32c
from cuebank.store.keys import hash_key
from cuebank.store.segments import OK
from cuebank.store.texts import pack_texts

NAME, DIM, MOST = "many.x", 8, 3
SPEC = FeatureSpec(NAME, "numeric", DIM, "float16", RECIPE, TIMEBASE, "entity")


class Plan(NamedTuple):
    """A store to be made.

    `large`: its segments count as large, so that compaction leaves them apart (`compact.SMALL_BYTES` is 0 meanwhile:
    rows for that many honest ones would take 320 GB). `compacted`: by `compact`, and closed afterwards.
    """

    series: int
    segments: int
    large: bool
    compacted: bool


def key(i: int) -> tuple[str, str]:
    """Clip and entity of a series."""
    return f"session-{i // 40:05d}/clip-{i // 3:07d}", f"face-{i % 3}"


def make(path: Path, plan: Plan) -> dict[str, float]:
    """Make a store; return the seconds that it took. Call it in a process of its own: it turns `fsync` off."""
    os.fsync = lambda fd: None
    started = time.perf_counter()
    with FeatureStore.open(path, "a") as store:
        store.create(SPEC)
        names: list[str] = []
        zarr_segment_writer.bundle_names = lambda folder: names[-1:]
        bounds = np.linspace(0, plan.series, plan.segments + 1).astype(int).tolist()
        for first, last in pairwise(bounds):
            names.append(_add_segment(store._container, first, last, names))
        zarr_segment_writer.bundle_names = bundle_names
        store._container.settled()
        made = time.perf_counter()
        store.refresh()
        if plan.large:
            compact.SMALL_BYTES = 0
        if plan.compacted:
            report = compact.compact(store)
            left = report["feature_sets"][NAME]["segments_after"]
            if report["problems"] or left != (plan.segments if plan.large else 1):
                raise RuntimeError(f"compaction left {left} segments: {report}")
        compacted = time.perf_counter()
    return {
        "made_s": made - started,
        "compacted_s": compacted - made,
        "closed_s": time.perf_counter() - compacted,
    }


def _add_segment(container: Container, first: int, last: int, names: list[str]) -> str:
    """Write series `first` to `last` as a segment: series i has 1 + i % 3 rows, all series of one length are equal."""
    numbers = range(first, last)
    keys = [tuple(part.encode() for part in key(i)) for i in numbers]
    rows = np.array([1 + i % MOST for i in numbers], "<i8")
    within = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)  # number of each row in its series
    values, times, valid = _longest()
    index: dict[str, np.ndarray] = {
        "row_size": rows,
        "crc32c": np.array([_checksum(count) for count in range(MOST + 1)], "<u4")[rows],
        "status": np.full(len(keys), OK, "u1"),
        "key_hash": np.array([hash_key(*one) for one in keys], "<u8"),
    }
    for name, texts in (
        ("clip_id", [clip for clip, _ in keys]),
        ("entity_id", [entity for _, entity in keys]),
        ("reason", [b""] * len(keys)),
    ):
        index[name], index[name + "_offsets"] = pack_texts(texts)
    writer: Any = container.new_segment(SPEC)
    writer._present = lambda: names[-1:]  # what HDF5 asks; Zarr has no such attribute and does not mind
    try:
        writer.put(0, values[within], times[within], valid[within])
        writer.finish(int(rows.sum()), index, {"fingerprint": SPEC.fingerprint})
        return writer.publish()
    finally:
        writer.discard()


def _longest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.arange(MOST * DIM, dtype="<f2").reshape(MOST, DIM)
    return values, TIMEBASE.centers(MOST), np.ones(MOST, bool)


def _checksum(rows: int) -> int:
    return crc32c(*(np.ascontiguousarray(array[:rows]) for array in _longest()))
