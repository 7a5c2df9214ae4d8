"""Confusion matrix of numbers in 0..1 cut into ten bins: rows are the truth. A table, of which ViPER draws a heat map.

Source: ViPER (MuSe-Reaction), its heat maps of predicted against true intensities. What deliberately differs: all ten
bins always have a row and a column, and what lies below 0 or above 1 counts in the first or last bin.
`published_bins` keeps the published rule, where a value of −0.1 or less makes a class of its own and bins that do not
occur are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Floats, Ints, regression_arrays
from ._ranks import share

NAME = "confusion_bins"
TITLE = "Confusion matrix of ten bins"
HIGHER_IS_BETTER = None
KIND = "regression"
UNDEFINED = None
BINS = 10
WIDTH = 0.1


def bins_of(values: Floats) -> Ints:
    """Return the bin of each value as published: ⌊v / 0.1⌋ cut towards zero, 9 from 1 upwards, negative from −0.1
    downwards.

    Example:
        >>> bins_of(np.array([-0.25, -0.05, 0.0, 0.19, 0.95, 1.0, 3.0]))
        array([-2,  0,  0,  1,  9,  9,  9])
    """
    return np.where(values < 1, np.trunc(np.minimum(values, 1.0) / WIDTH), BINS - 1).astype(np.int64)


def confusion_bins(preds: Any, target: Any) -> Ints:
    r"""Count how often a true value in one bin was predicted in each bin.

    .. math:: C_{ij} = |\{k : b(y_k) = i, b(p_k) = j\}|, \quad b(v) = \min(\max(\lfloor v / 0.1 \rfloor, 0), 9)

    with targets :math:`y` and predictions :math:`p`. As published, the quotient is that of floating point: 0.3 / 0.1 is
    a little below 3, so 0.3 is in bin 2.

    Args:
        preds: predictions, (N,), meant for 0..1.
        target: true values, (N,).

    Returns:
        Counts (10, 10), int64, rows truth.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or values are not finite.

    Example:
        >>> counts = confusion_bins([0.05, 0.32, 1.2], [0.0, 0.5, 1.0])
        >>> int(counts[0, 0]), int(counts[5, 3]), int(counts[9, 9]), int(counts.sum())
        (1, 1, 1, 3)
    """
    p, y = (np.clip(bins_of(values), 0, BINS - 1) for values in regression_arrays(preds, target, NAME))
    return np.bincount(y * BINS + p, minlength=BINS * BINS).reshape(BINS, BINS).astype(np.int64)


def published_bins(preds: Any, target: Any) -> tuple[Ints, Ints]:
    """Return the bins that occur in either array, (K,), and the counts over them, (K, K), rows truth.

    Args:
        preds: predictions, (N,).
        target: true values, (N,).

    Raises:
        BadInput: as `confusion_bins`.

    Example:
        >>> published_bins([-0.15, 0.32], [0.0, 0.35])[0]
        array([-1,  0,  3])
    """
    p, y = (bins_of(values) for values in regression_arrays(preds, target, NAME))
    present, codes = np.unique(np.concatenate([y, p]), return_inverse=True)
    size = present.size
    counts = np.bincount(codes[: y.size] * size + codes[y.size :], minlength=size * size)
    return present, counts.reshape(size, size).astype(np.int64)


def row_shares(counts: Any) -> Floats:
    """Divide each row (…, C, C) by its sum; a row without truth is nan: nothing is known of it.

    Example:
        >>> row_shares([[1, 3], [0, 0]])
        array([[0.25, 0.75],
               [ nan,  nan]])
    """
    counts = np.asarray(counts, dtype=np.float64)
    return share(counts, np.broadcast_to(counts.sum(axis=-1, keepdims=True), counts.shape))
