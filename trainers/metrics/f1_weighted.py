"""Weighted F1: the mean of the classes' F1 scores, each weighted by how often the class occurs in the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats
from .confusion import confusion

NAME = "f1_weighted"
TITLE = "Weighted F1"
HIGHER_IS_BETTER = True
KIND = "classes"
UNDEFINED = None


def from_confusion(counts: Any) -> Floats:
    """Return weighted F1 (…) from counts (…, C, C), rows truth; nan where there is no row."""
    counts = np.asarray(counts, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)  # (…, C)
    truth = counts.sum(axis=-1)  # (…, C)
    total = truth + counts.sum(axis=-2)  # (…, C), true plus predicted
    f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (truth * f1).sum(axis=-1) / truth.sum(axis=-1)


def f1_weighted(preds: Any, target: Any) -> float:
    r"""Return the mean F1 score of the classes, weighted by their share of the target.

    .. math:: F_1 = \frac1n \sum_k n_k \frac{2 C_{kk}}{\sum_j C_{kj} + \sum_i C_{ik}}

    with the confusion matrix :math:`C` (rows truth) and :math:`n_k = \sum_j C_{kj}` rows of class :math:`k` among
    :math:`n`. A class that is only predicted has no weight.

    Args:
        preds: predicted class ids, (N,).
        target: true class ids, (N,).

    Returns:
        0..1, 1 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or an id is no class.

    Example:
        >>> f1_weighted([0, 1, 1, 2], [0, 0, 1, 2])
        0.75
    """
    return float(from_confusion(confusion(preds, target)))
