"""Average precision: the area under the steps of the precision-recall curve, rows of equal score taken together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, score_arrays
from ._ranks import count_by_score, share

NAME = "average_precision"
TITLE = "AP"
HIGHER_IS_BETTER = True
KIND = "scores"
UNDEFINED = "the target has no positive row"


def from_weights(preds: Floats, target: Floats, weights: Floats) -> Floats:
    """Return the score (B,) of B samples in which each of N rows counts `weights` (B, N) times; nan where
    undefined."""
    positive, negative = count_by_score(-preds, target, weights)  # (B, U), highest score first
    hits = np.cumsum(positive, axis=-1)
    precision = share(hits, hits + np.cumsum(negative, axis=-1), empty=0.0)
    return share((positive * precision).sum(axis=-1), hits[:, -1])


def average_precision(preds: Any, target: Any) -> float:
    r"""Return the mean precision at the thresholds, weighted by how much recall each adds.

    .. math:: \mathrm{AP} = \sum_u (R_u - R_{u-1}) P_u

    with precision :math:`P_u` and recall :math:`R_u` of "positive if the score is at least :math:`s_u`", over the
    distinct scores :math:`s_u` from high to low. Nothing is interpolated, and the order of rows with equal scores
    has no influence; `map_ava` differs in both.

    Args:
        preds: scores, (N,), any unit; higher means rather positive.
        target: 1 for positive, 0 for negative, (N,).

    Returns:
        0..1, 1 is perfect; the share of positives is chance. nan (undefined) if there is no positive row;
        scikit-learn would say 0 there, which looks like a score.

    Raises:
        BadInput: shapes differ, are empty or not (N,), scores are not finite, or the target is not 0 or 1.

    Example:
        >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 6)
        0.833333
    """
    p, y = score_arrays(preds, target, NAME)
    return float(from_weights(p, y, np.ones((1, p.size)))[0])
