"""CCC against an independent formula and recorded values; what happens where it does not exist."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.ccc import ccc, ccc_many


def by_covariance_matrix(preds, target) -> float:
    """The formula from numpy's covariance matrix, which divides by n with ddof=0."""
    (var_p, cov), (_, var_y) = np.cov(preds, target, ddof=0)
    return 2 * cov / (var_p + var_y + (np.mean(preds) - np.mean(target)) ** 2)


def pair(n: int, seed: int, offset: float = 0.0, scale: float = 1.0):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=n)
    return (0.6 * target + rng.normal(size=n) * 0.5 + 0.2) * scale + offset, target * scale + offset


@pytest.mark.parametrize(("n", "offset", "scale"), [(2, 0, 1), (3505, 0, 0.1), (50, 1e4, 1), (50, -3, 1e-6)])
def test_ccc_equals_the_formula_from_the_covariance_matrix(n, offset, scale):
    preds, target = pair(n, seed=n, offset=offset, scale=scale)
    assert ccc(preds, target) == pytest.approx(by_covariance_matrix(preds, target), abs=1e-7 if offset else 1e-12)


def test_ccc_has_population_moments_and_not_the_unbiased_ones():
    # Means 1 and 2, deviations ±1 and ±1: population moments give 2 / (1 + 1 + 1), unbiased ones 4 / (2 + 2 + 1).
    assert ccc([0, 2], [1, 3]) == pytest.approx(2 / 3, abs=1e-15)


def test_ccc_is_precise_where_the_spread_is_tiny_beside_the_mean():
    preds, target = pair(100, seed=1)
    far = ccc(preds * 2**-20 + 1, target * 2**-20 + 1)
    assert far == pytest.approx(ccc(preds, target), abs=1e-8)


def test_ccc_of_perfect_and_of_reversed_predictions_is_one_and_minus_one():
    target = np.array([-0.3, 0.1, 0.2])
    assert ccc(target, target) == 1.0
    assert ccc(-target, target) == pytest.approx(by_covariance_matrix(-target, target), abs=1e-15)
    centred = target - target.mean()
    assert ccc(-centred, centred) == pytest.approx(-1.0, abs=1e-15)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 1e6 + 0.1])
def test_ccc_is_zero_where_one_side_is_constant_and_undefined_where_both_are_the_same_constant(constant):
    varied = np.linspace(-1, 1, 7)
    same = np.full(7, constant)
    assert ccc(same, varied) == 0.0
    assert ccc(varied, same) == 0.0
    assert ccc(same + 1, same) == 0.0
    assert math.isnan(ccc(same, same))


def test_ccc_of_one_row_is_undefined():
    assert math.isnan(ccc([0.1], [0.2]))


def test_ccc_many_equals_each_fold_alone_whatever_lies_outside_the_mask():
    rng = np.random.default_rng(0)
    preds, target = rng.normal(size=(4, 30)), rng.normal(size=(4, 30))
    lengths = [30, 17, 2, 0]
    mask = np.arange(30) < np.array(lengths)[:, None]
    expected = [ccc(p[:n], y[:n]) if n else math.nan for p, y, n in zip(preds, target, lengths, strict=True)]
    preds[~mask] = np.nan
    np.testing.assert_allclose(ccc_many(preds, target, mask), expected, atol=1e-12)
    np.testing.assert_allclose(ccc_many(target, target), 1.0, atol=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e101])
@pytest.mark.parametrize("side", [0, 1])
def test_ccc_refuses_what_is_not_finite(bad, side):
    arrays = [np.zeros(3), np.ones(3)]
    arrays[side][1] = bad
    with pytest.raises(BadInput, match=r"1 of 3 values of (preds|target)"):
        ccc(*arrays)


@pytest.mark.parametrize(
    ("preds", "target"),
    [((4, 1), (4,)), ((4,), (5,)), ((2, 2), (2, 3)), ((2, 0), (2, 0)), ((2, 2, 2), (2, 2, 2)), ((0,), (0,)), ((), ())],
)
def test_ccc_refuses_shapes_that_do_not_fit_and_names_both(preds, target):
    with pytest.raises(BadInput) as caught:
        ccc(np.zeros(preds), np.zeros(target))
    assert f"preds {preds} and target {target}" in str(caught.value)


def test_ccc_refuses_text():
    with pytest.raises(BadInput, match="takes numbers"):
        ccc(["a"], [1.0])


@pytest.mark.golden("sempi_loss")
def test_ccc_equals_the_recorded_metric(golden_case):
    preds, target = golden_case.arrays["pred"][:, 0], golden_case.arrays["label"]
    assert ccc(preds, target) == pytest.approx(float(golden_case.arrays["metric_ccc"]), abs=1e-6)
