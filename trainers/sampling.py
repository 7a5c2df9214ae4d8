"""Order in which training rows are visited: shuffled, or balanced by label with replacement; seeded, in whole
epochs.

Source: SEMPI's sampler weighs a clip by one over the number of clips with exactly its label. For float labels
that over-samples rare exact values; `balance_keys(…, bins=…)` is the mended variant. Orders are plain index
arrays, so all folds' can be drawn and their features gathered before an epoch starts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput

Ints = npt.NDArray[np.int64]
SAMPLERS = ("shuffled", "balanced")
LAST = ("drop", "keep")


def balance_keys(labels: Any, bins: int | None = None) -> Ints:
    """Return for each row which balancing cell its label is in.

    Args:
        labels: (N,), class ids or finite numbers.
        bins: None: rows with exactly equal labels share a cell (as published); else the number of equally
            wide cells from the lowest to the highest label.

    Returns:
        (N,) int64, cells numbered from 0.

    Raises:
        BadInput: no rows, not (N,), not finite, or bins < 1.

    Example:
        >>> balance_keys([0.5, 0.1, 0.5, 0.9])
        array([1, 0, 1, 2])
        >>> balance_keys([0.5, 0.1, 0.4, 0.9], bins=2)
        array([1, 0, 0, 1])
    """
    values = np.asarray(labels, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all() or (bins is not None and bins < 1):
        raise BadInput(
            "Balancing takes finite labels (N,), and at least one bin.",
            f"Found labels {values.shape} with {int(np.count_nonzero(~np.isfinite(values)))} not finite, bins={bins}.",
            "Leave rows without a label out before training.",
        )
    if bins is None:
        return np.unique(values, return_inverse=True)[1].astype(np.int64)
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.size, dtype=np.int64)
    return np.minimum((values - low) / (high - low) * bins, bins - 1).astype(np.int64)


def balance_weights(keys: Ints) -> npt.NDArray[np.float64]:
    """Return the probability of each row to be drawn, 1 / size of its cell, summing to 1: (N,).

    Example:
        >>> balance_weights(np.array([0, 0, 1]))
        array([0.25, 0.25, 0.5 ])
    """
    weights = 1.0 / np.bincount(keys)[keys]
    return weights / weights.sum()


def epoch_order(
    rows: Ints, sampler: str, rng: np.random.Generator, weights: npt.NDArray[np.float64] | None = None
) -> Ints:
    """Draw the rows of one epoch.

    Args:
        rows: row numbers of the training part, (N,).
        sampler: `shuffled` (each row once) or `balanced` (N draws with replacement by `weights`).
        rng: the generator; the same state gives the same order.
        weights: for `balanced`, the probability of each entry of `rows`, (N,); see `balance_weights`.

    Returns:
        (N,) entries of `rows`.

    Raises:
        BadInput: unknown sampler, or `balanced` without weights.
    """
    if sampler == "shuffled":
        return rows[rng.permutation(rows.size)]
    if sampler == "balanced" and weights is not None and weights.shape == rows.shape:
        # Inverse of the cumulative distribution: one pass, where choice() would check and copy the weights each epoch.
        edges = np.cumsum(weights)
        return rows[np.searchsorted(edges, rng.random(rows.size) * edges[-1], side="right").clip(max=rows.size - 1)]
    raise BadInput(
        f"Sampler `{sampler}` was asked for {rows.size} rows.",
        "It is unknown, or `balanced` came without one weight per row.",
        f"Use one of {', '.join(SAMPLERS)}.",
    )


def batches(order: Ints, batch_size: int, last: str = "drop") -> list[Ints]:
    """Cut an order into batches.

    Args:
        order: rows in the order of their visit, (N,).
        batch_size: rows per batch, >= 1.
        last: what becomes of an incomplete last batch: `drop` (as published) or `keep`. If there are fewer
            rows than one batch,
            they are kept in any case: dropping them would train on nothing.

    Returns:
        Views of `order`.

    Raises:
        BadInput: batch size < 1, unknown `last`, or no rows.

    Example:
        >>> [len(b) for b in batches(np.arange(10), 4)], [len(b) for b in batches(np.arange(10), 4, "keep")]
        ([4, 4], [4, 4, 2])
    """
    if batch_size < 1 or last not in LAST or order.size == 0:
        raise BadInput(
            f"Batches of {batch_size} rows with last={last!r} were asked for, of {order.size} rows.",
            "A batch size is at least 1, `last` is drop or keep, and there must be rows.",
            "Mend these options.",
        )
    stop = order.size
    if last == "drop" and stop >= batch_size:
        stop -= stop % batch_size
    return [order[start : min(start + batch_size, stop)] for start in range(0, stop, batch_size)]
