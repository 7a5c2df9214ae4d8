"""Balanced accuracy against scikit-learn and recorded values."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.trainers.metrics.balanced_accuracy import balanced_accuracy


@pytest.mark.parametrize(("n", "classes"), [(5, 2), (300, 2), (300, 7)])
def test_balanced_accuracy_equals_scikit_learn(n, classes):
    from sklearn.metrics import recall_score

    rng = np.random.default_rng(n)
    target = rng.integers(0, classes, size=n)
    preds = np.where(rng.random(n) < 0.5, target, rng.integers(0, classes, size=n))
    expected = recall_score(target, preds, labels=np.unique(target), average="macro", zero_division=0)
    assert balanced_accuracy(preds, target) == pytest.approx(expected, abs=1e-15)


def test_a_class_that_is_only_predicted_is_left_out():
    assert balanced_accuracy([0, 2, 1], [0, 0, 1]) == 0.75


def test_always_predicting_the_frequent_class_scores_one_over_the_number_of_classes():
    assert balanced_accuracy([0] * 100, [0] * 98 + [1, 2]) == pytest.approx(1 / 3)


@pytest.mark.golden("sempi_loss")
def test_balanced_accuracy_equals_the_recorded_metric(golden_case):
    preds = golden_case.arrays["cls_logits"].argmax(axis=1)
    expected = float(golden_case.arrays["balanced_acc_x100"])
    assert 100 * balanced_accuracy(preds, golden_case.arrays["cls_label"]) == pytest.approx(expected, abs=1e-6)
