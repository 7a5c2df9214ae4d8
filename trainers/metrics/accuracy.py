"""Accuracy: the share of right predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats
from .confusion import confusion

NAME = "accuracy"
TITLE = "Accuracy"
HIGHER_IS_BETTER = True
KIND = "classes"
UNDEFINED = None


def from_confusion(counts: Any) -> Floats:
    """Return the accuracy (…) from counts (…, C, C), rows truth; nan where there is no row."""
    counts = np.asarray(counts, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def accuracy(preds: Any, target: Any) -> float:
    r"""Return the share of rows whose class is predicted rightly.

    .. math:: \mathrm{ACC} = \frac1n \sum_i [p_i = y_i]

    with predicted classes :math:`p` and true classes :math:`y`.

    Args:
        preds: predicted class ids, (N,).
        target: true class ids, (N,).

    Returns:
        0..1, 1 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or an id is no class.

    Example:
        >>> accuracy([0, 1, 1, 2], [0, 0, 1, 2])
        0.75
    """
    return float(from_confusion(confusion(preds, target)))
