"""Merged indexes: what many segments hold, in one bundle that is memory-mapped, so that a million series open at once.

A merged index is derived from the segments that it covers, and says nothing that they do not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Corrupt, CuebankError
from .segments import OK, Segment
from .tables import MergedTable, SegmentTable, counts
from .texts import Texts, join_texts

if TYPE_CHECKING:
    from .containers.base import Container, IndexFile
    from .recipe import FeatureSpec


def merge_indexes(
    segments: dict[str, Segment], replaced: Sequence[str], fingerprint: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the attributes of the merged index of some segments.

    Args:
        segments: name -> segment, all that are visible, in order of rank.
        replaced: segments that others stand in place of, and that may lie there still.
        fingerprint: of the feature set.

    Raises:
        Corrupt: if one of them is damaged.
    """
    table = SegmentTable(segments)
    lengths = [len(segment) for segment in segments.values()]
    bases = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = bases[:-1][table.numbers] + table.positions if lengths else np.empty(0, np.int64)
    starts = np.concatenate([np.empty(0, "<i8"), *(segment.starts[:-1] for segment in segments.values())])
    checksums = np.concatenate([np.empty(0, "<u4"), *(segment.checksums for segment in segments.values())])
    arrays = {
        "key_hash": table.hashes,
        "status": table.status,
        "row_size": table.row_sizes,
        "segment": table.numbers,
        "position": table.positions,
        "row_start": starts[places],
        "crc32c": checksums[places],
    }
    for name in ("clip_id", "entity_id"):
        arrays[name], arrays[name + "_offsets"] = _all_texts(segments, name).take(places)
    series, failed = counts(table.status)
    ok = table.status == OK
    attributes = {
        "fingerprint": fingerprint,
        "series": len(table.hashes),
        "covers": list(segments),
        "replaced": sorted(replaced),
        "series_ok": series,
        "series_failed": failed,
        "rows": int(table.row_sizes.sum()),
        "clips": _different(Texts(arrays["clip_id"], arrays["clip_id_offsets"], "Merged ids"), ok),
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, attributes


def _all_texts(segments: dict[str, Segment], name: str) -> Texts:
    """Return the texts of all segments, one after the other."""
    texts = [segment.texts(name) for segment in segments.values()]
    return Texts(*join_texts([(one.data, one.offsets) for one in texts]), "Merged ids")


def _different(texts: Texts, wanted: np.ndarray) -> int:
    return len({texts[i] for i in np.flatnonzero(wanted).tolist()})


def agrees(file: IndexFile, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> bool:
    """Return whether a merged index says what it ought to say."""
    return all(file.attributes.get(key) == value for key, value in attributes.items()) and all(
        np.array_equal(file.array(one), array) for one, array in arrays.items()
    )


def check_merged(container: Container, spec: FeatureSpec, name: str) -> Iterator[str]:
    """Yield what is wrong with a merged index.

    One that covers segments which are not there any more is no problem: nobody uses it.
    """
    where = f"Merged index `{name}` of feature set `{spec.name}`"
    try:
        file = container.open_index(spec, name)
        yield from file.check()
        merged = MergedTable(file)
        if not set(container.segments(spec.name)).issuperset(merged.names):
            return
        segments = {one: Segment(container.open_segment(spec, one)) for one in merged.names}
        arrays, attributes = merge_indexes(segments, sorted(merged.replaced), spec.fingerprint)
        if not agrees(file, arrays, attributes):
            yield f"{where} does not say what its segments say."
    except (CuebankError, OSError) as error:
        # What is wrong with a segment itself is reported where the segments are checked.
        if not isinstance(error, Corrupt) or where.lower() in str(error).lower():
            yield str(error)
