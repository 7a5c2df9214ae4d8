"""Area under the ROC curve against scikit-learn and against counting pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.roc_auc import from_weights, roc_auc


@pytest.mark.parametrize("levels", [2, 5, 10**9])
@pytest.mark.parametrize("n", [2, 30, 1000])
def test_roc_auc_equals_scikit_learn_with_and_without_ties(n, levels):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(n)
    target = (np.arange(n) % 3 == 0).astype(int)
    preds = rng.integers(0, levels, size=n) + 0.25 * target
    assert roc_auc(preds, target) == pytest.approx(roc_auc_score(target, preds), abs=1e-14)


def test_roc_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(1)
    preds, target = rng.integers(0, 5, size=25), rng.integers(0, 2, size=25)
    pairs = [(p > q) + (p == q) / 2 for p in preds[target == 1] for q in preds[target == 0]]
    assert roc_auc(preds, target) == pytest.approx(np.mean(pairs), abs=1e-15)
    assert roc_auc(-preds, target) == pytest.approx(1 - np.mean(pairs), abs=1e-15)


def test_rows_that_count_several_times_score_like_rows_repeated():
    rng = np.random.default_rng(3)
    preds, target = rng.integers(0, 6, size=40).astype(float), rng.integers(0, 2, size=40).astype(float)
    weights = rng.integers(0, 4, size=(5, 40))
    expected = [roc_auc(np.repeat(preds, one), np.repeat(target, one)) for one in weights]
    np.testing.assert_allclose(from_weights(preds, target, weights.astype(float)), expected, atol=1e-14)


@pytest.mark.parametrize("target", [[0, 0], [1, 1]])
def test_roc_auc_of_one_class_is_undefined(target):
    assert math.isnan(roc_auc([0.1, 0.2], target))


def test_labels_other_than_0_and_1_are_refused():
    with pytest.raises(BadInput, match="It has 2 "):
        roc_auc([0.1, 0.2], [0, 2])
