"""Average precision against scikit-learn, with ties and with repeated rows; where it does not exist."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.average_precision import average_precision, from_weights


@pytest.mark.parametrize("levels", [2, 5, 10**9])
@pytest.mark.parametrize("n", [2, 30, 1000])
def test_average_precision_equals_scikit_learn_with_and_without_ties(n, levels):
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(n)
    target = (np.arange(n) % 3 == 0).astype(int)
    preds = rng.integers(0, levels, size=n) + 0.25 * target
    assert average_precision(preds, target) == pytest.approx(average_precision_score(target, preds), abs=1e-14)


def test_rows_that_count_several_times_score_like_scikit_learn_with_weights():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    preds, target = rng.integers(0, 6, size=40).astype(float), rng.integers(0, 2, size=40).astype(float)
    weights = rng.integers(0, 4, size=(5, 40)).astype(float)
    expected = [average_precision_score(target, preds, sample_weight=one) for one in weights]
    np.testing.assert_allclose(from_weights(preds, target, weights), expected, atol=1e-14)


def test_the_order_of_rows_with_equal_scores_has_no_influence():
    assert average_precision([0.5, 0.5, 0.1], [1, 0, 0]) == average_precision([0.5, 0.5, 0.1], [0, 1, 0]) == 0.5


def test_average_precision_without_positives_is_undefined():
    assert math.isnan(average_precision([0.1, 0.2], [0, 0]))
    assert average_precision([0.1, 0.2], [1, 1]) == 1.0


@pytest.mark.parametrize("target", [[0, 2], [0, 0.5], [-1, 1]])
def test_labels_other_than_0_and_1_are_refused(target):
    with pytest.raises(BadInput, match=r"takes a target of 1 .* It has"):
        average_precision([0.1, 0.2], target)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(BadInput, match="1 of 2 values of preds"):
        average_precision([0.1, np.inf], [0, 1])
