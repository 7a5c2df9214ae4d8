"""What may be stored, and in which form."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cuebank.store import BadInput, FeatureStore
from cuebank.store.series import check_series, finite

TIMES, VALID = [0.0, 1.0], [True, True]


def check(dtype, values, times=TIMES, valid=VALID):
    return check_series("Series ('a', None)", len(values[0]), np.dtype(dtype), values, times, valid)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("given", ["float16", "float32", "float64", "uint8", "int32", "int64", "bool", ">f4", ">i8"])
def test_numbers_are_converted_to_the_stored_type(dtype, given):
    values = np.array([[0, 1], [1, 0]], given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series = check(dtype, values)
    assert series.values.dtype == np.dtype(dtype)
    assert series.values.tolist() == [[0, 1], [1, 0]]
    assert series.values.flags.c_contiguous
    assert (series.times.dtype, series.valid.dtype) == (np.float64, bool)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float16", 70000.0),
        ("float16", -1e30),
        ("float32", 1e39),
        ("float16", np.nan),
        ("float32", np.inf),
        ("float64", -np.inf),
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", 1.5),
        ("uint8", np.nan),
        ("int64", 2.0**63),
        ("int64", np.inf),
    ],
)
def test_a_value_the_stored_type_cannot_hold_is_refused_with_its_place(dtype, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadInput, match=rf"Row 1, column 0 .*{dtype}"):
            check(dtype, np.array([[0, 1], [value, 1]]))


def test_the_largest_numbers_of_a_type_are_kept():
    assert check("float16", [[65504.0], [-65504.0]]).values.tolist() == [[65504], [-65504]]
    assert check("uint8", [[255.0], [0]]).values.tolist() == [[255], [0]]
    assert check("int64", [[2**63 - 1], [-(2**63)]]).values.tolist() == [[2**63 - 1], [-(2**63)]]
    assert check("float32", [[1e-46], [3e38]]).values[0, 0] == 0  # too small is zero, not an error


def test_rows_that_are_not_valid_may_hold_anything_and_are_stored_as_zeros():
    values = np.array([[np.nan, 1e30], [1, 2]])
    series = check("float16", values, valid=[False, True])
    assert series.values.tolist() == [[0, 0], [1, 2]]
    assert np.isnan(values[0, 0])  # the caller's array is left alone


@pytest.mark.parametrize(
    "times", [[1.0, 0.5], [0, np.nan], [np.inf, np.inf], [[0, 1]], [0], ["a", "b"], [0j, 1j], [True, True]]
)
def test_times_that_are_no_clock_are_refused(times):
    with pytest.raises(BadInput):
        check("float32", [[1], [2]], times)


def test_equal_times_are_allowed():
    assert check("float32", [[1], [2]], [3, 3]).times.tolist() == [3, 3]


@pytest.mark.parametrize("valid", [[1, 0], [True], [[True, True]], ["yes", "no"], [1.0, 0.0]])
def test_flags_that_are_no_flags_are_refused(valid):
    with pytest.raises(BadInput):
        check("float32", [[1], [2]], valid=valid)


@pytest.mark.parametrize(
    "values", [[["a"], ["b"]], [[None], [1]], [[1j], [2]], [1, 2], [[[1]], [[2]]], [[1, 2], [3, 4]]]
)
def test_values_of_another_shape_or_kind_are_refused(values):
    with pytest.raises(BadInput):
        check_series("Series", 1, np.dtype("float32"), values, TIMES, VALID)


def test_a_refused_series_leaves_what_is_pending_as_it_was(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        store.write("demo.x", "new", None, *make_series(1))
        before = store.pending_series, store.pending_bytes
        with pytest.raises(BadInput, match=r"\('bad new', None\) of feature set `demo\.x`"):
            store.write("demo.x", "bad new", None, [[np.nan] * 3], [0], [True])
        assert (store.pending_series, store.pending_bytes) == before
        store.commit()
        assert store.missing("demo.x", [("new", None), ("bad new", None)]) == [("bad new", None)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_finite_agrees_with_numpy(dtype):
    values = np.array([[0, -0.0, 1], [np.nan, np.inf, -np.inf], [65504, 6e-8, -1]], dtype)
    assert np.array_equal(finite(values), np.isfinite(values))
    assert finite(values[::2].copy()) is True
    assert finite(values[:0]) is True
