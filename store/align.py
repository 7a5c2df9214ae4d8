"""Several feature sets of one clip or entity on one time grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .errors import BadInput, nearest
from .grid import SLACK_S, Clock, Grid, exact_rate, rate_grid, row_grid, window
from .halves import copy_rows
from .series import Series

if TYPE_CHECKING:
    from .feature_store import FeatureStore

MEAN_ROWS = 4096  # rows added up at a time; bounds the memory of the sums
GAP_STEPS = 1.5  # neighbours further apart than this many steps have a gap between them


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

    The *step* of a feature set is 1 / its rate, or without a rate the median distance of its rows. A gap is never
    filled. A single row of a set without a rate (a pooled feature) stands for the whole clip, however it is asked for.

    Args:
        store: an open store.
        feature_sets: names. Those of scope `clip` give the series of the whole clip if the entity has none.
        clip_id: clip.
        entity_id: entity, None for the whole clip.
        grid: exact bins per second (a whole number, a Fraction, or text like `30000/1001`): bin k is
            [k / rate, (k + 1) / rate), at its centre. Or the name of a feature set: the moments of its rows, each
            with a bin that reaches half-way to its neighbours, at most half a step.
        how: `nearest`: the nearest valid row, if it is within half of the grid's step or half of the set's own,
            whichever is larger; the earlier of two as near as each other. `mean`: the mean of all valid rows in the
            bin; a bin without any takes the nearest valid row within half of the set's own step. `linear`: between
            two neighbouring rows that are both valid and at most 1.5 steps apart, or on a valid row.
        start_s: only moments from here on; None: from the clip's start, or the first row if that is earlier.
        stop_s: only moments before this; None: to the end of the last row of any of the sets.
        max_gap_s: the largest distance of two rows that have no gap between them: for `linear` it replaces the 1.5
            steps, for `nearest` half of it replaces the half steps.

    Returns:
        `.times` (T,), `.values` name -> (T, D) float32, `.valid` name -> (T,). T is 0 if there is no moment.

    Raises:
        NotFound: if a feature set or its series is not there.
        BadInput: for an inexact rate, another `how`, a reversed range, or values that float32 cannot hold.
        Corrupt: if stored rows do not agree with their checksum.
    """
    resample = _chosen(feature_sets, how, max_gap_s)
    start, stop = window(start_s, stop_s)
    series = {name: _read(store, name, clip_id, entity_id) for name in feature_sets}
    clocks = {name: _clock(store, name, rows) for name, rows in series.items()}
    if isinstance(grid, str) and grid not in series and not grid[:1].isdigit():
        series_of_grid = _read(store, grid, clip_id, entity_id)
        moments = row_grid(_clock(store, grid, series_of_grid)).cut(start, stop)
    elif isinstance(grid, str) and grid in series:
        moments = row_grid(clocks[grid]).cut(start, stop)
    else:
        moments = rate_grid(exact_rate(grid), list(clocks.values()), start, stop)
    values, valid = {}, {}
    for name, rows in series.items():
        values[name], valid[name] = resample(rows, clocks[name], moments, max_gap_s)
        if rows.values.dtype.itemsize > 4 and not np.isfinite(values[name]).all():
            raise BadInput(
                f"Feature set `{name}` was put on a time grid, as float32.",
                f"It holds {rows.values.dtype} values beyond that.",
                "Read it with `read`.",
            )
    return Aligned(np.array(moments.times), values, valid)


def _chosen(feature_sets: Sequence[str], how: str, max_gap_s: float | None) -> Callable[..., tuple]:
    ways = {"nearest": _nearest, "mean": _mean, "linear": _linear}
    if isinstance(feature_sets, str) or not feature_sets:
        raise BadInput("Feature sets were to be aligned.", f"They are {feature_sets!r}.", "Give a list of names.")
    if how not in ways:
        raise BadInput("Feature sets were to be aligned.", f"How: {how!r}. {nearest(str(how), list(ways))}", "Use one.")
    if max_gap_s is not None and not max_gap_s >= 0:
        raise BadInput("Feature sets were to be aligned.", f"max_gap_s is {max_gap_s}.", "Give seconds, 0 or more.")
    return ways[how]


def _read(store: FeatureStore, name: str, clip_id: str, entity_id: str | None) -> Series:
    """Read a series; what belongs to the whole clip belongs to each entity in it."""
    if entity_id is not None and store.spec(name).scope == "clip" and store.missing(name, [(clip_id, entity_id)]):
        entity_id = None
    return store.read(name, clip_id, entity_id)


def _clock(store: FeatureStore, name: str, rows: Series) -> Clock:
    timebase = store.spec(name).timebase
    return Clock.of(rows.times, None if timebase is None else timebase.rate_hz)


def _empty(rows: Series, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((len(grid.times), rows.values.shape[1]), np.float32), np.zeros(len(grid.times), bool)


def _take(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return rows `which` of `values` as float32."""
    taken = np.empty((len(which), values.shape[1]), np.float32)
    with np.errstate(over="ignore"):  # an overflow becomes Inf, which `align` finds and says in words
        if values.dtype.itemsize > 4:
            np.copyto(taken, values[which], casting="same_kind" if values.dtype.kind == "f" else "unsafe")
        else:
            copy_rows(values[which], taken)
    return taken


def _present(rows: Series) -> Series:
    return rows if rows.valid.all() else Series(*(array[rows.valid] for array in rows))


def _nearest_row(times: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each moment the number of the nearest of `times` (at least one) and its distance."""
    after = np.minimum(times.searchsorted(moments), len(times) - 1)
    before = np.maximum(after - 1, 0)
    to_before, to_after = np.abs(moments - times[before]), np.abs(times[after] - moments)
    later = to_after < to_before - SLACK_S  # rounding must not decide between two rows as near as each other
    return np.where(later, after, before), np.where(later, to_after, to_before)


def _nearest(
    rows: Series, clock: Clock, grid: Grid, max_gap_s: float | None, least_s: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    values, valid = _empty(rows, grid)
    rows = _present(rows)
    if not len(rows.times):
        return values, valid
    reach = (max(clock.step_s, grid.step_s) if max_gap_s is None else max_gap_s) / 2
    if np.isinf(clock.step_s):
        reach = clock.step_s
    which, distance = _nearest_row(rows.times, grid.times)
    valid = distance <= reach + SLACK_S
    values[valid] = _take(rows.values, which[valid])
    return values, valid


def _mean(rows: Series, clock: Clock, grid: Grid, max_gap_s: float | None) -> tuple[np.ndarray, np.ndarray]:
    held = _nearest(rows, clock, Grid(grid.times, grid.starts, grid.stops, 0.0), None)
    return held
