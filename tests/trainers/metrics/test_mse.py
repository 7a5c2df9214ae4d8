"""Mean squared error against scikit-learn and recorded values; the broadcast of the original is refused."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.metrics.mse import mse


@pytest.mark.parametrize("n", [1, 2, 1000])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_mse_equals_scikit_learn(n, offset):
    from sklearn.metrics import mean_squared_error

    preds, target = np.random.default_rng(n).normal(size=(2, n)) + offset
    assert mse(preds, target) == pytest.approx(mean_squared_error(target, preds), rel=1e-12)


def test_mse_of_nearly_perfect_predictions_is_not_lost_to_rounding():
    target = np.linspace(0, 1000, 11)
    preds = target + np.tile([2**-30, -(2**-30)], 6)[:11]
    assert mse(preds, target) == pytest.approx(2**-60, rel=1e-3)


@pytest.mark.golden("sempi_loss")
def test_mse_is_the_intended_value_and_refuses_the_shapes_that_were_broadcast(golden_case):
    preds, target = golden_case.arrays["pred"], golden_case.arrays["label"]
    assert mse(preds[:, 0], target) == pytest.approx(float(golden_case.arrays["mse_correct"]), abs=1e-6)
    with pytest.raises(BadInput) as caught:
        mse(preds, target)
    assert f"preds {preds.shape} and target {target.shape}" in str(caught.value)


@pytest.mark.golden("sempi_loss")
def test_recorded_mse_metric_is_the_mean_over_all_pairs_of_rows(golden_case):
    preds, target = golden_case.arrays["pred"][:, 0].astype("float64"), golden_case.arrays["label"].astype("float64")
    n = len(preds)
    all_pairs = mse(np.repeat(preds, n), np.tile(target, n))
    assert all_pairs == pytest.approx(float(golden_case.arrays["metric_mse_upstream_broadcast"]), abs=1e-6)


@pytest.mark.golden("viper_metrics")
def test_mse_of_several_outputs_equals_the_recorded_losses(golden_case):
    arrays = golden_case.arrays
    assert mse(arrays["pred"], arrays["label"]) == pytest.approx(float(arrays["mse_loss"]), abs=1e-6)
    rescaled = float(arrays["mse_loss_rescaled"])
    assert mse(arrays["rescaled_pred"], arrays["label"]) == pytest.approx(rescaled, rel=1e-5)
