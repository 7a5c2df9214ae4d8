"""Area under the ROC curve: how often a positive row scores above a negative one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, score_arrays
from ._ranks import count_by_score, share

NAME = "roc_auc"
TITLE = "ROC AUC"
HIGHER_IS_BETTER = True
KIND = "scores"
UNDEFINED = "the target has only one class"


def from_weights(preds: Floats, target: Floats, weights: Floats) -> Floats:
    """Return the score (B,) of B samples in which each of N rows counts `weights` (B, N) times; nan where
    undefined."""
    positive, negative = count_by_score(preds, target, weights)  # (B, U), lowest score first
    below = np.cumsum(negative, axis=-1) - negative
    pairs = (positive * (below + negative / 2)).sum(axis=-1)
    return share(pairs, positive.sum(axis=-1) * negative.sum(axis=-1))


def roc_auc(preds: Any, target: Any) -> float:
    r"""Return the share of pairs of a positive and a negative row that the scores put in order.

    .. math:: \mathrm{AUC} = \frac{1}{n_1 n_0} \sum_{i: y_i = 1} \sum_{j: y_j = 0}
        \left([p_i > p_j] + \tfrac12 [p_i = p_j]\right)

    with scores :math:`p`, targets :math:`y`, :math:`n_1` positive and :math:`n_0` negative rows.

    Args:
        preds: scores, (N,), any unit; higher means rather positive.
        target: 1 for positive, 0 for negative, (N,).

    Returns:
        0..1, 1 is perfect, 0.5 is chance. nan (undefined) if all rows are positive, or all negative.

    Raises:
        BadInput: shapes differ, are empty or not (N,), scores are not finite, or the target is not 0 or 1.

    Example:
        >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    p, y = score_arrays(preds, target, NAME)
    return float(from_weights(p, y, np.ones((1, p.size)))[0])
