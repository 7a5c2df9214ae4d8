"""The rows in a range of time, computed or searched, are those whose times are in it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cuebank.store import BadInput
from cuebank.store.windows import Stretch

seconds = st.one_of(st.none(), st.floats(-5, 30), st.sampled_from([-math.inf, math.inf, 1e300]))
rates = st.sampled_from([50.0, 30000 / 1001, 3.0])


def by_looking(times, first, last, start_s, stop_s):
    start, stop = -math.inf if start_s is None else start_s, math.inf if stop_s is None else stop_s
    inside = [i for i in range(first, last) if start <= times[i] < stop]
    return (inside[0], inside[-1] + 1) if inside else None


def check(times, first, last, start_s, stop_s, rate=None):
    if start_s is not None and stop_s is not None and start_s > stop_s:
        start_s, stop_s = stop_s, start_s
    stretch = Stretch(first, last)
    for _ in range(2):  # the second time, it is known how regular the series is
        found = stretch.between(times, start_s, stop_s, rate)
        assert first <= found[0] <= found[1] <= last
        expected = by_looking(times, first, last, start_s, stop_s)
        assert found == expected if expected else found[0] == found[1]


@given(st.integers(0, 60), rates, st.floats(-1, 5), seconds, seconds, st.integers(0, 3))
def test_rows_of_a_regular_series_are_computed_as_if_they_were_searched(rows, rate, origin, start_s, stop_s, before):
    times = np.concatenate([np.full(before, 99.0), origin + np.arange(rows) / rate, np.full(2, -99.0)])
    for known in (None, rate, rate + 1e-9, 2 * rate):
        check(times, before, before + rows, start_s, stop_s, known)


@given(st.integers(1, 60), rates, st.integers(0, 59), st.integers(0, 59), st.integers(-2, 2))
def test_a_range_that_ends_on_rows_or_a_hair_beside_them_is_cut_there(rows, rate, row, other, hairs):
    times = 0.0125 + np.arange(rows) / rate
    ends = times[[min(row, rows - 1), min(other, rows - 1)]]
    for _ in range(abs(hairs)):
        ends = np.nextafter(ends, math.copysign(math.inf, hairs))
    check(times, 0, rows, *ends.tolist())
    check(times, 0, rows, *ends.tolist(), rate)
    check(times, 0, rows, ends[0], None)


@given(st.integers(1, 20), rates, st.integers(-3, 23), st.integers(-3, 23), st.floats(0, 1), st.floats(0, 1))
def test_a_range_that_ends_between_rows_or_just_outside_the_series_is_cut_there(rows, rate, row, other, part, rest):
    times = np.concatenate([[-9.0], 0.0125 + np.arange(rows) / rate, [99.0]])
    check(times, 1, rows + 1, 0.0125 + (row + part) / rate, 0.0125 + (other + rest) / rate, rate)


@given(st.lists(st.floats(0, 20), max_size=30), seconds, seconds)
@example([0.0, 2.3e-309], 0.0, 1.0)  # no number holds the rate of these
def test_rows_of_an_irregular_series_are_searched(times, start_s, stop_s):
    check(np.sort(np.array(times, float)), 0, len(times), start_s, stop_s)


@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 3), st.sampled_from([1e-7, 1e-6, 0.3, 3.0]))
def test_rows_of_a_nearly_regular_series_are_searched_nearby(seed, start_s, stop_s, jitter):
    rng = np.random.default_rng(seed)
    times = np.sort(np.arange(100) + rng.uniform(-jitter, jitter, 100)) / 50
    check(times, 0, 100, start_s, stop_s)
    check(times, 0, 100, start_s, stop_s, 50.0)
    check(np.delete(times, range(40, 60)), 0, 80, start_s, stop_s, 50.0)


def test_the_times_of_a_regular_series_are_not_looked_at_again_unless_in_doubt():
    times = 0.01 + np.arange(100) / 50
    stretch = Stretch(0, 100)
    assert stretch.between(times, 0.5, 1.0) == (25, 50)
    never = np.full(100, math.nan)  # not before any moment
    assert stretch.between(never, 0.5, 1.0) == (25, 50)
    assert stretch.between(never, 0.51, 1.0) == (25, 50)
    assert stretch.between(times, np.nextafter(0.51, 0), 1.0) == (25, 50)
    assert stretch.between(times, np.nextafter(times[25], 9), 1.0) == (26, 50)


@pytest.mark.parametrize("ends", [(1.0, 0.0), (math.nan, None), (None, math.nan), (math.nan, 1.0)])
def test_reversed_ranges_and_nan_are_refused(ends):
    with pytest.raises(BadInput, match="range of time"):
        Stretch(0, 3).between(np.arange(3.0), *ends)
