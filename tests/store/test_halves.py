"""All finite halves become the floats that they are."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store import halves

BITS = np.arange(65536, dtype=np.uint16).view(np.float16)
FINITE = BITS[np.isfinite(BITS)]


@pytest.mark.parametrize("columns", [1, 2, 31, 1984, 63488])
def test_all_63488_finite_halves_are_widened_exactly_signed_zeros_and_subnormals_too(columns):
    source = FINITE.reshape(-1, columns)
    target = np.full(source.shape, np.nan, np.float32)
    halves.widen(source, target)
    assert FINITE.size == 63488
    assert np.array_equal(target.view(np.uint32), source.astype(np.float32).view(np.uint32))


def test_rows_of_a_larger_block_are_widened_in_place_and_nothing_beside_them():
    source = np.broadcast_to(FINITE[:100], (300, 100))
    block = np.full((300, 104), 7, np.float32)
    halves.widen(source, block[:, 2:102])
    assert np.array_equal(block[:, 2:102], source.astype(np.float32))
    assert (block[:, [0, 1, 102, 103]] == 7).all()


def test_no_rows_and_no_columns_are_nothing():
    halves.widen(np.empty((0, 5), np.float16), np.empty((0, 5), np.float32))
    halves.widen(np.empty((5, 0), np.float16), np.empty((5, 0), np.float32))


def test_subnormal_halves_survive_where_the_processor_takes_subnormals_for_zero():
    torch = pytest.importorskip("torch")
    source = FINITE.reshape(-1, 64)
    target = np.empty(source.shape, np.float32)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        assert halves.flushes_subnormals()
        halves.copier(source.dtype, target.dtype)(source, target)
    finally:
        torch.set_flush_denormal(False)
    assert not halves.flushes_subnormals()
    assert np.array_equal(target, source.astype(np.float32))
    assert halves.copier(source.dtype, target.dtype) is halves.widen


@pytest.mark.parametrize(("stored", "wanted"), [("float16", "float64"), ("uint8", "float32"), ("float32", "float32")])
def test_other_types_are_copied_as_numpy_does(stored, wanted):
    source = np.arange(12).reshape(3, 4).astype(stored)
    target = np.empty((3, 4), wanted)
    halves.copier(source.dtype, target.dtype)(source, target)
    assert np.array_equal(source, target)
