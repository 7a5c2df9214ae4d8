"""The rows of label series with all inputs on their clock: what a head gets in a task of unit `row`.

An item is the series of one entity, or those of all entities of a clip together, sorted by time, then entity. Inputs
are put on the clock by `store.align`; a row in which an input is absent is masked there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..store import FeatureSpec, FeatureStore, Key
from .aligned_reader import AlignedReader, Clock
from .batches import LeftOut, failures_of, find_places, nothing_left, numeric_specs, why_absent
from .features import Features
from .row_features import RowFeatures
from .row_store import fill, spoilt_notes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RowTable:
    """What each row is about: `keys[key_of_row[r]]` at `times[r]`.

    Args:
        keys: of the series.
        key_of_row: (R,) int64.
        times: (R,) float64 seconds.
    """

    keys: tuple[Key, ...]
    key_of_row: Ints
    times: Floats


@dataclass(frozen=True, eq=False)
class RowItems:
    """Items of a task of unit `row`. N items, R rows.

    Args:
        items: keys of the series of each, (N,).
        features: of the items.
        table: of the rows, in the order of the features'.
        reader: arranges further series in the same order.
        specs: role -> description of the feature set.
        left_out: series that take no part.
        notes: sentences for the report.
    """

    items: tuple[tuple[Key, ...], ...]
    features: RowFeatures
    table: RowTable
    reader: AlignedReader
    specs: Mapping[str, FeatureSpec]
    left_out: LeftOut
    notes: tuple[str, ...]


def gather_row_items(
    store: FeatureStore, keys: Sequence[Key], inputs: Mapping[str, str], clock: Clock, scope: str, limit: int
) -> RowItems:
    """Read the rows of label series, or of any series, with the inputs on their clock.

    Args:
        store: to read from; it must stay open as long as features are streamed.
        keys: of the series of the clock's feature set, those of a clip together if the scope is `clip`.
        inputs: role -> feature set.
        clock: where the rows are.
        scope: `entity` or `clip`.
        limit: bytes that may be kept in memory.

    Raises:
        NotFound: if there is no such feature set.
        BadInput: if a feature set holds no numbers, or no row has any input.
        Corrupt: if stored rows do not agree with their checksum.
    """
    specs = numeric_specs(store, inputs)
    left_out = LeftOut()
    there = {role: _there(store, name, keys, specs[role].scope) for role, name in inputs.items()}
    failures = {role: failures_of(store, name) for role, name in inputs.items()}
    usable = []
    for key in keys:
        if any(key in found for found in there.values()):
            usable.append(key)
        else:
            first = next(iter(inputs))
            left_out.add(*why_absent(inputs[first], failures[first], key))
    if not usable:
        raise nothing_left(store, len(keys), inputs, left_out)
    items = _items(usable, scope)
    reader = AlignedReader(store, inputs, specs, clock, items, there)
    features, spoilt = fill(reader, limit, np.concatenate(reader.entities))
    ordered = tuple(key for item in items for key in item)
    firsts = np.cumsum([0, *(len(item) for item in items[:-1])])
    table = RowTable(
        keys=ordered,
        key_of_row=np.concatenate([codes + first for codes, first in zip(reader.entities, firsts, strict=True)]),
        times=np.concatenate(reader.times),
    )
    notes = [*spoilt_notes(spoilt, inputs), *_absent_notes(features, inputs)]
    return RowItems(items, features, table, reader, specs, left_out, tuple(notes))


def _there(store: FeatureStore, feature_set: str, keys: Sequence[Key], scope: str) -> dict[Key, Key]:
    """Return under which key `align` finds the series of each key: its own, or of features of clips its clip's."""
    places = find_places(store, feature_set, keys)
    return {
        key: place
        for key, place in zip(keys, places, strict=True)
        if place is not None and (place == key or scope == "clip")
    }


def _items(keys: Sequence[Key], scope: str) -> tuple[tuple[Key, ...], ...]:
    if scope == "entity":
        return tuple((key,) for key in keys)
    clips: dict[str, list[Key]] = {}
    for key in keys:
        clips.setdefault(key.clip_id, []).append(key)
    return tuple(tuple(sorted(members, key=lambda key: key.entity_id or "")) for members in clips.values())


def _absent_notes(features: RowFeatures, inputs: Mapping[str, str]) -> list[str]:
    notes = []
    for role, valid in features.valid.items():
        rows = int(features.shared.lengths.sum())
        count = rows - int(valid[:rows].sum())
        if count:
            notes.append(f"{count} of {rows} rows have nothing of `{inputs[role]}` near enough: it is masked there.")
    return notes


def any_input(features: RowFeatures) -> torch.Tensor:
    """Return which rows have at least one input, (R,) bool."""
    return torch.stack(list(features.valid.values())).any(0)


def every_input(features: RowFeatures) -> torch.Tensor:
    """Return which rows have all inputs, (R,) bool."""
    return torch.stack(list(features.valid.values())).all(0)


def vectors_of(features: RowFeatures, chosen: torch.Tensor) -> Features:
    """Return chosen rows, (R,) bool, as items with one vector each; they have all inputs."""
    vectors = Features.empty(int(chosen.sum()), features.dims)
    parts, done = vectors.split(vectors.matrix), 0
    spans = features.shared
    for item, (start, length) in enumerate(zip(spans.starts.tolist(), spans.lengths.tolist(), strict=True)):
        inside = chosen[start : start + length]
        rows = int(inside.sum())
        if rows:
            for role, part in parts.items():
                part[done : done + rows] = features.values[role].item(item)[inside]
        done += rows
    return vectors
