"""Coefficient of determination, R²."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, Moments, mean_over_outputs

NAME = "r2"
TITLE = "R²"
HIGHER_IS_BETTER = True
KIND = "regression"
UNDEFINED = "the target is constant"


def from_moments(m: Moments) -> Floats:
    """Return the coefficient (…) from sums (…); nan where undefined."""
    _, var_y, _, _ = m.central()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        score = 1.0 - m.se / (m.n * var_y)
    return np.where((var_y > 0) & np.isfinite(score), score, np.nan)


def r2(preds: Any, target: Any) -> float:
    r"""Return the share of the target's variance that the predictions explain.

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - p_i)^2}{\sum_i (y_i - \bar y)^2}

    with targets :math:`y`, their mean :math:`\bar y` and predictions :math:`p`. No fit is made: a constant
    bias costs.

    Args:
        preds: predictions, (N,), or (N, K) for the mean over K outputs; any unit.
        target: true values of the same shape and unit.

    Returns:
        −inf..1, 1 is perfect, 0 as good as the targets' own mean. nan (undefined) if the target is constant,
        which a single row always is; scikit-learn would say 1 or 0 there, numbers that look like scores.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or values are not finite.

    Example:
        >>> round(r2([0.1, 0.4, 0.3], [0.0, 0.5, 0.4]), 6)
        0.785714
    """
    return mean_over_outputs(from_moments, preds, target, NAME)
