"""Macro F1: the unweighted mean of the classes' F1 scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats
from .confusion import confusion

NAME = "macro_f1"
TITLE = "Macro F1"
HIGHER_IS_BETTER = True
KIND = "classes"
UNDEFINED = None


def from_confusion(counts: Any, all_classes: bool = False, zero_division: float = 0.0) -> Floats:
    """Return macro F1 (…) from counts (…, C, C), rows truth; nan where there is no row.

    Args:
        counts: confusion matrices.
        all_classes: average over all C, also those that occur neither in target nor in predictions.
        zero_division: score of a class that occurs in neither.
    """
    counts = np.asarray(counts, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)  # (…, C)
    total = counts.sum(axis=-1) + counts.sum(axis=-2)  # (…, C), true plus predicted
    f1 = np.divide(2 * right, total, out=np.full_like(total, zero_division), where=total > 0)
    averaged = np.ones_like(total, dtype=bool) if all_classes else total > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        score = (f1 * averaged).sum(axis=-1) / averaged.sum(axis=-1)
    return np.where(total.sum(axis=-1) > 0, score, np.nan)


def macro_f1(preds: Any, target: Any, classes: int | None = None, zero_division: float = 0.0) -> float:
    r"""Return the mean F1 score of the classes.

    .. math:: F_1 = \frac{1}{|K|} \sum_{k \in K} \frac{2 C_{kk}}{\sum_j C_{kj} + \sum_i C_{ik}}

    with the confusion matrix :math:`C` (rows truth). The classes :math:`K` are those that occur in the target
    or in the predictions, as scikit-learn has it; a class that occurs in only one of them scores 0. With
    `classes`, K is all of them (as scikit-learn's `labels`), and a class that occurs in neither scores
    `zero_division`.

    Args:
        preds: predicted class ids, (N,).
        target: true class ids, (N,).
        classes: number of classes to average over; None for those that occur.
        zero_division: score of a class that occurs in neither, 0..1; only used with `classes`.

    Returns:
        0..1, 1 is perfect.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or an id is no class.

    Example:
        >>> round(macro_f1([0, 1, 1, 2], [0, 0, 1, 2]), 6)
        0.777778
        >>> round(macro_f1([0, 1, 1, 2], [0, 0, 1, 2], classes=4), 6)
        0.583333
    """
    counts = confusion(preds, target, classes)
    return float(from_confusion(counts, all_classes=classes is not None, zero_division=zero_division))
