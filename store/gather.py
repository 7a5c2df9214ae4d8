"""A whole batch of series, or of windows in them, as one padded block of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import BadInput
from .padded import Batch, PaddedBuffer, Source, Span
from .windows import Stretch

if TYPE_CHECKING:
    from .feature_set import CommittedSet
    from .feature_store import FeatureStore
    from .segments import Maps, Segment

Item = tuple[Any, ...]  # (clip_id, entity_id) or (clip_id, entity_id, start_s, stop_s)


def gather(
    store: FeatureStore,
    feature_set: str,
    items: Sequence[Item],
    *,
    out: Any = None,
    mask: Any = None,
    dtype: str | None = None,
) -> Batch:
    """Read a batch of series, or of windows in them, into one padded block.

    For many batches use a `Gatherer`, which remembers where the series lie and what of the buffer is dirty.

    Args:
        store: an open store.
        feature_set: name.
        items: B of (clip_id, entity_id) or (clip_id, entity_id, start_s, stop_s); None in place of entity, start or
            stop as in `FeatureStore.read`.
        out: (>= B, >= T, D) memory to fill: an array, or a torch tensor in the host's memory (torch then converts).
        mask: (>= B, >= T) bool memory of the same kind.
        dtype: type of the values if there is no `out`; None: float32, or the stored type if that holds more.

    Returns:
        `.values` (B, T, D), `.mask` (B, T), `.lengths` (B,), where T is that of `out`, else the longest item's.
        Behind the rows of an item there are zeros; `.mask` is True for rows that are there and valid.

    Raises:
        NotFound: if one of the series is not there.
        BadInput: if the memory does not fit, an item is none, or the feature set is one of texts.
        Corrupt: if stored rows do not agree with their checksum.
    """
    return Gatherer(store, feature_set, out=out, mask=mask, dtype=dtype).gather(items)


class _Place(NamedTuple):
    """Where the rows of a series lie."""

    segment: Segment
    rows: Stretch


class Gatherer:
    """Reads batch after batch of one feature set, into the same memory if it is given some.

    Args:
        store: an open store.
        feature_set: name.
        out: as for `gather`. Each batch overwrites the one before; between two calls nobody else may write behind the
            rows of the items, since only what the last batch left there is cleared.
        mask: as for `gather`.
        dtype: as for `gather`.

    Raises:
        NotFound: if there is no such feature set.
        BadInput: if the memory does not fit, or the feature set is one of texts.

    Example:
        >>> import tempfile
        >>> from cuebank.store import FeatureSpec, FeatureStore, Recipe
        >>> spec = FeatureSpec("demo.x", "numeric", 1, "float16", Recipe("demo", {"source": "none"}))
        >>> with tempfile.TemporaryDirectory() as folder, FeatureStore.open(f"{folder}/f.zarr", "a") as store:
        ...     store.create(spec)
        ...     store.write("demo.x", "a", None, [[1], [2]], [0.5, 1.5], [True, True])
        ...     store.write("demo.x", "b", None, [[3]], [0.5], [True])
        ...     store.commit()
        ...     batch = Gatherer(store, "demo.x").gather([("a", None), ("b", None)])
        >>> batch.values[..., 0].tolist(), batch.mask.tolist()
        ([[1.0, 2.0], [3.0, 0.0]], [[True, True], [True, False]])
    """

    def __init__(
        self, store: FeatureStore, feature_set: str, *, out: Any = None, mask: Any = None, dtype: str | None = None
    ) -> None:
        spec = store.spec(feature_set)
        if spec.is_text:
            raise BadInput(
                f"A batch of feature set `{feature_set}` was to be gathered.",
                "Its rows are texts, not numbers.",
                "Take them with `read`, or name a numeric feature set.",
            )
        self._committed: CommittedSet = store._committed(feature_set)
        self._dim, self._stored = spec.dim, np.dtype(spec.dtype)
        self._dtype = _output_type(feature_set, self._stored, dtype)
        if mask is not None and out is None:
            raise BadInput("A batch was to be gathered.", "There is a `mask` but no `out`.", "Give both, or `out`.")
        self._buffer = None if out is None else PaddedBuffer(out, mask, self._dim, self._stored)
        self._index: Any = None
        self._places: dict[Item, _Place] = {}

    def gather(self, items: Sequence[Item]) -> Batch:
        """Read a batch; see the function `gather`. Series that were read before are found without a search."""
        spans, members = self._located(items)
        buffer = self._buffer
        if buffer is None:
            rows = max((last - first for first, last in spans), default=0)
            buffer = PaddedBuffer.fresh(len(spans), rows, self._dim, self._stored, self._dtype)
        return buffer.fill(spans, self._sources(spans, members))

    def _located(self, items: Iterable[Item]) -> tuple[list[Span], dict[Segment, list[int]]]:
        """Return the rows of each item, and the numbers of the items in each segment."""
        index = self._committed.index
        if index is not self._index:  # others have committed: a series may have been replaced
            self._index, self._places = index, {}
        spans: list[Span] = []
        members: dict[Segment, list[int]] = {}
        for number, item in enumerate(items):
            if isinstance(item, str):
                raise _no_item(item)
            try:
                key = item if len(item) == 2 else tuple(item[:2])
                place = self._places.get(key) or self._find(key)
            except TypeError as error:  # not a tuple of ids
                raise _no_item(item) from error
            segment, rows = place
            if len(item) == 4:
                times = _map(self._committed, segment)[1]
                spans.append(rows.between(times, item[2], item[3], self._committed.rate_hz))
            elif len(item) == 2:
                spans.append((rows.first, rows.last))
            else:
                raise _no_item(item)
            members.setdefault(segment, []).append(number)
        return spans, members

    def _sources(self, spans: list[Span], members: dict[Segment, list[int]]) -> Iterator[Source]:
        """Yield the rows of one segment after the other: a batch may touch more than can be mapped at once."""
        for segment, items in members.items():
            values, _, valid = _map(self._committed, segment)
            if isinstance(values, np.ndarray):
                yield items, values, valid
                continue
            for item in items:  # compressed: each is unpacked on its own
                first, last = spans[item]
                rows = segment.rows(first, last)
                spans[item] = 0, last - first
                yield [item], rows.values, rows.valid

    def _find(self, key: Item) -> _Place:
        """Find a series and prove it once."""
        segment, place = self._committed.locate(*key)
        segment.read(place)
        found = _Place(segment, Stretch(place.start, place.stop))
        self._places[key] = found
        return found


def _map(committed: CommittedSet, segment: Segment) -> Maps:
    """Return the mapped rows of a segment."""
    if not segment.mapped:
        committed._budget.map(segment)
    return segment.maps


def _output_type(feature_set: str, stored: np.dtype[Any], dtype: str | None) -> np.dtype[Any]:
    wide = np.dtype(np.float32)
    chosen = (wide if np.can_cast(stored, wide, "safe") else stored) if dtype is None else np.dtype(dtype)
    if not np.can_cast(stored, chosen, "safe"):
        raise BadInput(
            f"A batch of feature set `{feature_set}` was to be gathered as {chosen}.",
            f"It is stored as {stored}, which {chosen} cannot hold.",
            "Give the stored or a wider type, or none.",
        )
    return chosen


def _no_item(item: Any) -> BadInput:
    return BadInput(
        "A batch was to be gathered.",
        f"One of its items is {item!r}.",
        "Give tuples (clip_id, entity_id) or (clip_id, entity_id, start_s, stop_s).",
    )
