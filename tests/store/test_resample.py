"""Values at the moments of a grid agree with a slow implementation that looks at each row and moment by itself."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuebank.store import Series
from cuebank.store import resample as module
from cuebank.store.grid import Clock, Grid, rate_grid, row_grid
from cuebank.store.resample import take_linear, take_mean, take_nearest

EXACT = Fraction(1, 10**9)  # the slack of a nanosecond, in exact arithmetic


def slow_nearest(rows, moment, reach):
    """The nearest valid row within reach, the earlier of two."""
    found = None
    for time, value, valid in rows:
        distance = abs(Fraction(time) - Fraction(moment))
        if valid and distance <= reach + EXACT and (found is None or distance < found[0] - EXACT):
            found = distance, value
    return None if found is None else found[1]


def slow_mean(rows, start, stop, moment, reach):
    inside = [value for time, value, valid in rows if valid and start <= time < stop]
    if inside:
        return [float(sum(Fraction(v[d]) for v in inside) / len(inside)) for d in range(len(inside[0]))]
    return slow_nearest(rows, moment, reach)


def slow_linear(rows, moment, gap):
    """On a row, or between two neighbours."""
    for time, value, valid in reversed(rows):
        if abs(time - moment) <= EXACT:
            return value if valid else None
    for (t0, v0, ok0), (t1, v1, ok1) in pairwise(rows):
        if t0 < moment < t1:
            if not (ok0 and ok1) or Fraction(t1) - Fraction(t0) > gap + EXACT:
                return None
            share = (Fraction(moment) - Fraction(t0)) / (Fraction(t1) - Fraction(t0))
            return [float(Fraction(a) * (1 - share) + Fraction(b) * share) for a, b in zip(v0, v1, strict=True)]
    return None


def slow(how, series, clock, grid, gap):
    rows = [(t, [float(v) for v in value], ok) for value, t, ok in zip(*series, strict=True)]
    step = 10**9 if math.isinf(clock.step_s) else Fraction(clock.step_s)
    lone = math.isinf(clock.step_s)
    grid_step = 10**9 if math.isinf(grid.step_s) else Fraction(grid.step_s)
    expected = []
    for moment, start, stop in zip(grid.times, grid.starts, grid.stops, strict=True):
        if lone or how == "nearest":
            reach = max(step, grid_step) / 2 if gap is None or lone else Fraction(gap) / 2
            expected.append(slow_nearest(rows, moment, reach))
        elif how == "mean":
            expected.append(slow_mean(rows, start, stop, moment, step / 2))
        else:
            expected.append(slow_linear(rows, moment, step * Fraction(3, 2) if gap is None else Fraction(gap)))
    return expected


@st.composite
def some_series(draw):
    """Rows on a lattice of 1/64 s, with holes, jitter, repeated times and invalid rows; perhaps one, perhaps none."""
    steps = draw(st.lists(st.sampled_from([0, 1, 2, 2, 2, 2, 3, 4, 5, 40]), max_size=25))
    times = (np.cumsum([draw(st.integers(-10, 60)), *steps]) / 64)[: draw(st.sampled_from([0, 1, 99, 99, 99]))]
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    valid = rng.random(len(times)) < draw(st.sampled_from([0.5, 0.9, 1.0]))
    dtype = draw(st.sampled_from(["float16", "float32", "float64", "uint8", "int64"]))
    values = np.where(valid[:, None], rng.integers(0, 200, (len(times), 2)), 0).astype(dtype)
    return Series(values, times, valid)


rates = st.sampled_from([None, Fraction(32), Fraction(64), Fraction(30000, 1001), Fraction(3)])
WAYS = {"nearest": take_nearest, "mean": take_mean, "linear": take_linear}


def agree(how, series, clock, grid, gap):
    values, valid = WAYS[how](series, clock, grid, gap)
    assert values.dtype == np.float32
    assert values.shape == (len(grid.times), series.values.shape[1])
    expected = slow(how, series, clock, grid, gap)
    assert valid.tolist() == [row is not None for row in expected]
    assert not values[~valid].any()
    for row, wanted in zip(values[valid], [row for row in expected if row is not None], strict=True):
        np.testing.assert_allclose(row, wanted, rtol=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    some_series(),
    some_series(),
    rates,
    st.sampled_from(sorted(WAYS)),
    st.sampled_from([Fraction(25), Fraction(64), Fraction(30000, 1001), Fraction(2), None]),
    st.sampled_from([None, None, 0.0, 1 / 32, 0.11, 5.0]),
)
def test_any_series_on_any_grid_is_what_a_slow_reference_says(series, other, rate, how, grid_rate, gap):
    clock = Clock.of(series.times, rate)
    grid = row_grid(Clock.of(other.times, rate)) if grid_rate is None else rate_grid(grid_rate, [clock], None, None)
    agree(how, series, clock, grid, gap)


@pytest.mark.parametrize("how", sorted(WAYS))
def test_blocks_of_rows_join_without_a_seam(how, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 3)
    rng = np.random.default_rng(3)
    times = np.arange(100) / 32
    series = Series(rng.integers(0, 99, (100, 3)).astype(np.float16), times, rng.random(100) < 0.9)
    clock = Clock.of(times, Fraction(32))
    for rate in (Fraction(100), Fraction(32), Fraction(7), Fraction(1), Fraction(1, 5)):
        agree(how, series, clock, rate_grid(rate, [clock], None, None), None)
    agree(how, series, clock, row_grid(Clock.of(np.sort(rng.choice(times, 30)), None)), None)


def regular(rows, rate, dtype="float32", dim=1):
    times = np.array([float(k / rate) for k in range(rows)])
    values = np.arange(rows * dim, dtype=dtype).reshape(rows, dim)
    return Series(values, times, np.ones(rows, bool)), Clock.of(times, rate)


def test_rows_at_30000_1001_are_where_they_belong_after_six_hours():
    rate, rows = Fraction(30000, 1001), 647_353
    series, clock = regular(rows, rate, "float64")
    grid = rate_grid(Fraction(25), [clock], None, None)
    values, valid = take_nearest(series, clock, grid, None)
    assert valid.all()
    for k in [*range(50), *range(len(values) - 50, len(values))]:
        exact = Fraction(2 * k + 1, 50) * rate  # the row number, as a fraction
        assert abs(Fraction(float(values[k, 0])) - exact) <= Fraction(1, 2) or k == len(values) - 1
    lines, sure = take_linear(series, clock, grid, None)
    last = len(values) - 3
    assert sure[:last].all()
    np.testing.assert_allclose(lines[:last, 0], [float(Fraction(2 * k + 1, 50) * rate) for k in range(last)], rtol=2e-7)


def test_mean_of_bins_at_the_series_own_rate_is_the_series_for_six_hours():
    rate, rows = Fraction(30000, 1001), 647_353
    series, clock = regular(rows, rate)
    values, valid = take_mean(series, clock, rate_grid(rate, [clock], None, None), None)
    assert valid.all()
    assert np.array_equal(values, series.values)


def test_means_neither_overflow_halves_nor_drown_small_rows_in_a_long_sum():
    times = np.arange(50_000) / 50
    values = np.full((50_000, 2), 60_000, np.float16)
    values[:, 1] = np.where(np.arange(50_000) % 2, 0.1, 2.0)
    series, clock = Series(values, times, np.ones(50_000, bool)), Clock.of(times, Fraction(50))
    means, valid = take_mean(series, clock, rate_grid(Fraction(1, 1000), [clock], None, None), None)
    assert valid.tolist() == [True]
    assert means[0, 0] == 60_000
    assert means[0, 1] == np.float32((float(np.float16(0.1)) + 2) / 2)


def test_two_rows_as_near_as_each_other_are_not_chosen_by_rounding():
    series, clock = regular(2000, Fraction(50))
    grid = Grid(series.times[:-1] + 0.01, series.times[:-1], series.times[1:], 0.02)
    values, _ = take_nearest(series, clock, grid, None)
    assert values[:, 0].tolist() == list(range(1999))


def test_one_lost_row_is_a_gap_for_linear_but_jitter_is_not():
    times = np.array([0.0, 0.02, 0.048, 0.06, 0.1, 0.12])
    series = Series(np.arange(6, dtype=np.float32)[:, None], times, np.ones(6, bool))
    grid = Grid(np.array([0.034, 0.08]), np.zeros(2), np.zeros(2), 0.02)
    values, valid = take_linear(series, Clock(times, 0.02), grid, None)
    assert valid.tolist() == [True, False]
    assert values[0, 0] == pytest.approx(1.5)
    assert take_linear(series, Clock(times, 0.02), grid, 0.04)[1].tolist() == [True, True]


def test_linear_of_the_largest_numbers_does_not_overflow():
    top = float(np.finfo(np.float32).max)
    times = np.array([0.0, 1.0])
    series = Series(np.array([[-top], [top]], np.float32), times, np.ones(2, bool))
    grid = Grid(np.array([0.5]), np.zeros(1), np.ones(1), 1.0)
    assert take_linear(series, Clock(times, 1.0), grid, None)[0].tolist() == [[0.0]]
