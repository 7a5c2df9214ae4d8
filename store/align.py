"""Several feature sets of one clip or entity on one time grid."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .errors import BadInput, nearest
from .grid import Clock, Grid, exact_rate, rate_grid, row_grid, window
from .resample import take_linear, take_mean, take_nearest
from .series import Series

if TYPE_CHECKING:
    from .feature_store import FeatureStore

_WAYS = {"nearest": take_nearest, "mean": take_mean, "linear": take_linear}


class Aligned(NamedTuple):
    """Feature sets on one grid of T moments.

    `times` (T,) float64 seconds from the clip's start; `values` name -> (T, D) float32, zeros where there is nothing;
    `valid` name -> (T,) bool.
    """

    times: np.ndarray
    values: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]


def align(
    store: FeatureStore,
    feature_sets: Sequence[str],
    clip_id: str,
    entity_id: str | None = None,
    *,
    grid: Fraction | int | str,
    how: str = "nearest",
    start_s: float | None = None,
    stop_s: float | None = None,
    max_gap_s: float | None = None,
) -> Aligned:
    """Put several feature sets of one clip or entity on one time grid. A row that is not valid counts as absent.

    The *step* of a feature set is 1 / its rate, or without a rate the median distance of its rows. Gaps stay gaps.
    The only row of a set without a rate (a pooled feature) stands for the whole clip, in each of the three ways.

    Args:
        store: an open store.
        feature_sets: names. Those of scope `clip` give the series of the whole clip if the entity has none.
        clip_id: clip.
        entity_id: entity, None for the whole clip.
        grid: exact bins per second (a whole number, a Fraction, or text like `30000/1001`): bin k is
            [k / rate, (k + 1) / rate), at its centre. Or the name of a feature set: the moments of its rows, each
            with a bin that reaches half-way to its neighbours, at most half a step; it may be one of texts.
        how: `nearest`: the nearest valid row, if it is within half of the grid's step or half of the set's own,
            whichever is larger; the earlier of two as near as each other. `mean`: the mean of all valid rows in the
            bin; a bin without any takes the nearest valid row within half of the set's own step. `linear`: between
            two neighbouring rows that are both valid and at most 1.5 steps apart, or on a valid row.
        start_s: only moments from here on; None: from the clip's start, or the first row if that is earlier.
        stop_s: only moments before this; None: to the end of the last row of any of the sets.
        max_gap_s: the largest distance of two rows that have no gap between them: for `linear` it replaces the 1.5
            steps, for `nearest` half of it replaces the half step; `mean` has no use for it.

    Returns:
        `.times` (T,), `.values` name -> (T, D) float32, `.valid` name -> (T,). T is 0 if there is no moment.

    Raises:
        NotFound: if a feature set or its series is not there.
        BadInput: for an inexact rate, another `how`, a reversed range, texts, or values that float32 cannot hold.
        Corrupt: if stored rows do not agree with their checksum.
    """
    _check(feature_sets, how, max_gap_s)
    start, stop = window(start_s, stop_s)
    for name in feature_sets:
        if store.spec(name).is_text:
            raise BadInput(
                f"Feature set `{name}` was to be put on a time grid.",
                "Its rows are texts, not numbers.",
                "Take them with `read`; as `grid`, their times can be the moments for others.",
            )
    series = {name: _read(store, name, clip_id, entity_id) for name in feature_sets}
    clocks = {name: _clock(store, name, rows) for name, rows in series.items()}
    moments = _moments(store, grid, clocks, (clip_id, entity_id), (start, stop))
    values, valid = {}, {}
    for name, rows in series.items():
        with np.errstate(over="ignore", invalid="ignore"):  # becomes Inf or NaN, which is found below
            values[name], valid[name] = _WAYS[how](rows, clocks[name], moments, max_gap_s)
        if rows.values.dtype.itemsize > 4 and not np.isfinite(values[name]).all():
            raise BadInput(
                f"Feature set `{name}` was put on a time grid, as float32.",
                f"It has {rows.values.dtype} values beyond that.",
                "Take it as it is with `read`.",
            )
    return Aligned(np.array(moments.times), values, valid)


def _check(feature_sets: Sequence[str], how: str, max_gap_s: float | None) -> None:
    asked = "Feature sets were to be put on one time grid."
    if isinstance(feature_sets, str) or not feature_sets:
        raise BadInput(asked, f"They are {feature_sets!r}.", "Give a list of names.")
    if how not in _WAYS:
        raise BadInput(asked, f"The way is {how!r}. {nearest(str(how), list(_WAYS))}", "Choose one of these.")
    if max_gap_s is not None and not max_gap_s >= 0:
        raise BadInput(asked, f"The largest gap is {max_gap_s} s.", "Give 0 seconds or more.")


def _read(store: FeatureStore, name: str, clip_id: str, entity_id: str | None) -> Series:
    """Read a series; what describes the whole clip describes each entity in it."""
    if entity_id is not None and store.spec(name).scope == "clip" and store.missing(name, [(clip_id, entity_id)]):
        entity_id = None
    return store.read(name, clip_id, entity_id)


def _clock(store: FeatureStore, name: str, rows: Series) -> Clock:
    timebase = store.spec(name).timebase
    return Clock.of(rows.times, None if timebase is None else timebase.rate_hz)


def _moments(
    store: FeatureStore,
    grid: Fraction | int | str,
    clocks: dict[str, Clock],
    key: tuple[str, str | None],
    window_s: tuple[float | None, float | None],
) -> Grid:
    """Return the grid that was asked for: a rate, or the rows of one of the sets or of another set in the store."""
    if isinstance(grid, str) and grid in clocks:
        return row_grid(clocks[grid]).cut(*window_s)
    if isinstance(grid, str) and not grid[:1].isdigit():
        return row_grid(_clock(store, grid, _read(store, grid, *key))).cut(*window_s)
    return rate_grid(exact_rate(grid), list(clocks.values()), *window_s)
