"""Pearson's product-moment correlation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, Moments, mean_over_outputs

NAME = "pearson"
TITLE = "Pearson r"
HIGHER_IS_BETTER = True
KIND = "regression"
UNDEFINED = "predictions or target are constant"


def from_moments(m: Moments) -> Floats:
    """Return the correlation (…) from sums (…); nan where undefined."""
    var_p, var_y, cov, _ = m.central()
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two roots instead of the root of the product, which would underflow for tiny variances.
        score = cov / (np.sqrt(var_p) * np.sqrt(var_y))
    defined = (var_p > 0) & (var_y > 0) & np.isfinite(score)
    return np.where(defined, np.clip(score, -1.0, 1.0), np.nan)


def pearson(preds: Any, target: Any) -> float:
    r"""Return the correlation coefficient.

    .. math:: r = \frac{s_{py}}{s_p s_y}

    with the covariance :math:`s_{py}` and the standard deviations :math:`s_p, s_y` of predictions and
    targets.

    Args:
        preds: predictions, (N,), or (N, K) for the mean over K outputs; any unit.
        target: true values of the same shape, any unit.

    Returns:
        −1..1. nan (undefined) if predictions or targets are constant, which a single row always is.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or values are not finite.

    Example:
        >>> round(pearson([0.1, 0.4, 0.3], [0.0, 0.5, 0.4]), 6)
        0.989743
        >>> pearson([0.2, 0.2, 0.2], [0.0, 0.5, 0.4])
        nan
    """
    return mean_over_outputs(from_moments, preds, target, NAME)
