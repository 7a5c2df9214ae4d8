"""Micro F1: one F1 score from the hits and misses of all classes together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats
from .confusion import confusion

NAME = "f1_micro"
TITLE = "Micro F1"
HIGHER_IS_BETTER = True
KIND = "classes"
UNDEFINED = None


def from_confusion(counts: Any) -> Floats:
    """Return micro F1 (…) from counts (…, C, C), rows truth; nan where there is no row."""
    counts = np.asarray(counts, dtype=np.float64)
    right = np.trace(counts, axis1=-2, axis2=-1)
    wrong = counts.sum(axis=(-2, -1)) - right  # each is a false positive of one class, a false negative of another
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * right / (2 * right + 2 * wrong)


def f1_micro(preds: Any, target: Any) -> float:
    r"""Return the F1 score of all decisions pooled over the classes.

    .. math:: F_1 = \frac{2 \sum_k TP_k}{\sum_k (2\,TP_k + FP_k + FN_k)}

    with the true positives, false positives and false negatives of each class :math:`k`. With one class per row
    it equals the accuracy; it is here under the name that papers report.

    Args:
        preds: predicted class ids, (N,).
        target: true class ids, (N,).

    Returns:
        0..1, 1 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or an id is no class.

    Example:
        >>> f1_micro([0, 1, 1, 2], [0, 0, 1, 2])
        0.75
    """
    return float(from_confusion(confusion(preds, target)))
