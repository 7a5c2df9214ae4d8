"""The values of a series at the moments of a grid: the nearest row, the mean over a bin, or between two rows.

A row that is not valid counts as absent, and what is absent stays absent: nothing is held or interpolated across a gap.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .grid import SLACK_S, Clock, Grid
from .halves import copier
from .series import Series

GAP_STEPS = 1.5  # neighbours further apart than this many steps have a gap between them
BLOCK_ROWS = 4096  # rows taken at a time: bounds the memory for what lies between the file and the result

Resampled = tuple[np.ndarray, np.ndarray]  # values (T, D) float32, zeros where not valid; valid (T,) bool


def take_nearest(rows: Series, clock: Clock, grid: Grid, max_gap_s: float | None) -> Resampled:
    """Return the nearest valid row of each moment, if it is within half of the larger of the two steps.

    With `max_gap_s`, half of that is the limit instead.
    """
    reach = (max(clock.step_s, grid.step_s) if max_gap_s is None else max_gap_s) / 2
    return _hold(rows, clock, grid, reach)


def take_mean(rows: Series, clock: Clock, grid: Grid, max_gap_s: float | None) -> Resampled:
    """Return the mean of the valid rows in each bin; without any, the nearest within half of the series' own step.

    Sums are of float64. `max_gap_s` has no meaning here.
    """
    rows = _present(rows)
    first, last = rows.times.searchsorted(grid.starts), rows.times.searchsorted(grid.stops)
    filled = last > first
    values = np.zeros((len(grid.times), rows.values.shape[1]), np.float32)
    # Moments at one time have one bin, which is added up once.
    at = np.flatnonzero(filled)
    new = np.ones(len(at), bool)
    new[1:] = first[at[1:]] != first[at[:-1]]
    own = at[new]
    for block, sums in _sums(rows.values, first[own], last[own]):
        values[own[block]] = sums / (last - first)[own[block], None]
    if len(own) < len(at):
        values[at] = values[own[np.cumsum(new) - 1]]
    empty = np.flatnonzero(~filled)
    if len(empty):
        bare = Grid(grid.times[empty], grid.starts[empty], grid.stops[empty], grid.step_s)
        values[empty], filled[empty] = _hold(rows, clock, bare, clock.step_s / 2)
    return values, filled


def take_linear(rows: Series, clock: Clock, grid: Grid, max_gap_s: float | None) -> Resampled:
    """Return the values on the line between the two rows around each moment.

    Both must be valid and not further apart than `max_gap_s`, or 1.5 steps. A moment on a row has that row's values.
    """
    if np.isinf(clock.step_s):
        return _hold(rows, clock, grid, clock.step_s)
    values = np.zeros((len(grid.times), rows.values.shape[1]), np.float32)
    valid = np.zeros(len(grid.times), bool)
    if not len(rows.times):
        return values, valid
    gap_s = GAP_STEPS * clock.step_s if max_gap_s is None else max_gap_s
    before = rows.times.searchsorted(grid.times + SLACK_S, side="right") - 1  # the last row not after the moment
    left, right = np.maximum(before, 0), np.minimum(before + 1, len(rows.times) - 1)
    since, between = grid.times - rows.times[left], rows.times[right] - rows.times[left]
    on_row = (before >= 0) & (since <= SLACK_S)
    inside = (before >= 0) & (right > left) & (between <= gap_s + SLACK_S) & rows.valid[right]
    valid[:] = (on_row | inside) & rows.valid[left]
    weight = np.zeros(len(valid), np.float32)
    np.divide(since, between, out=weight, where=valid & ~on_row, casting="same_kind")
    right = np.where(on_row, left, right)
    for block in _blocks(np.flatnonzero(valid)):
        share = weight[block, None]
        earlier, later = _take(rows.values, left[block]), _take(rows.values, right[block])
        # Not `earlier + share * (later - earlier)`: that difference can overflow.
        earlier *= 1 - share
        later *= share
        values[block] = np.add(earlier, later, out=earlier)
    return values, valid


def _hold(rows: Series, clock: Clock, grid: Grid, reach_s: float) -> Resampled:
    """Return the nearest valid row of each moment if it is within `reach_s`; a row for the whole clip always is."""
    values = np.zeros((len(grid.times), rows.values.shape[1]), np.float32)
    rows = _present(rows)
    if not len(rows.times):
        return values, np.zeros(len(values), bool)
    after = np.minimum(rows.times.searchsorted(grid.times), len(rows.times) - 1)
    before = np.maximum(after - 1, 0)
    to_before, to_after = np.abs(grid.times - rows.times[before]), np.abs(rows.times[after] - grid.times)
    later = to_after < to_before - SLACK_S  # rounding must not decide between two rows as near as each other
    valid = np.where(later, to_after, to_before) <= (np.inf if np.isinf(clock.step_s) else reach_s) + SLACK_S
    which = rows.times.searchsorted(rows.times[np.where(later, after, before)])  # the first of rows at one moment
    for block in _blocks(np.flatnonzero(valid)):
        values[block] = _take(rows.values, which[block])
    return values, valid


def _present(rows: Series) -> Series:
    return rows if rows.valid.all() else Series(*(array[rows.valid] for array in rows))


def _blocks(places: np.ndarray) -> Iterator[np.ndarray]:
    return (places[i : i + BLOCK_ROWS] for i in range(0, len(places), BLOCK_ROWS))


def _take(values: np.ndarray, which: np.ndarray | slice) -> np.ndarray:
    """Return rows `which` of `values` as float32."""
    rows = values[which]
    if rows.dtype.itemsize > 4:
        return rows.astype(np.float32)
    taken = np.empty(rows.shape, np.float32)
    copier(rows.dtype, taken.dtype)(rows, taken)
    return taken


def _sums(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (bins, float64 sums of their rows `first` to `last`), some bins at a time; no bin is empty."""
    begin = 0
    while begin < len(first):
        # As many bins as fit into a block of rows, and at least one.
        end = max(begin + 1, int(last.searchsorted(first[begin] + BLOCK_ROWS, side="right")))
        yield slice(begin, end), _sums_of_block(values, first[begin:end], last[begin:end])
        begin = end


def _sums_of_block(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    if last[0] - first[0] > BLOCK_ROWS:  # one long bin
        parts = (values[i : min(i + BLOCK_ROWS, last[0])] for i in range(first[0], last[0], BLOCK_ROWS))
        return sum(_wide(part).sum(axis=0, dtype=np.float64) for part in parts)[None]
    rows = _wide(values[first[0] : last[-1]])
    if np.array_equal(first[1:], last[:-1]):
        return np.add.reduceat(rows, first - first[0], axis=0, dtype=np.float64)
    bounds = np.stack([first, last], axis=1).reshape(-1)[:-1] - first[0]
    # What lies between two bins is added up too, and left out.
    return np.add.reduceat(rows, bounds, axis=0, dtype=np.float64)[0::2]


def _wide(values: np.ndarray) -> np.ndarray:
    """Return numbers in a type in which they are exact, and float64 sums of them quick."""
    return values.astype(np.float64) if values.dtype.itemsize > 4 else _take(values, slice(None))
