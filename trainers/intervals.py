"""Scores with 95 % intervals, by resampling whole groups with replacement (percentile bootstrap).

Rows of one group are not independent, so groups are drawn, not rows. Two quantities, each with its own
interval:

- `pooled`: the metric over all out-of-fold predictions at once; a resample is G groups drawn out of G;
- `mean`: the mean over folds of the metric in each fold; a resample draws G groups out of G over all folds,
  recomputes each fold on the groups drawn in it, and averages with the weight (draws in the fold) / (groups
  of the fold). With every group drawn once all weights are 1, so the interval is of the very mean that is
  reported; a fold without draws has weight 0.

With several seeds every seed is scored on the same resample and the scores are averaged: intervals say how
much depends on the groups, `per_seed` how much on the seed. How resamples are scored is in `resamples`.

Intervals may be widened by a factor, for what resampling cannot see (see `widening`); never beyond what the metric can
be. With few groups percentile intervals are too narrow, and with one there is none; `interval_note` says so, once per
run. Resampled folds of very few groups repeat groups and score lower than the fold itself; where the mean thereby
leaves its own interval, the score says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..store.errors import BadInput
from .cells import Cells
from .groups import Groups
from .metrics import Metric, metric
from .metrics._arrays import Floats
from .resamples import checked_tables, score_draws

RESAMPLES = 1000
LEVEL = 0.95
# Numbers of one block of draws (resamples x groups): 32 MB as float64.
BLOCK = 4_000_000
_WORST = {"ccc": -1.0, "pearson": -1.0}
# Simulated with group effects, 14 groups of 100 rows in 5 folds: 87 to 96 % of the intervals cover, depending on the
# metric (bias-corrected and basic intervals did worse); 20 groups: 91 to 93 %.
FEW_GROUPS = 20


def interval_note(groups: int) -> str | None:
    """Return the sentence that a report of this many tested groups needs about its intervals, or None."""
    if groups < 2:
        return "There are no intervals: only one group was tested."
    if groups < FEW_GROUPS:
        return f"Intervals come from {groups} groups only and are too narrow: fewer than 95 % of such intervals hold."
    return None


@dataclass(frozen=True)
class Score:
    """One metric of a run. None stands for *undefined*; `reasons` then say why, one sentence each.

    Args:
        metric: its name.
        mean: mean over folds; `low`, `high`: its interval.
        per_fold: in the order of the folds, averaged over seeds.
        pooled: over all rows at once, averaged over seeds; `pooled_low`, `pooled_high`: its interval.
        per_seed: mean over folds for each seed.
        reasons: why something is None, or to be read with care.
    """

    metric: str
    mean: float | None
    low: float | None
    high: float | None
    per_fold: tuple[float | None, ...]
    pooled: float | None
    pooled_low: float | None
    pooled_high: float | None
    per_seed: tuple[float | None, ...]
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, undefined as null."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "per_fold": list(self.per_fold),
            "pooled": self.pooled,
            "pooled_low": self.pooled_low,
            "pooled_high": self.pooled_high,
            "per_seed": list(self.per_seed),
            "reasons": list(self.reasons),
        }


def bootstrap_draws(groups: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield blocks (B, groups): how often each group is drawn in each resample."""
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, BLOCK // groups))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = rng.integers(0, groups, size=(count, groups)) + np.arange(count)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)


def mean_defined(scores: Floats, weights: Floats) -> Floats:
    """Weighted mean over the last axis of the scores that are defined; nan where none has a weight."""
    weights = np.where(np.isnan(scores), 0.0, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.where(np.isnan(scores), 0.0, scores) * weights).sum(axis=-1) / weights.sum(axis=-1)


