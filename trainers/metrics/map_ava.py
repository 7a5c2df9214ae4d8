"""The active-speaker "mAP" of AVA and UniTalk: all-point interpolated average precision of one class, SPEAKING_AUDIBLE.

Source: J. Roth et al., "AVA Active Speaker: An audio-visual dataset for active speaker detection", ICASSP 2020, and
its evaluation tool, which UniTalk-ASD uses too; interpolation as in PASCAL VOC since 2010. This file is the formula on
rows that are matched already; `trainers.ava` reads and matches the two CSV files.

What deliberately differs: the official tool orders rows of equal score as an unstable sort happens to leave them, so
its figure depends on the machine. Here they stay in the order of the ground truth, and `map_ava_bounds` says how far
any other order could move the score. A share, not a percentage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._arrays import Floats, score_arrays
from ._ranks import share

NAME = "map_ava"
TITLE = "mAP (AVA)"
HIGHER_IS_BETTER = True
KIND = "scores"
UNDEFINED = "the target has no positive row"


def from_weights(preds: Floats, target: Floats, weights: Floats) -> Floats:
    """Return the score (B,) of B samples in which each of N rows counts `weights` (B, N) times; nan where undefined.

    A row that counts several times stands there several times in a row.
    """
    order = rank(preds)
    drawn = weights[:, order]
    positive = drawn * target[order]
    hits = np.cumsum(positive, axis=-1)
    precision = share(hits, np.cumsum(drawn, axis=-1), empty=0.0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=-1)[:, ::-1]  # at this recall or a higher one
    return share((positive * best).sum(axis=-1), hits[:, -1])


def map_ava(preds: Any, target: Any) -> float:
    r"""Return the interpolated average precision.

    .. math:: \mathrm{AP} = \sum_i (R_i - R_{i-1}) \max_{j \ge i} P_j, \quad P_i = \frac{T_i}{i}, \quad
        R_i = \frac{T_i}{T_n}

    with the positives :math:`T_i` among the first :math:`i` rows, from the highest score to the lowest. Every row is a
    point of its own, also among equal scores, which keep the order in which they are given.

    Args:
        preds: scores, (N,); higher means rather speaking.
        target: 1 for speaking and audible, 0 for everything else, (N,), in the order of the ground truth.

    Returns:
        0..1, 1 is perfect (the official tool prints percent). nan (undefined) if there is no positive row, where the
        official tool stops.

    Raises:
        BadInput: shapes differ, are empty or not (N,), scores are not finite, or the target is not 0 or 1.

    Example:
        >>> round(map_ava([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1]), 6)
        0.833333
    """
    p, y = score_arrays(preds, target, NAME)
    return _interpolated(y[rank(p)] > 0)


def map_ava_bounds(preds: Any, target: Any) -> tuple[float, float]:
    """Return the lowest and the highest score over all orders of rows with equal scores.

    A positive that moves forward raises the precision at itself and lowers none, so within each score the extremes are
    all negatives first and all positives first.

    Args:
        preds: as in `map_ava`.
        target: as in `map_ava`.

    Returns:
        (low, high); both nan if there is no positive row.

    Raises:
        BadInput: as `map_ava`.

    Example:
        >>> map_ava_bounds([0.5, 0.5], [0, 1])
        (0.5, 1.0)
    """
    p, y = score_arrays(preds, target, NAME)
    order = rank(p)
    _, low, high = score_ranked(p[order], y[order] > 0)
    return low, high


def rank(preds: Floats) -> npt.NDArray[np.int64]:
    """Return the rows from the highest score to the lowest, equal scores in their order, (N,)."""
    return np.argsort(-preds, kind="stable")


def score_ranked(ranked: Floats, positive: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the score, and the lowest and highest over the orders of equal scores, of rows in the order of `rank`.

    Args:
        ranked: scores, (N,), falling.
        positive: whether each row is positive, (N,).

    Returns:
        (score, low, high), each nan if there is no positive row.
    """
    score = _interpolated(positive)
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    if starts.size == ranked.size:
        return score, score, score
    sizes = np.diff(starts, append=ranked.size)
    hits = np.add.reduceat(positive, starts, dtype=np.int64)
    place = np.arange(ranked.size) - np.repeat(starts, sizes)  # of each row among those of its score
    first = place < np.repeat(hits, sizes)
    last = place >= np.repeat(sizes - hits, sizes)
    return score, _interpolated(last), _interpolated(first)


def _interpolated(positive: npt.NDArray[np.bool_]) -> float:
    """Score rows (N,) that are ranked already, highest score first."""
    ranks = np.flatnonzero(positive) + 1
    if ranks.size == 0:
        return float("nan")
    precision = np.arange(1, ranks.size + 1) / ranks
    return float(np.maximum.accumulate(precision[::-1]).mean())
