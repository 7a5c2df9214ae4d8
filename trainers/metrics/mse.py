"""Mean squared error, of equally shaped arrays only: (N, 1) against (N,) is refused, not broadcast to N × N."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, Moments, mean_over_outputs

NAME = "mse"
TITLE = "MSE"
HIGHER_IS_BETTER = False
KIND = "regression"
UNDEFINED = None


def from_moments(m: Moments) -> Floats:
    """Return the error (…) from sums (…); nan where there is no row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return m.se / m.n


def mse(preds: Any, target: Any) -> float:
    r"""Return the mean squared error.

    .. math:: \mathrm{MSE} = \frac1n \sum_i (p_i - y_i)^2

    with predictions :math:`p` and targets :math:`y`.

    Args:
        preds: predictions, (N,), or (N, K) for the mean over K outputs; any unit.
        target: true values of the same shape and unit.

    Returns:
        0..inf in the squared unit, 0 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or values are not finite.

    Example:
        >>> round(mse([0.1, 0.4, 0.3], [0.0, 0.5, 0.4]), 6)
        0.01
    """
    return mean_over_outputs(from_moments, preds, target, NAME)
