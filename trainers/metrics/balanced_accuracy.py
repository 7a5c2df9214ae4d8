"""Balanced accuracy: the mean recall over the classes that occur in the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats
from .confusion import confusion

NAME = "balanced_accuracy"
TITLE = "Balanced accuracy"
HIGHER_IS_BETTER = True
KIND = "classes"
UNDEFINED = None


def from_confusion(counts: Any) -> Floats:
    """Return the mean recall (…) from counts (…, C, C), rows truth; nan where there is no row."""
    counts = np.asarray(counts, dtype=np.float64)
    truth = counts.sum(axis=-1)  # (…, C)
    right = np.diagonal(counts, axis1=-2, axis2=-1)  # (…, C)
    recall = np.divide(right, truth, out=np.zeros_like(truth), where=truth > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return recall.sum(axis=-1) / np.count_nonzero(truth, axis=-1)


def balanced_accuracy(preds: Any, target: Any) -> float:
    r"""Return the mean of the recalls of the classes.

    .. math:: \mathrm{BA} = \frac{1}{|K|} \sum_{k \in K} \frac{C_{kk}}{\sum_j C_{kj}}

    with the confusion matrix :math:`C` (rows truth) and the classes :math:`K` that occur in the target. A
    class that is only predicted has no recall and is left out, as in scikit-learn; chance is 1/|K|.

    Args:
        preds: predicted class ids, (N,).
        target: true class ids, (N,).

    Returns:
        0..1, 1 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or an id is no class.

    Example:
        >>> balanced_accuracy([0, 1, 1, 2], [0, 0, 1, 2])
        0.8333333333333334
    """
    return float(from_confusion(confusion(preds, target)))
