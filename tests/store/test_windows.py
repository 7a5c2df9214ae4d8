"""The rows in a range of time, computed or searched, are those whose times are in it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuebank.store import BadInput
from cuebank.store.windows import regular_clock, rows_between

seconds = st.one_of(st.none(), st.floats(-5, 30), st.sampled_from([-math.inf, math.inf, 1e300]))


def by_looking(times, rows, start_s, stop_s):
    start, stop = -math.inf if start_s is None else start_s, math.inf if stop_s is None else stop_s
    inside = [i for i in range(*rows) if start <= times[i] < stop]
    return (inside[0], inside[-1] + 1) if inside else None


def check(times, rows, start_s, stop_s, clock):
    if start_s is not None and stop_s is not None and start_s > stop_s:
        start_s, stop_s = stop_s, start_s
    first, last = rows_between(times, rows, start_s, stop_s, clock)
    assert rows[0] <= first <= last <= rows[1]
    expected = by_looking(times, rows, start_s, stop_s)
    assert (first, last) == expected if expected else first == last


@given(
    st.integers(0, 60),
    st.sampled_from([50.0, 30000 / 1001, 3.0]),
    st.floats(-1, 5),
    seconds,
    seconds,
    st.integers(0, 3),
)
def test_rows_of_a_regular_series_are_computed_as_if_they_were_searched(rows, rate, begin, start_s, stop_s, before):
    times = np.concatenate([np.full(before, 99.0), begin + np.arange(rows) / rate, np.full(2, -99.0)])
    clock = regular_clock(times[before : before + rows], rate)
    assert (clock is None) == (rows == 0)
    check(times, (before, before + rows), start_s, stop_s, clock)


@given(st.integers(1, 60), st.sampled_from([50.0, 30000 / 1001, 1.0]), st.integers(0, 59), st.integers(-2, 2))
def test_a_range_that_ends_on_a_row_or_a_hair_beside_it_is_cut_there(rows, rate, row, hairs):
    times = 0.0125 + np.arange(rows) / rate
    moment = times[min(row, rows - 1)]
    for _ in range(abs(hairs)):
        moment = np.nextafter(moment, math.copysign(math.inf, hairs))
    clock = regular_clock(times, rate)
    check(times, (0, rows), float(moment), None, clock)
    check(times, (0, rows), None, float(moment), clock)


@given(st.integers(1, 20), st.sampled_from([50.0, 30000 / 1001, 1.0]), st.integers(-3, 23), st.floats(0, 1))
def test_a_range_that_ends_between_two_rows_or_just_outside_the_series_is_cut_there(rows, rate, row, part):
    times = np.concatenate([[-9.0], 0.0125 + np.arange(rows) / rate, [99.0]])
    clock = regular_clock(times[1:-1], rate)
    moment = 0.0125 + (row + part) / rate
    check(times, (1, rows + 1), moment, None, clock)
    check(times, (1, rows + 1), None, moment, clock)


@given(st.lists(st.floats(0, 20), max_size=30), seconds, seconds)
def test_rows_of_an_irregular_series_are_searched(times, start_s, stop_s):
    times = np.sort(np.array(times, float))
    check(times, (0, len(times)), start_s, stop_s, None)


def test_a_series_with_a_hole_or_another_rate_is_not_regular():
    times = np.arange(10) / 50
    assert regular_clock(times, 50.0) == (0.0, 50.0)
    assert regular_clock(times, 49.0) is None
    assert regular_clock(np.delete(times, 5), 50.0) is None
    assert regular_clock(times, None) is None
    assert regular_clock(times[:0], 50.0) is None


@pytest.mark.parametrize("ends", [(1.0, 0.0), (math.nan, None), (None, math.nan), (math.nan, 1.0)])
def test_reversed_ranges_and_nan_are_refused(ends):
    with pytest.raises(BadInput, match="range of time"):
        rows_between(np.arange(3.0), (0, 3), *ends)
