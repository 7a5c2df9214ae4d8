"""Mean absolute error."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, Moments, mean_over_outputs

NAME = "mae"
TITLE = "MAE"
HIGHER_IS_BETTER = False
KIND = "regression"
UNDEFINED = None


def from_moments(m: Moments) -> Floats:
    """Return the error (…) from sums (…); nan where there is no row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return m.ae / m.n


def mae(preds: Any, target: Any) -> float:
    r"""Return the mean absolute error.

    .. math:: \mathrm{MAE} = \frac1n \sum_i |p_i - y_i|

    with predictions :math:`p` and targets :math:`y`.

    Args:
        preds: predictions, (N,), or (N, K) for the mean over K outputs; any unit.
        target: true values of the same shape and unit.

    Returns:
        0..inf in the unit of the target, 0 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or values are not finite.

    Example:
        >>> round(mae([0.1, 0.4, 0.3], [0.0, 0.5, 0.4]), 6)
        0.1
    """
    return mean_over_outputs(from_moments, preds, target, NAME)
