"""The axes of folds: orthogonal, with the energy of the rows along them, the same however they are computed."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.trainers import linear_spaces
from cuebank.trainers.linear_spaces import Rows


def values(n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)) * rng.uniform(0.1, 5, d) + rng.uniform(-5, 5, d)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize(("n", "d"), [(60, 7), (20, 50)])
def test_rows_in_their_axes_have_mean_zero_and_a_diagonal_of_squares(n: int, d: int, standardise: bool) -> None:
    x, train = values(n, d), np.arange(0, n, 2)
    space = Rows(x).space(train, standardise=standardise)
    np.testing.assert_allclose(space.mean, x[train].mean(0), atol=1e-12)
    turned = (x[train] - space.mean) @ space.basis
    np.testing.assert_allclose(turned.T @ turned, np.diag(space.energy), atol=1e-9 * space.energy.max())
    assert (np.diff(space.energy) <= 0).all()
    assert len(space.energy) == min(len(train) - 1, d)  # all that the rows can tell
    scaled = (x[train] - space.mean) / (x[train].std(0) if standardise else 1)
    np.testing.assert_allclose(space.energy.sum(), np.square(scaled).sum(), rtol=1e-10)


def test_blocks_of_rows_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    x, train = values(60, 7), np.arange(5, 50)
    wanted = Rows(x).space(train)
    monkeypatch.setattr(linear_spaces, "BLOCK", 4)
    found = Rows(x).space(train)
    np.testing.assert_allclose(found.energy, wanted.energy, rtol=1e-12)


def test_a_constant_column_has_no_axis_and_is_not_blown_up_by_standardising() -> None:
    x = values(60, 7)
    x[:, 3] = 1e5 / 3
    space = Rows(x.astype(np.float32)).space(np.arange(0, 60, 2), standardise=True)
    assert len(space.energy) == 6
    assert np.abs(space.basis[3]).max() < 1e-6
    assert np.abs(space.basis).max() < 1e3


@pytest.mark.parametrize("standardise", [False, True])
def test_repeated_rows_and_columns_leave_fewer_axes(standardise: bool) -> None:
    x = np.repeat(values(10, 4), 3, 0)
    assert len(Rows(np.hstack([x, x])).space(np.arange(30), standardise=standardise).energy) == 4
    wide = np.tile(values(10, 40), (2, 1))
    assert len(Rows(wide).space(np.arange(20), standardise=standardise).energy) == 9
