"""One minus the mean absolute error: the accuracy of the apparent-personality challenges, for targets in 0..1.

Source: V. Ponce-López et al., "ChaLearn LAP 2016: First round challenge on first impressions", ECCV Workshops
2016; with five traits it is the mean over the traits.
"""

from __future__ import annotations

from typing import Any

from . import mae
from ._arrays import Floats, Moments, mean_over_outputs

NAME = "one_minus_mae"
TITLE = "1 − MAE"
HIGHER_IS_BETTER = True
KIND = "regression"
UNDEFINED = None


def from_moments(m: Moments) -> Floats:
    """Return the score (…) from sums (…); nan where there is no row."""
    return 1.0 - mae.from_moments(m)


def one_minus_mae(preds: Any, target: Any) -> float:
    r"""Return one minus the mean absolute error.

    .. math:: A = 1 - \frac1n \sum_i |p_i - y_i|

    with predictions :math:`p` and targets :math:`y`.

    Args:
        preds: predictions, (N,), or (N, K) for the mean over K outputs; meant for 0..1.
        target: true values of the same shape and unit.

    Returns:
        −inf..1, 1 is perfect; 0..1 where both are in 0..1.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or values are not finite.

    Example:
        >>> round(one_minus_mae([0.1, 0.4, 0.3], [0.0, 0.5, 0.4]), 6)
        0.9
    """
    return mean_over_outputs(from_moments, preds, target, NAME)
