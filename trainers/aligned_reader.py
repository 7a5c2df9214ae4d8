"""Reading items whose rows are on the clock of label series: inputs are put on it by `store.align`.

Inputs that have the clock's own moments already are not copied: their rows are views of the store's files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store import BadInput, FeatureSpec, FeatureStore, Key, Series
from ..store.align import align
from ..store.grid import exact_rate
from .row_store import Part

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


def check_rate(rate: str | None, how: str) -> None:
    """Refuse a rate that is not exact, and an unknown way to align, before anything is read.

    Raises:
        BadInput: accordingly.
    """
    if rate is not None:
        exact_rate(rate)
    if how not in ("nearest", "mean", "linear"):
        raise BadInput(
            "Inputs were to be put on the labels' clock.",
            f"The way is {how!r}.",
            "Use nearest, mean or linear.",
        )


class AlignedReader:
    """Reads items on a clock.

    Args:
        store: to read from.
        inputs: role -> feature set.
        specs: of these.
        clock: the clock.
        items: keys of the series of each item.
        there: role -> for keys that have a series of it, or whose clip has one: the key of that series.
    """

    def __init__(
        self,
        store: FeatureStore,
        inputs: Mapping[str, str],
        specs: Mapping[str, FeatureSpec],
        clock: Clock,
        items: Sequence[tuple[Key, ...]],
        there: Mapping[str, Mapping[Key, Key]],
    ) -> None:
        self._store, self._inputs, self._clock, self._there = store, inputs, clock, there
        self.items = items
        self.dims = {role: spec.dim for role, spec in specs.items()}
        # The nearest rows are stored ones, so they go back into the stored type without loss.
        self.dtypes: dict[str, np.dtype[Any]] = {role: _kept_type(spec, clock) for role, spec in specs.items()}
        self._times = {key: clock.series(store, key).times for keys in items for key in keys}
        self._rising = {key: bool((times[1:] > times[:-1]).all()) for key, times in self._times.items()}
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

    def read(self, item: int) -> dict[str, Part]:
        """See `row_store.Reader`."""
        roles = list(self.dims)
        parts = [self._aligned(key, roles, 0, len(self._times[key])) for key in self.items[item]]
        return {
            role: Part(
                self.arrange(item, [part[role][0] for part in parts]),
                self.arrange(item, [part[role][1] for part in parts]),
                self.times[item],
            )
            for role in roles
        }

    def rows(self, role: str, item: int, first: int, last: int) -> np.ndarray:
        """See `row_store.Reader`. Of each series, only what lies in this range is read."""
        order, keys = self._orders[item], self.items[item]
        if order is None:
            return self._aligned(keys[0], [role], first, last)[role][0]
        wanted = order[first:last]
        found = np.zeros((len(wanted), self.dims[role]), self.dtypes[role])
        begin = 0
        for key in keys:
            size = len(self._times[key])
            own = np.flatnonzero((wanted >= begin) & (wanted < begin + size))
            if own.size:  # they follow each other: the order is by time
                low, high = int(wanted[own[0]]) - begin, int(wanted[own[-1]]) - begin + 1
                found[own] = self._aligned(key, [role], low, high)[role][0]
            begin += size
        return found

    def _aligned(
        self, key: Key, roles: Sequence[str], first: int, last: int
    ) -> dict[str, tuple[np.ndarray, npt.NDArray[np.bool_]]]:
        """Return values (n, D) and flags (n,) of some rows of a series by role; no flag of a role that it lacks."""
        clock, every = self._clock, self._times[key]
        found: dict[str, tuple[np.ndarray, npt.NDArray[np.bool_]]] = {}
        names: dict[str, str] = {}
        for role in roles:
            place = self._there[role].get(key)
            if place is None or first == last:
                found[role] = np.zeros((last - first, self.dims[role]), np.float32), np.zeros(last - first, dtype=bool)
            elif (same := self._same_clock(self._inputs[role], place, key)) is not None:
                found[role] = same.values[first:last], same.valid[first:last]
            else:
                names[role] = self._inputs[role]
        if not names:
            return found
        # Rows at one moment cannot be told apart by a range of time: all are taken then, and cut.
        whole = not self._rising[key]
        start, stop = (None, None) if whole else (every[first], math.nextafter(every[last - 1], math.inf))
        if clock.rate is not None and whole:
            start, stop = every[0], math.nextafter(every[-1], math.inf)
        grid = clock.feature_set if clock.rate is None else clock.rate
        sets = list(set(names.values()))
        aligned = align(self._store, sets, *key, grid=grid, how=clock.how, start_s=start, stop_s=stop)
        rows = slice(first, last) if whole else slice(None)
        for role, name in names.items():
            found[role] = aligned.values[name][rows], aligned.valid[name][rows]
        return found

    def _same_clock(self, feature_set: str, place: Key, key: Key) -> Series | None:
        """Return a series that has the clock's moments, all valid: its rows are the nearest ones as they are."""
        if self._clock.how != "nearest" or self._clock.rate is not None or not self._rising[key]:
            return None
        series, times = self._store.read(feature_set, *place), self._times[key]
        equal = len(series.times) == len(times) and series.valid.all() and np.array_equal(series.times, times)
        return series if equal else None


def _order(times: Sequence[Floats]) -> Ints | None:
    """Return the order of the rows of several series by time, then series; None if there is one series."""
    if len(times) == 1:
        return None
    return np.argsort(np.concatenate(times), kind="stable")


def _kept_type(spec: FeatureSpec, clock: Clock) -> np.dtype[Any]:
    exact = clock.how == "nearest" and spec.dtype in ("float16", "uint8")
    return np.dtype(spec.dtype if exact else np.float32)
