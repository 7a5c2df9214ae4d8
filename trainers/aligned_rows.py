"""The rows of label series with all inputs on their clock: what a head gets in a task of unit `row`.

An item is the series of one entity, or those of all entities of a clip together, sorted by time, then entity. Inputs
are put on the clock by `store.align`; a row in which an input is absent is masked there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..store import BadInput, FeatureSpec, FeatureStore, Key, Series
from ..store.align import align
from .batches import LeftOut, failures_of, find_places, nothing_left, numeric_specs, why_absent
from .features import Features
from .row_features import RowFeatures
from .row_store import Part, fill, spoilt_notes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clock:
    """The clock on which inputs are put.

    Args:
        feature_set: whose series are the items.
        how: `nearest`, `mean` or `linear`.
        rate: exact rate in Hz; None: the moments of the feature set's own rows.
    """

    feature_set: str
    how: str = "nearest"
    rate: str | None = None

    def series(self, store: FeatureStore, key: Key) -> Series:
        """Return a series on this clock: its rows as they are, or the nearest ones at the rate."""
        if self.rate is None:
            return store.read(self.feature_set, *key)
        found = align(store, [self.feature_set], *key, grid=self.rate)
        return Series(found.values[self.feature_set], found.times, found.valid[self.feature_set])


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


class AlignedReader:
    """Reads items on a clock.

    Args:
        store: to read from.
        inputs: role -> feature set.
        specs: of these.
        clock: the clock.
        items: keys of the series of each item.
        there: role -> keys that have a series of it, or whose clip has one.
    """

    def __init__(
        self,
        store: FeatureStore,
        inputs: Mapping[str, str],
        specs: Mapping[str, FeatureSpec],
        clock: Clock,
        items: Sequence[tuple[Key, ...]],
        there: Mapping[str, set[Key]],
    ) -> None:
        self._store, self._inputs, self._clock, self._there = store, inputs, clock, there
        self.items = items
        self.dims = {role: spec.dim for role, spec in specs.items()}
        # The nearest rows are stored ones, so they go back into the stored type without loss.
        self.dtypes: dict[str, np.dtype[Any]] = {role: _kept_type(spec, clock) for role, spec in specs.items()}
        self._times = {key: clock.series(store, key).times for keys in items for key in keys}
        series = [[self._times[key] for key in keys] for keys in items]
        self._orders = [_order(times) for times in series]
        self.times = [
            times[0] if order is None else np.concatenate(times)[order]
            for times, order in zip(series, self._orders, strict=True)
        ]
        self.entities = [
            self.arrange(item, [np.full(len(one), i, dtype=np.int64) for i, one in enumerate(times)])
            for item, times in enumerate(series)
        ]

    def arrange(self, item: int, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Put what belongs to the rows of an item's series, one array for each series, into the order of its rows."""
        order = self._orders[item]
        return parts[0] if order is None else np.concatenate(parts)[order]

    def lengths(self, role: str) -> list[int]:
        """See `row_store.Reader`."""
        return [len(times) for times in self.times]

    def read(self, item: int, roles: Sequence[str]) -> dict[str, Part]:
        """See `row_store.Reader`."""
        parts = [self._aligned(key, roles) for key in self.items[item]]
        times = self.times[item]
        return {
            role: Part(
                self.arrange(item, [part[role][0] for part in parts]),
                self.arrange(item, [part[role][1] for part in parts]),
                times,
            )
            for role in roles
        }

    def _aligned(self, key: Key, roles: Sequence[str]) -> dict[str, tuple[np.ndarray, npt.NDArray[np.bool_]]]:
        """Return values (T, D) and flags (T,) of a series' rows by role; none of a role that it does not have."""
        clock, times = self._clock, self._times[key]
        found = {
            role: (np.zeros((len(times), self.dims[role]), np.float32), np.zeros(len(times), dtype=bool))
            for role in roles
        }
        names = {role: self._inputs[role] for role in roles if key in self._there[role]}
        if not names or not len(times):
            return found
        start, stop = (None, None) if clock.rate is None else (times[0], math.nextafter(times[-1], math.inf))
        grid = clock.feature_set if clock.rate is None else clock.rate
        sets = list(set(names.values()))
        aligned = align(self._store, sets, *key, grid=grid, how=clock.how, start_s=start, stop_s=stop)
        for role, name in names.items():
            found[role] = aligned.values[name], aligned.valid[name]
        return found


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


def _there(store: FeatureStore, feature_set: str, keys: Sequence[Key], scope: str) -> set[Key]:
    """Return the keys whose series `align` finds: their own, or for features of whole clips that of their clip."""
    places = find_places(store, feature_set, keys)
    return {key for key, place in zip(keys, places, strict=True) if place == key or (place and scope == "clip")}


def _items(keys: Sequence[Key], scope: str) -> tuple[tuple[Key, ...], ...]:
    if scope == "entity":
        return tuple((key,) for key in keys)
    clips: dict[str, list[Key]] = {}
    for key in keys:
        clips.setdefault(key.clip_id, []).append(key)
    return tuple(tuple(sorted(members, key=lambda key: key.entity_id or "")) for members in clips.values())


def _order(times: Sequence[Floats]) -> Ints | None:
    """Return the order of the rows of several series by time, then series; None if there is one series."""
    if len(times) == 1:
        return None
    return np.argsort(np.concatenate(times), kind="stable")


def _kept_type(spec: FeatureSpec, clock: Clock) -> np.dtype[Any]:
    exact = clock.how == "nearest" and spec.dtype in ("float16", "uint8")
    return np.dtype(spec.dtype if exact else np.float32)


def _absent_notes(features: RowFeatures, inputs: Mapping[str, str]) -> list[str]:
    notes = []
    for role, valid in features.valid.items():
        rows = int(features.shared.lengths.sum())
        count = rows - int(valid[:rows].sum())
        if count:
            notes.append(f"{count} of {rows} rows have nothing of `{inputs[role]}` near enough: it is masked there.")
    return notes


def check_rate(rate: str | None, how: str) -> None:
    """Refuse a rate that is not exact, and an unknown way to align, before anything is read.

    Raises:
        BadInput: accordingly.
    """
    from ..store.grid import exact_rate

    if rate is not None:
        exact_rate(rate)
    if how not in ("nearest", "mean", "linear"):
        raise BadInput(
            "Inputs were to be put on the labels' clock.",
            f"The way is {how!r}.",
            "Use nearest, mean or linear.",
        )


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