def score_folds(chosen: Sequence[Metric], tables: Sequence[Cells], draws: Floats) -> Floats:
    """Return the mean over folds, and the pooled score, of each resample (B, groups), for each seed.

    Args:
        chosen: metrics of one kind.
        tables: one for each output.
        draws: how often each group counts.

    Returns:
        (2, metrics, B, S), nan where undefined.
    """
    table = tables[0]
    everything = np.arange(table.cell_count)
    pooled = score_draws(chosen, tables, everything, draws[:, table.group_of_cell])  # (metrics, B, S)
    by_fold, weights = [], []
    for cells in table.cells_of_folds:
        if cells.size == table.cell_count:  # the only fold that has rows
            by_fold.append(pooled)
            weights.append(np.ones(len(draws)))
        elif cells.size:
            drawn = draws[:, table.group_of_cell[cells]]  # (B, cells of the fold)
            by_fold.append(score_draws(chosen, tables, cells, drawn))
            weights.append(drawn.mean(axis=1))
    fold_scores = np.stack(by_fold, axis=-1)  # (metrics, B, S, folds)
    return np.stack([mean_defined(fold_scores, np.stack(weights, axis=-1)[:, None, :]), pooled])


def _interval(values: Floats, level: float, what: str) -> tuple[float | None, float | None, list[str]]:
    """Percentiles of the defined resamples, and remarks."""
    defined = values[~np.isnan(values)]
    missing = values.size - defined.size
    if defined.size * 2 <= values.size:
        return None, None, [f"No interval of the {what}: it is undefined in {missing} of {values.size} resamples."]
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    remark = f"The {what} is undefined in {missing} of {values.size} resamples; they are left out of its interval."
    return float(low), float(high), [remark] if missing else []


