"""Writing what is left of some segments as one new segment that stands in their place.

Rows are copied as they are, with their checksums: damage stays visible, it is never given a new checksum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .segments import FAILED, OK, Segment
from .texts import join_texts

if TYPE_CHECKING:
    from .containers.base import Container, SegmentWriter
    from .index import KeyIndex
    from .recipe import FeatureSpec

COPY_BYTES = 2**24  # so much is copied in one step


def live_masks(index: KeyIndex) -> dict[str, np.ndarray]:
    """Return for each segment the positions of the series and failures in it that count, rising."""
    parts: dict[str, list[np.ndarray]] = {}
    for status in (OK, FAILED):
        for table, entries in zip(index.tables, index.entries(status), strict=True):
            if not len(entries):
                continue
            numbers, positions = table.numbers[entries], table.positions[entries].astype(np.int64)
            order = np.argsort(numbers, kind="stable")
            present, firsts = np.unique(numbers[order], return_index=True)
            for number, mine in zip(present.tolist(), np.split(positions[order], firsts[1:]), strict=True):
                parts.setdefault(table.names[number], []).append(mine)
    return {name: np.sort(np.concatenate(arrays)) for name, arrays in parts.items()}


def rewrite(
    container: Container,
    spec: FeatureSpec,
    run: Mapping[str, Segment],
    keep: Mapping[str, np.ndarray],
    there: Collection[str],
) -> str:
    """Write what is kept of a run of segments as one, make it visible, and return its name.

    Args:
        container: where they are.
        spec: the feature set.
        run: name -> segment: neighbours in order of rank, so that the new one can take the place of all of them.
        keep: name -> positions that are kept, rising.
        there: segments that lie there although they were replaced; those that the run has replaced stay so.

    Raises:
        Corrupt: if one of them is damaged; nothing has changed then.
        Conflict: if they are neighbours no longer; likewise.
    """
    writer = container.new_segment(spec)
    try:
        rows, index = 0, _index_arrays(run, keep, spec)
        for name, segment in run.items():
            rows = _copy_rows(writer, rows, segment, keep[name], spec)
        replaces = list(
            dict.fromkeys([*run, *(one for old in run.values() for one in old.file.replaces if one in there)])
        )
        writer.finish(rows, index, {"fingerprint": spec.fingerprint, "replaces": replaces})
        return writer.publish(list(run), there)
    finally:
        writer.discard()


def _index_arrays(
    run: Mapping[str, Segment], keep: Mapping[str, np.ndarray], spec: FeatureSpec
) -> dict[str, np.ndarray]:
    arrays = {}
    if spec.is_text:
        # One after the other: a run may be of more segments than can be mapped at once.
        taken = [segment.packed_texts().take(keep[name]) for name, segment in run.items()]
        arrays["text"], arrays["text_offsets"] = join_texts(taken)
        del taken
    arrays |= {
        "row_size": np.concatenate([segment.row_size[keep[name]] for name, segment in run.items()]),
        "crc32c": np.concatenate([segment.checksums[keep[name]] for name, segment in run.items()]),
        "status": np.concatenate([segment.status[keep[name]] for name, segment in run.items()]),
        "key_hash": np.concatenate([segment.key_hash[keep[name]] for name, segment in run.items()]),
    }
    for texts in ("clip_id", "entity_id", "reason"):
        taken = [segment.texts(texts).take(keep[name]) for name, segment in run.items()]
        arrays[texts], arrays[texts + "_offsets"] = join_texts(taken)
    return arrays


def _copy_rows(writer: SegmentWriter, row: int, segment: Segment, keep: np.ndarray, spec: FeatureSpec) -> int:
    """Copy the rows of the kept series to row number `row` and on; return the number behind the last one."""
    step = max(1, COPY_BYTES // (spec.dim * np.dtype(spec.dtype).itemsize))
    was_mapped = segment.mapped
    try:
        for first, last in _stretches(segment, keep):
            for start in range(first, last, step):
                series = segment.rows(start, min(start + step, last))
                writer.put(row, *(np.ascontiguousarray(array) for array in series))
                row += len(series.times)
    finally:
        if not was_mapped:
            segment.unmap()
    return row


def _stretches(segment: Segment, keep: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and last + 1 of the rows of kept series; neighbours in one step."""
    if not len(keep):
        return
    breaks = np.flatnonzero(np.diff(keep) != 1) + 1
    for group in np.split(keep, breaks):
        first, last = int(segment.starts[group[0]]), int(segment.starts[group[-1] + 1])
        if last > first:
            yield first, last
