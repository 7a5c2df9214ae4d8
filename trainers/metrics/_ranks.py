"""What the metrics of scores are made of: rows counted by their score, and shares of what may be nothing."""

from __future__ import annotations

import numpy as np

from ._arrays import Floats


def count_by_score(preds: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Count positive and negative rows at each distinct score.

    Args:
        preds: (N,).
        target: 0 or 1, (N,).
        weights: how often each row counts in each of B samples, (B, N).

    Returns:
        Positive and negative counts, each (B, U) for the U distinct scores, from low to high.

    Example:
        >>> count_by_score(np.array([2.0, 1, 2]), np.array([1.0, 0, 1]), np.ones((1, 3)))
        (array([[0., 2.]]), array([[1., 0.]]))
    """
    order = np.argsort(preds, kind="stable")
    ranked = preds[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * target[order], starts, axis=-1)
    return positive, np.add.reduceat(drawn, starts, axis=-1) - positive


def share(part: Floats, whole: Floats, empty: float = np.nan) -> Floats:
    """Divide elementwise; `empty` where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), empty), where=whole > 0)
