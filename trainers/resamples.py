"""Scores of many resamples at once: each resample says how often every (fold, group) cell of the rows counts.

Metrics made of sums take the sums per cell, so that all resamples are one matrix product; metrics of ranked scores
take a weight per row, ranked once. With several outputs a score is the mean over them, as the metric has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .cells import Cells
from .groups import Ints
from .metrics import Metric
from .metrics._arrays import Floats, Moments, class_arrays, moments_from, regression_arrays, score_arrays

# Numbers of one block of weights (resamples x rows): 32 MB as float64.
BLOCK = 4_000_000
CHECKS: dict[str, Callable[[Any, Any, str], tuple[npt.NDArray[Any], npt.NDArray[Any]]]] = {
    "regression": regression_arrays,
    "classes": class_arrays,
    "scores": score_arrays,
}


def checked_tables(
    chosen: Sequence[Metric], preds: npt.NDArray[Any], target: Any, folds: Ints, groups: Ints, fold_count: int
) -> list[Cells]:
    """Check predictions as the metrics would, and cut them into cells.

    Args:
        chosen: metrics of one kind.
        preds: (S, N), or (S, N, K) for K outputs.
        target: (N,) or (N, K).
        folds: number of the fold of each row, (N,).
        groups: number of the group of each row, (N,).
        fold_count: number of folds, also those without rows.

    Returns:
        One table for each output.

    Raises:
        BadInput: metrics of several kinds, or arrays that the metrics refuse.
    """
    names = " ".join(one.name for one in chosen)
    kinds = sorted({one.kind for one in chosen})
    if len(kinds) != 1:
        raise BadInput(
            f"Scores by `{names}` were asked for.",
            f"These are metrics of {len(kinds)} kinds: {', '.join(kinds) or 'none'}.",
            "Score with metrics of one kind at a time; `regression` takes numbers, `classes` class ids, `scores` real "
            "scores against 0 and 1.",
        )
    target = np.asarray(target)
    outputs = target.shape[1] if target.ndim == 2 and kinds == ["regression"] else None
    tables = []
    for k in range(outputs or 1):
        column = target if outputs is None else target[:, k]
        pairs = [CHECKS[kinds[0]](one if outputs is None else one[:, k], column, names) for one in preds]
        checked = np.stack([pair[0] for pair in pairs]).astype(np.float64)
        tables.append(Cells(checked, pairs[0][1].astype(np.float64), folds, groups, fold_count))
    return tables


def score_draws(chosen: Sequence[Metric], tables: Sequence[Cells], cells: Ints, draws: Floats) -> Floats:
    """Score resamples of some cells.

    Args:
        chosen: metrics of one kind.
        tables: one for each output.
        cells: the numbers of the cells that take part, (P,).
        draws: how often each of them counts, (B, P).

    Returns:
        (metrics, B, S), nan where undefined; the mean over the outputs.
    """
    if len(tables) == 1:
        return _score_output(chosen, tables[0], cells, draws)
    return np.mean([_score_output(chosen, table, cells, draws) for table in tables], axis=0)


def _score_output(chosen: Sequence[Metric], table: Cells, cells: Ints, draws: Floats) -> Floats:
    """Score one output; as `score_draws`."""
    drawn_moments: Moments | None = None
    drawn_counts: Floats | None = None
    result = []
    for one in chosen:
        if one.from_moments is not None:
            if drawn_moments is None:
                sums, offset = table.moment_sums
                drawn_moments = moments_from(np.tensordot(draws, sums[cells], axes=1), offset)  # sums (B, S, 8)
            result.append(one.from_moments(drawn_moments))
        elif one.from_confusion is not None:
            if drawn_counts is None:
                drawn_counts = np.tensordot(draws, table.confusion_sums[cells], axes=1)  # (B, S, C, C)
            result.append(one.from_confusion(drawn_counts))
        elif one.from_weights is not None:
            result.append(_weigh_rows(one, table, cells, draws))
        else:
            result.append(_repeat_rows(one, table, cells, draws))
    return np.stack(result)


def _rows_of(table: Cells, cells: Ints) -> tuple[Ints, Ints]:
    """Return the rows that some cells hold, in order, and the place of each row's cell among them."""
    column = np.full(table.cell_count, -1)
    column[cells] = np.arange(len(cells))
    rows = np.flatnonzero(column[table.cell_of_row] >= 0)
    return rows, column[table.cell_of_row[rows]]


def _weigh_rows(one: Metric, table: Cells, cells: Ints, draws: Floats) -> Floats:
    """Score resamples by a metric of ranked scores that takes a weight per row: (B, S)."""
    result = np.full((len(draws), len(table.preds)), np.nan)
    rows, column_of_row = _rows_of(table, cells)
    if rows.size == 0 or one.from_weights is None:
        return result
    block = max(1, BLOCK // rows.size)
    for s, preds in enumerate(table.preds):
        # Ranked here once, equal scores in their order, so that each block finds them ranked and sorts nothing.
        ranked = np.argsort(-preds[rows], kind="stable")
        scores, target, column = preds[rows][ranked], table.target[rows][ranked], column_of_row[ranked]
        for start in range(0, len(draws), block):
            part = slice(start, start + block)
            result[part, s] = one.from_weights(scores, target, draws[part][:, column])
    return result


def _repeat_rows(one: Metric, table: Cells, cells: Ints, draws: Floats) -> Floats:
    """Score resamples by a metric that knows neither sums nor weights, repeating the rows themselves: (B, S)."""
    rows, column_of_row = _rows_of(table, cells)
    result = np.full((len(draws), len(table.preds)), np.nan)
    for b, draw in enumerate(draws):
        repeated = np.repeat(rows, draw[column_of_row].astype(np.int64))
        if repeated.size:
            result[b] = [float(one(preds[repeated], table.target[repeated])) for preds in table.preds]
    return result
