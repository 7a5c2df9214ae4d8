"""Accuracy against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.accuracy import accuracy


@pytest.mark.parametrize(("n", "classes"), [(1, 2), (300, 2), (300, 7)])
def test_accuracy_equals_scikit_learn(n, classes):
    from sklearn.metrics import accuracy_score

    preds, target = np.random.default_rng(n).integers(0, classes, size=(2, n))
    assert accuracy(preds, target) == pytest.approx(accuracy_score(target, preds), abs=1e-15)


def test_accuracy_refuses_probabilities():
    with pytest.raises(BadInput, match="arg-max"):
        accuracy([0.2, 0.8], [0, 1])
