"""Mean absolute error against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.mae import mae


@pytest.mark.parametrize("n", [1, 2, 1000])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_mae_equals_scikit_learn(n, offset):
    from sklearn.metrics import mean_absolute_error

    preds, target = np.random.default_rng(n).normal(size=(2, n)) + offset
    assert mae(preds, target) == pytest.approx(mean_absolute_error(target, preds), rel=1e-12)


def test_mae_is_symmetric_and_zero_for_equal_arrays():
    preds, target = np.random.default_rng(0).normal(size=(2, 9))
    assert mae(preds, target) == mae(target, preds)
    assert mae(preds, preds) == 0.0


def test_mae_refuses_nan():
    with pytest.raises(BadInput, match="1 of 2 values of target"):
        mae([0.0, 1.0], [0.0, np.nan])
