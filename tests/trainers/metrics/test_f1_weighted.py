"""Weighted F1 against scikit-learn, absent classes included."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.trainers.metrics.f1_weighted import f1_weighted


@pytest.mark.parametrize(("n", "classes"), [(1, 3), (5, 4), (300, 2), (300, 7)])
def test_f1_weighted_equals_scikit_learn(n, classes):
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(n)
    preds, target = rng.integers(0, classes, size=n), np.minimum(rng.integers(0, classes, size=n), 2)
    assert f1_weighted(preds, target) == pytest.approx(f1_score(target, preds, average="weighted"), abs=1e-15)


def test_weights_are_the_shares_of_the_target():
    assert f1_weighted([0, 0, 0, 0], [0, 0, 0, 1]) == pytest.approx(0.75 * 6 / 7)


def test_a_class_that_is_only_predicted_has_no_weight():
    assert f1_weighted([0, 0, 1], [0, 0, 0]) == pytest.approx(0.8)
