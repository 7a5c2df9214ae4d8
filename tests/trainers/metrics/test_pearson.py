"""Pearson's correlation against SciPy and recorded values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.pearson import pearson


@pytest.mark.parametrize(("n", "scale", "offset"), [(2, 1, 0), (3, 1e-8, 5), (1000, 1, 0), (200, 1e5, -1e7)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pearson_equals_scipy(n, scale, offset, dtype):
    from scipy.stats import pearsonr

    rng = np.random.default_rng(n)
    target = rng.normal(size=n)
    preds = ((target + rng.normal(size=n)) * (scale if dtype == "float64" else 1) + offset).astype(dtype)
    expected = pearsonr(preds.astype("float64"), target).statistic
    assert pearson(preds, target) == pytest.approx(expected, abs=1e-10)


def test_pearson_does_not_change_under_any_rising_line():
    rng = np.random.default_rng(0)
    preds, target = rng.normal(size=(2, 50))
    assert pearson(preds * 1e-9 + 4, target) == pytest.approx(pearson(preds, target * 1e6 - 1), abs=1e-7)
    assert pearson(-preds, target) == -pearson(preds, target)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3])
def test_pearson_is_undefined_where_a_side_is_constant(constant):
    varied = np.linspace(-1, 1, 7)
    assert math.isnan(pearson(np.full(7, constant), varied))
    assert math.isnan(pearson(varied, np.full(7, constant)))
    assert math.isnan(pearson([0.3], [0.2]))


def test_pearson_stays_within_one_where_rounding_would_leave_it():
    target = np.array([0.1, 0.2, 0.3]) / 3
    assert pearson(target * 7, target) <= 1.0
    assert pearson(target * 7, target) == pytest.approx(1.0, abs=1e-15)


def test_pearson_refuses_shapes_that_do_not_fit():
    with pytest.raises(BadInput, match=r"preds \(3, 1\) and target \(3,\)"):
        pearson(np.zeros((3, 1)), np.zeros(3))


@pytest.mark.golden("sempi_loss")
def test_pearson_equals_the_recorded_metric(golden_case):
    preds, target = golden_case.arrays["pred"][:, 0], golden_case.arrays["label"]
    assert pearson(preds, target) == pytest.approx(float(golden_case.arrays["metric_pcc"]), abs=1e-6)


def test_pearson_of_several_outputs_is_the_mean_of_scipys_over_the_columns():
    from scipy.stats import pearsonr

    preds, target = np.random.default_rng(4).normal(size=(2, 30, 7))
    expected = np.mean([pearsonr(preds[:, k], target[:, k]).statistic for k in range(7)])
    assert pearson(preds, target) == pytest.approx(expected, abs=1e-14)


def test_pearson_of_several_outputs_is_undefined_where_one_of_them_is():
    preds, target = np.random.default_rng(4).normal(size=(2, 30, 3))
    preds[:, 1] = 0.5
    assert math.isnan(pearson(preds, target))


@pytest.mark.golden("viper_metrics")
def test_pearson_equals_the_recorded_correlations_and_their_mean(golden_case):
    preds, target = golden_case.arrays["pred"], golden_case.arrays["label"]
    each = [pearson(preds[:, i], target[:, i]) for i in range(target.shape[1])]
    np.testing.assert_allclose(each, golden_case.arrays["pearson_per_emotion"], atol=1e-6)
    assert pearson(preds, target) == pytest.approx(float(golden_case.arrays["mean_pearson"]), abs=1e-6, nan_ok=True)
