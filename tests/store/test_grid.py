"""Time grids: exact over hours, complete, and the same whatever range of them is asked for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuebank.store import BadInput
from cuebank.store.grid import Clock, exact_rate, rate_grid, row_grid, window

NTSC = Fraction(30000, 1001)


def whole(rate, seconds):
    return rate_grid(rate, [], 0.0, seconds)


@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(50), Fraction(1, 7), Fraction(44100, 512)])
def test_every_moment_and_bound_is_the_rounded_exact_fraction_even_after_ten_hours(rate):
    grid = whole(rate, 36000.0)
    for k in [*range(20), *range(len(grid.times) - 20, len(grid.times))]:
        assert grid.times[k] == float(Fraction(2 * k + 1, 2) / rate)
        assert grid.starts[k] == float(k / rate)
        assert grid.stops[k] == float((k + 1) / rate)
    assert len(grid.times) == math.ceil(36000 * rate - Fraction(1, 2))


def test_bins_touch_without_a_hole_or_an_overlap():
    grid = whole(NTSC, 10000.0)
    assert np.array_equal(grid.starts[1:], grid.stops[:-1])
    assert ((grid.starts < grid.times) & (grid.times < grid.stops)).all()


@given(
    st.fractions(Fraction(1, 100), 100, max_denominator=1001),
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
)
def test_neighbouring_ranges_share_no_moment_and_lose_none(rate, ends):
    first, middle, last = sorted(ends)
    parts = [rate_grid(rate, [], first, middle).times, rate_grid(rate, [], middle, last).times]
    complete = rate_grid(rate, [], first, last).times
    assert np.array_equal(np.concatenate(parts), complete)
    assert all(first <= time < last for time in complete)


def test_a_grid_without_a_range_goes_from_the_clips_start_to_the_end_of_the_last_row():
    rows = Clock.of(np.array([3.5, 4.5, 5.5]), Fraction(1))
    assert rate_grid(Fraction(2), [rows], None, None).times.tolist() == [k / 2 + 0.25 for k in range(12)]
    early = Clock.of(np.array([-1.5, -0.5]), Fraction(1))
    assert rate_grid(Fraction(1), [early], None, None).times.tolist() == [-1.5, -0.5]
    coarse = Clock.of(np.array([0.1, 9.2]), Fraction(50))
    assert rate_grid(Fraction(1), [coarse], None, None).times[-1] == 9.5
    assert not len(rate_grid(Fraction(1), [], None, None).times)


def test_the_last_row_has_a_bin_even_where_its_time_is_rounded_down_from_the_bound():
    for k in range(1, 4000):
        row = Clock(np.array([float(k / NTSC)]), 1e-6)
        grid = rate_grid(NTSC, [row], None, None)
        assert grid.starts[-1] <= row.times[0] < grid.stops[-1]


def test_the_bins_of_rows_reach_half_way_but_never_into_a_gap():
    grid = row_grid(Clock(np.array([0.0, 1.0, 1.5, 9.0]), 1.0))
    assert grid.starts.tolist() == [-0.5, 0.5, 1.25, 8.5]
    assert grid.stops.tolist() == [0.5, 1.25, 2.0, 9.5]


def test_the_bins_of_neighbouring_rows_share_their_bound_to_the_last_bit():
    times = (np.arange(100_000) + 0.5) * 1001 / 30000
    grid = row_grid(Clock.of(times, NTSC))
    assert np.array_equal(grid.starts[1:], grid.stops[:-1])


@pytest.mark.parametrize("rate", [NTSC, Fraction(50), Fraction(3), Fraction(44100, 512)])
def test_a_series_of_whole_bins_gets_one_bin_for_each_row(rate):
    times = whole(rate, 60.0).times
    for rows in range(1, len(times) + 1):
        assert len(rate_grid(rate, [Clock.of(times[:rows], rate)], None, None).times) == rows


def test_rows_at_one_moment_have_one_bin_and_a_lone_row_without_a_rate_has_all_time():
    grid = row_grid(Clock(np.array([0.0, 1.0, 1.0, 2.0]), 1.0))
    assert grid.starts.tolist() == [-0.5, 0.5, 0.5, 1.5]
    assert grid.stops.tolist() == [0.5, 1.5, 1.5, 2.5]
    lone = row_grid(Clock.of(np.array([4.0]), None))
    assert (lone.starts[0], lone.stops[0]) == (-math.inf, math.inf)
    assert not len(row_grid(Clock.of(np.empty(0), None)).times)


def test_the_step_is_the_rates_or_else_the_median_distance_of_rows_that_differ():
    assert Clock.of(np.array([0.0, 5.0]), NTSC).step_s == 1001 / 30000
    assert Clock.of(np.array([0.0, 1.0, 1.0, 1.0, 2.0, 9.0]), None).step_s == 1.0
    assert Clock.of(np.array([3.0, 3.0]), None).step_s == 0.0


@pytest.mark.parametrize("rate", ["30000/1001", NTSC])
def test_exact_rates_are_accepted(rate):
    assert exact_rate(rate) == NTSC
    assert exact_rate(np.int64(25)) == exact_rate("25") == 25


@pytest.mark.parametrize("rate", [29.97, "29.97", 0, -1, "1/0", "0/5", True, None, "1e9", "", Fraction(-1, 2)])
def test_rates_that_are_not_exact_and_positive_are_refused(rate):
    with pytest.raises(BadInput, match="not an exact positive number"):
        exact_rate(rate)


def test_a_grid_finer_than_float64_seconds_is_refused():
    with pytest.raises(BadInput, match="finer than float64"):
        rate_grid(Fraction(10**15), [], 0.0, 100.0)


@pytest.mark.parametrize("ends", [(1, 0.5), (math.nan, None), (None, math.inf), ("soon", 1)])
def test_ranges_that_are_reversed_or_no_finite_numbers_are_refused(ends):
    with pytest.raises(BadInput, match="range of time"):
        window(*ends)
