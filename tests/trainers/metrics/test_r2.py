"""R² against scikit-learn and recorded values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.r2 import r2


@pytest.mark.parametrize(("n", "bias"), [(2, 0), (10, 3), (1000, -0.2), (50, 1e4)])
def test_r2_equals_scikit_learn(n, bias):
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(n)
    target = rng.normal(size=n)
    preds = target * 0.5 + rng.normal(size=n) * 0.3 + bias
    assert r2(preds, target) == pytest.approx(r2_score(target, preds), rel=1e-12)


def test_r2_is_zero_for_the_mean_and_one_for_the_truth():
    target = np.array([0.1, 0.5, 0.6])
    assert r2(np.full(3, target.mean()), target) == pytest.approx(0.0, abs=1e-15)
    assert r2(target, target) == 1.0


@pytest.mark.parametrize("preds", [[0.1, 0.1, 0.1], [0.1, 0.2, 0.3]])
def test_r2_is_undefined_for_a_constant_target_where_scikit_learn_says_one_or_zero(preds):
    assert math.isnan(r2(preds, [0.1, 0.1, 0.1]))


def test_r2_of_one_row_is_undefined():
    assert math.isnan(r2([0.1], [0.2]))


def test_r2_refuses_shapes_that_do_not_fit():
    with pytest.raises(BadInput, match=r"preds \(3,\) and target \(2,\)"):
        r2(np.zeros(3), np.zeros(2))


@pytest.mark.golden("sempi_loss")
def test_r2_equals_the_recorded_metric(golden_case):
    preds, target = golden_case.arrays["pred"][:, 0], golden_case.arrays["label"]
    assert r2(preds, target) == pytest.approx(float(golden_case.arrays["metric_r2"]), abs=1e-6)
