"""Lin's concordance correlation coefficient, with population moments over the pooled set.

Source: L. I-K. Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45
(1989), 255-268. Deliberately not the unbiased variant (n − 1) of the training loss, and never a mean over
mini-batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._arrays import Floats, Moments, mean_over_outputs, moments

NAME = "ccc"
TITLE = "CCC"
HIGHER_IS_BETTER = True
KIND = "regression"
UNDEFINED = "predictions and target are one and the same constant, or there is a single row"


def from_moments(m: Moments) -> Floats:
    """Return the coefficient (…) from sums (…); nan where undefined."""
    var_p, var_y, cov, difference = m.central()
    spread = var_p + var_y
    with np.errstate(divide="ignore", invalid="ignore"):
        score = 2 * cov / (spread + difference**2)
    # Equal constants are told by the sum of squared errors, which is exact where a difference of means is rounded.
    same_constant = (spread == 0) & (m.se == 0)
    return np.where((m.n > 1) & ~same_constant, score, np.nan)


def ccc(preds: Any, target: Any) -> float:
    r"""Return the concordance correlation coefficient.

    .. math:: \rho_c = \frac{2 s_{py}}{s_p^2 + s_y^2 + (\bar p - \bar y)^2}

    with the means :math:`\bar p, \bar y`, the population variances :math:`s_p^2, s_y^2` and the population
    covariance :math:`s_{py}` of predictions and targets (all divided by n).

    Args:
        preds: predictions, (N,), or (N, K) for the mean over K outputs; any unit.
        target: true values of the same shape and unit.

    Returns:
        −1..1, 1 is perfect. 0 if exactly one of the two is constant, or both with different values. nan
        (undefined) if both
        are the same constant, or N is 1: the formula is then 0/0, and perfect agreement on nothing is no
            evidence.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or values are not finite.

    Example:
        >>> round(ccc([0.1, 0.4, 0.3], [0.0, 0.5, 0.4]), 6)
        0.842105
        >>> ccc([0.2, 0.2, 0.2], [0.0, 0.5, 0.4])
        0.0
    """
    return mean_over_outputs(from_moments, preds, target, NAME)


def ccc_many(preds: Floats, target: Floats, mask: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Return the coefficient of each of F folds at once.

    Args:
        preds: predictions, (F, N).
        target: true values, (F, N).
        mask: True where a row counts, (F, N); None for all. Rows outside may hold anything; rows inside must
            be finite, which is not checked here.

    Returns:
        (F,), nan where undefined (see `ccc`), which includes a fold without rows.

    Example:
        >>> ccc_many(np.array([[0.1, 0.4, 0.3]]), np.array([[0.0, 0.5, 0.4]])).round(6)
        array([0.842105])
    """
    return from_moments(moments(preds, target, mask))
