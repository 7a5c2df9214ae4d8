"""1 − MAE against scikit-learn, for one output and for the five of a personality task."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.one_minus_mae import one_minus_mae


@pytest.mark.parametrize("shape", [(1,), (50,), (50, 5), (1, 5)])
def test_one_minus_mae_equals_scikit_learn(shape):
    from sklearn.metrics import mean_absolute_error

    preds, target = np.random.default_rng(0).random((2, *shape))
    assert one_minus_mae(preds, target) == pytest.approx(1 - mean_absolute_error(target, preds), abs=1e-14)


def test_perfect_predictions_score_one_and_an_error_of_the_whole_range_scores_zero():
    assert one_minus_mae([0.2, 0.9], [0.2, 0.9]) == 1.0
    assert one_minus_mae([0, 1], [1, 0]) == 0.0


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(BadInput, match="1 of 2 values of preds"):
        one_minus_mae([0.1, np.nan], [0, 0])
