"""Micro F1 against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.trainers.metrics.f1_micro import f1_micro


@pytest.mark.parametrize(("n", "classes"), [(1, 3), (5, 4), (300, 2), (300, 7)])
def test_f1_micro_equals_scikit_learn(n, classes):
    from sklearn.metrics import f1_score

    preds, target = np.random.default_rng(n).integers(0, classes, size=(2, n))
    assert f1_micro(preds, target) == pytest.approx(f1_score(target, preds, average="micro"), abs=1e-15)


def test_classes_count_by_their_rows_and_not_equally():
    # Macro F1 of the same rows is (6/7 + 0) / 2.
    assert f1_micro([0, 0, 0, 0], [0, 0, 0, 1]) == 0.75