def _widened(low: float, high: float, value: float, widen: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return an interval whose sides are so many times as long, within the bounds."""
    if widen == 1:
        return low, high
    centre = min(max(value, low), high)
    return max(bounds[0], centre - widen * (centre - low)), min(bounds[1], centre + widen * (high - centre))


def _limits(one: Metric, target: Floats) -> tuple[float, float]:
    """Return the worst and the best that a metric can be for a target, as far as is known, the lower first."""
    best = float(one(target, target)) if one.kind != "classes" else 1.0
    best = np.inf if np.isnan(best) else best
    worst = 0.0 if one.kind != "regression" else _WORST.get(one.name, -np.inf)
    return (worst, best) if one.higher_is_better else (0.0 if np.isinf(best) else best, np.inf)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _score(
    one: Metric,
    folds: Floats,
    pooled: float,
    resampled: Floats | None,
    level: float,
    fold_names: Sequence[str],
    widen: float,
    limits: tuple[float, float],
) -> Score:
    """Put one metric together.

    Args:
        one: the metric.
        folds: its score in each fold for each seed, (folds, S).
        pooled: its score over all rows, averaged over seeds.
        resampled: mean over folds and pooled score of each resample, (2, B); None for no intervals.
        level: of the intervals.
        fold_names: for remarks.
        widen, limits: see `_widened`.
    """
    per_fold = folds.mean(axis=1)
    mean, reasons = per_fold.mean(), []
    undefined = np.flatnonzero(np.isnan(per_fold))
    if undefined.size:
        names = ", ".join(str(fold_names[fold]) for fold in undefined[:8]) + (" …" if undefined.size > 8 else "")
        why = one.undefined or "there are no rows"
        reasons.append(f"Undefined in {undefined.size} of {len(per_fold)} folds ({names}): {why}. So is the mean.")
    if np.isnan(pooled):
        reasons.append(f"The pooled score is undefined: {one.undefined or 'there are no rows'}.")
    bounds: list[float | None] = []
    for i, (value, what) in enumerate(((mean, "mean over folds"), (pooled, "pooled score"))):
        if resampled is None or np.isnan(value):
            bounds += [None, None]
            continue
        low, high, remarks = _interval(resampled[i], level, what)
        if low is not None and high is not None:
            low, high = _widened(low, high, float(value), widen, limits)
        bounds += [low, high]
        reasons += remarks
        if low is not None and high is not None and not low <= value <= high:
            reasons.append(f"The {what} is outside its interval: folds have too few groups to be resampled.")
    return Score(
        metric=one.name,
        mean=_or_none(mean),
        low=bounds[0],
        high=bounds[1],
        per_fold=tuple(map(_or_none, per_fold)),
        pooled=_or_none(pooled),
        pooled_low=bounds[2],
        pooled_high=bounds[3],
        per_seed=tuple(map(_or_none, folds.mean(axis=0))),
        reasons=tuple(reasons),
    )


def score_with_intervals(
    preds: Any,
    target: Any,
    folds: Any,
    groups: Groups,
    names: Sequence[str],
    *,
    fold_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    widen: float = 1.0,
) -> dict[str, Score]:
    """Score out-of-fold predictions with several metrics of one kind.

    Args:
        preds: (N,), or (S, N) for S seeds; numbers, class ids for class metrics, real scores for metrics of scores.
            With K outputs, (N, K) or (S, N, K).
        target: (N,), or (N, K) for K outputs.
        folds: number of the fold that tested each row, (N,), 0 and up. A row tested in several folds is given
            several times.
        groups: the group of each row.
        names: of the metrics.
        fold_names: for remarks, and to count folds without rows; None for their numbers.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap; the same seed gives the same intervals.
        level: of the intervals, 0..1.
        widen: how many times as long the sides of intervals are made, 1 or more.

    Returns:
        `{name: Score}` in the order of the names.

    Raises:
        BadInput: shapes do not fit together, values are not finite, or the metrics are of several kinds.
        NotFound: unknown metric.

    Example:
        >>> from .groups import resolve_groups
        >>> four = resolve_groups(["a", "a", "b", "b"], ["1", "2", "3", "4"])
        >>> scores = score_with_intervals([0, 1, 3, 5], [0, 1, 3, 4], [0, 0, 1, 1], four, ["mae"], resamples=0)
        >>> scores["mae"].per_fold, scores["mae"].mean
        ((0.0, 0.5), 0.25)
    """
    chosen = [metric(name) for name in names]
    truth = np.asarray(target)
    by_seed = np.asarray(preds)
    by_seed = by_seed[None] if by_seed.ndim == truth.ndim else by_seed
    numbers = np.asarray(folds, dtype=np.int64)
    count = len(fold_names) if fold_names is not None else int(numbers.max(initial=-1)) + 1
    fits = numbers.ndim == 1 and numbers.shape == groups.codes.shape and by_seed.ndim == truth.ndim + 1
    if not fits or not by_seed.size or numbers.min(initial=0) < 0 or numbers.max(initial=-1) >= count:
        raise BadInput(
            "Scores of out-of-fold predictions were asked for.",
            f"Found preds {by_seed.shape}, folds {numbers.shape} of {count}, groups {groups.codes.shape}.",
            "Give preds (S, N), and one fold number from 0 and one group for each of the N rows.",
        )
    tables = checked_tables(chosen, by_seed, truth, numbers, groups.codes, count)
    table = tables[0]
    per_fold = np.full((len(chosen), count, len(by_seed)), np.nan)
    for fold, cells in enumerate(table.cells_of_folds):
        if cells.size:
            per_fold[:, fold] = score_draws(chosen, tables, cells, np.ones((1, cells.size)))[:, 0]
    everything = np.ones((1, table.cell_count))
    pooled = score_draws(chosen, tables, np.arange(table.cell_count), everything)[:, 0].mean(axis=-1)  # (metrics,)
    resampled = None
    if table.group_count > 1 and resamples > 0:
        equal = np.ones(len(by_seed))
        blocks = [
            mean_defined(score_folds(chosen, tables, draws), equal)
            for draws in bootstrap_draws(table.group_count, resamples, seed)
        ]
        resampled = np.concatenate(blocks, axis=-1)  # (2, metrics, resamples)
    labels = fold_names if fold_names is not None else [str(fold) for fold in range(count)]
    return {
        one.name: _score(
            one,
            per_fold[i],
            pooled[i],
            None if resampled is None else resampled[:, i],
            level,
            labels,
            widen,
            (-np.inf, np.inf) if widen == 1 else _limits(one, table.target),
        )
        for i, one in enumerate(chosen)
    }
