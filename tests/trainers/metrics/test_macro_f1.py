"""Macro F1 against scikit-learn, absent classes included, and recorded values."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.trainers.metrics.macro_f1 import macro_f1


@pytest.mark.parametrize(("n", "classes"), [(1, 3), (5, 4), (300, 2), (300, 7)])
def test_macro_f1_equals_scikit_learn_over_the_classes_that_occur(n, classes):
    from sklearn.metrics import f1_score

    preds, target = np.random.default_rng(n).integers(0, classes, size=(2, n))
    assert macro_f1(preds, target) == pytest.approx(f1_score(target, preds, average="macro"), abs=1e-15)


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
def test_macro_f1_over_all_classes_equals_scikit_learn_with_labels(zero_division):
    from sklearn.metrics import f1_score

    preds, target = [0, 1, 1, 0], [0, 0, 1, 3]
    expected = f1_score(target, preds, average="macro", labels=range(5), zero_division=zero_division)
    assert macro_f1(preds, target, classes=5, zero_division=zero_division) == pytest.approx(expected, abs=1e-15)


def test_a_class_of_the_target_that_is_never_predicted_scores_zero_and_counts():
    assert macro_f1([0, 0, 0, 0], [0, 0, 0, 1]) == pytest.approx((6 / 7) / 2)


def test_a_class_that_occurs_nowhere_counts_only_when_all_classes_are_asked_for():
    assert macro_f1([0, 2], [0, 2]) == 1.0
    assert macro_f1([0, 2], [0, 2], classes=4) == 0.5


@pytest.mark.golden("sempi_loss")
def test_macro_f1_equals_the_recorded_metric(golden_case):
    preds = golden_case.arrays["cls_logits"].argmax(axis=1)
    expected = float(golden_case.arrays["macro_f1_x100"])
    assert 100 * macro_f1(preds, golden_case.arrays["cls_label"]) == pytest.approx(expected, abs=1e-6)
