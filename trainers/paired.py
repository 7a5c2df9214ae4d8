"""Whether one run is better than another on the same rows: two tests that treat groups, not rows, as independent.

- *Paired bootstrap*: whole groups are drawn with replacement, both runs are scored on the same draw; the percentiles of
  the differences are the interval, and the two-sided p-value is twice the smaller share of differences on either side
  of zero, so that p < 0.05 goes with a 95 % interval without zero.
- *Permutation*: under the hypothesis that it does not matter which run made a prediction, the two runs' predictions may
  be swapped, group by group; p is the share of such swaps whose difference is at least as large as the one found. All
  swaps are tried where there are few groups, else random ones.

Both score the mean over folds, which with a single fold is the score of all rows. Several seeds are paired in their
order, and their differences averaged.

Source: the permutation test is Fisher's, with the observed arrangement counted (B. Phipson and G. Smyth, "Permutation
p-values should never be zero", 2010).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .cells import Cells
from .groups import Groups
from .intervals import BLOCK, LEVEL, RESAMPLES, bootstrap_draws, mean_defined, score_folds
from .metrics import Metric, metric
from .metrics._arrays import Floats
from .resamples import checked_tables, score_draws

# Differences that are equal but for rounding count as equal.
SAME = 1e-12


@dataclass(frozen=True)
class Paired:
    """One metric of two runs on the same rows. None stands for *undefined*; `reasons` say why.

    Args:
        metric: its name.
        first, second: the scores of the two runs.
        difference: first − second, in the metric's unit.
        low, high: interval of the difference by the bootstrap.
        p_bootstrap, p_permutation: two-sided, 0..1.
        better: `first`, `second`, or None where neither is (or the metric is undefined).
        groups: how many were resampled.
        swaps: how many arrangements the permutation tried, and whether these were all: `all 1024` or `1000 random`.
        reasons: why something is None, or to be read with care.
    """

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_bootstrap: float | None
    p_permutation: float | None
    better: str | None
    groups: int
    swaps: str
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, undefined as null."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def compare(
    first: Any,
    second: Any,
    target: Any,
    folds: Any,
    groups: Groups,
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Paired]:
    """Test whether two runs differ, by several metrics of one kind.

    Args:
        first: predictions of one run, (N,), or (S, N) for S seeds; with K outputs (N, K) or (S, N, K).
        second: predictions of the other for the same rows in the same order; of the same shape.
        target: (N,) or (N, K).
        folds: number of the fold that tested each row, (N,), 0 and up; all 0 for no folds.
        groups: the group of each row.
        names: of the metrics.
        resamples: of the bootstrap, and of the permutation unless all swaps are fewer; 0 for the difference alone.
        seed: of both; the same seed gives the same numbers.
        level: of the interval, 0..1.

    Returns:
        `{name: Paired}` in the order of the names.

    Raises:
        BadInput: the runs do not have the same rows and seeds, or their values are refused by a metric.
        NotFound: unknown metric.

    Example:
        >>> from .groups import resolve_groups
        >>> each = resolve_groups([None] * 6, list("abcdef"))
        >>> found = compare([1.0, 2, 3, 4, 5, 6], [0.0] * 6, [1, 2, 3, 4, 5, 7], [0] * 6, each, ["mae"])["mae"]
        >>> round(found.difference, 3), found.better, found.p_permutation, found.swaps
        (-3.5, 'first', 0.03125, 'all 64')
    """
    chosen = [metric(name) for name in names]
    tables = _tables(chosen, first, second, target, folds, groups)
    count = tables[0].group_count // 2
    scores = np.stack([_own_scores(chosen, tables, run) for run in (0, 1)])  # (2, metrics)
    drawn = swapped = None
    everything = 2**count <= max(resamples, 1)
    if count > 1 and resamples > 0:
        drawn = _differences(chosen, tables, (_first_only(d) for d in bootstrap_draws(count, resamples, seed)))
        swaps = _all_swaps(count) if everything else _random_swaps(count, resamples, seed)
        swapped = _differences(chosen, tables, (np.concatenate([1 - one, one], axis=1) for one in swaps))
    said = f"all {2**count}" if everything else f"{resamples} random"
    return {
        one.name: _paired(
            one,
            scores[:, i],
            None if drawn is None else drawn[i],
            None if swapped is None else swapped[i],
            everything,
            count,
            said if swapped is not None else "none",
            level,
        )
        for i, one in enumerate(chosen)
    }


def _tables(chosen: Sequence[Metric], first: Any, second: Any, target: Any, folds: Any, groups: Groups) -> list[Cells]:
    """Return one table per output of both runs' rows, side by side: group g of the second run is number g + G.

    The rows of the two runs alternate, so that the order of rows, which decides between equal scores, is kept
    whichever run a group's rows are taken from.
    """
    truth = np.asarray(target)
    runs = [np.asarray(run) for run in (first, second)]
    runs = [run[None] if run.ndim == truth.ndim else run for run in runs]
    numbers = np.asarray(folds, dtype=np.int64)
    n = groups.codes.size
    if runs[0].shape != runs[1].shape or runs[0].shape[1:] != truth.shape or numbers.shape != (n,) or len(truth) != n:
        raise BadInput(
            "Two runs were to be compared.",
            f"Found predictions {runs[0].shape} and {runs[1].shape} (seeds, rows), target {truth.shape}, folds "
            f"{numbers.shape}, groups {groups.codes.shape}.",
            "Both must predict the same rows, in the same order, under equally many seeds.",
        )
    present, codes = np.unique(groups.codes, return_inverse=True)
    both = np.stack([codes, codes + present.size], axis=1).ravel()
    together = np.stack(runs, axis=2).reshape(len(runs[0]), 2 * n, *truth.shape[1:])
    count = int(numbers.max(initial=-1)) + 1
    return checked_tables(chosen, together, np.repeat(truth, 2, axis=0), np.repeat(numbers, 2), both, count)


def _own_scores(chosen: Sequence[Metric], tables: Sequence[Cells], run: int) -> Floats:
    """Return the mean over folds of one run as it is, averaged over seeds; nan if any fold is undefined: (metrics,)."""
    table = tables[0]
    drawn = (table.group_of_cell // (table.group_count // 2) == run).astype(np.float64)[None]
    folds = [score_draws(chosen, tables, cells, drawn[:, cells])[:, 0] for cells in table.cells_of_folds if cells.size]
    return np.mean(folds, axis=(0, -1))


def _run_scores(chosen: Sequence[Metric], tables: Sequence[Cells], draws: Floats) -> Floats:
    """Score two runs, of the rows that draws (B, 2 G) take and of their counterparts: (2, metrics, B)."""
    count = draws.shape[1] // 2
    other = np.concatenate([draws[:, count:], draws[:, :count]], axis=1)
    equal = np.ones(len(tables[0].preds))
    return np.stack([mean_defined(score_folds(chosen, tables, one)[0], equal) for one in (draws, other)])


def _first_only(draws: Floats) -> Floats:
    """Let draws of G groups stand for the first run's rows: (B, 2 G)."""
    return np.concatenate([draws, np.zeros_like(draws)], axis=1)


def _differences(chosen: Sequence[Metric], tables: Sequence[Cells], blocks: Iterator[Floats]) -> Floats:
    """Return the differences of all resamples: (metrics, B)."""
    scores = [_run_scores(chosen, tables, block) for block in blocks]
    return np.concatenate([one[0] - one[1] for one in scores], axis=-1)


def _all_swaps(groups: int) -> Iterator[Floats]:
    """Yield every way to swap groups, (2**groups, groups) of 0 and 1."""
    yield ((np.arange(2**groups)[:, None] >> np.arange(groups)) & 1).astype(np.float64)


def _random_swaps(groups: int, count: int, seed: int) -> Iterator[Floats]:
    """Yield blocks of random swaps, (B, groups) of 0 and 1."""
    rng = np.random.default_rng([seed, 1])
    block = max(1, min(count, BLOCK // groups))
    for start in range(0, count, block):
        yield rng.integers(0, 2, size=(min(count, start + block) - start, groups)).astype(np.float64)


def _paired(
    one: Metric,
    scores: Floats,
    drawn: Floats | None,
    swapped: Floats | None,
    everything: bool,
    groups: int,
    swaps: str,
    level: float,
) -> Paired:
    """Put one metric together from the scores (2,) and the differences of resamples (B,) and of swaps."""
    difference = float(scores[0] - scores[1])
    reasons = []
    low = high = p_bootstrap = p_permutation = None
    if np.isnan(difference):
        reasons.append(f"The score of {_which(scores)} is undefined: {one.undefined or 'there are no rows'}.")
    elif drawn is None or swapped is None:
        reasons.append("There is no test: only one group." if groups < 2 else "No test was asked for.")
    else:
        p_permutation = _permutation_p(difference, swapped[~np.isnan(swapped)], everything)
        defined = drawn[~np.isnan(drawn)]
        for values, what in ((drawn, "resamples"), (swapped, "swaps")):
            missing = int(np.isnan(values).sum())
            if missing:
                reasons.append(f"The difference is undefined in {missing} of {values.size} {what}; they are left out.")
        if defined.size * 2 > drawn.size:
            low, high = (float(edge) for edge in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
            p_bootstrap = _bootstrap_p(defined)
        if 2.0 ** (1 - groups) > 1 - level:
            reasons.append(f"With {groups} groups no permutation can give p below {2.0 ** (1 - groups):.3g}.")
    better = None
    if not np.isnan(difference) and abs(difference) > SAME:
        better = "first" if one.better(float(scores[0]), float(scores[1])) else "second"
    shown = [None if np.isnan(value) else float(value) for value in (*scores, difference)]
    return Paired(
        metric=one.name,
        first=shown[0],
        second=shown[1],
        difference=shown[2],
        low=low,
        high=high,
        p_bootstrap=p_bootstrap,
        p_permutation=p_permutation,
        better=better,
        groups=groups,
        swaps=swaps,
        reasons=tuple(reasons),
    )


def _which(scores: npt.NDArray[np.float64]) -> str:
    """Say which of the two runs has no score."""
    missing = [name for name, value in zip(("the first run", "the second run"), scores, strict=True) if np.isnan(value)]
    return " and of ".join(missing)


def _bootstrap_p(differences: Floats) -> float:
    """Twice the smaller share of resampled differences on either side of zero; zero itself is on both."""
    below = (1 + np.count_nonzero(differences <= SAME)) / (1 + differences.size)
    above = (1 + np.count_nonzero(differences >= -SAME)) / (1 + differences.size)
    return float(min(1.0, 2 * min(below, above)))


def _permutation_p(difference: float, swapped: Floats, everything: bool) -> float:
    """The share of swaps that differ at least as much; random ones with the arrangement that was found."""
    as_large = np.count_nonzero(np.abs(swapped) >= abs(difference) - SAME)
    return float(as_large / swapped.size) if everything else float((1 + as_large) / (1 + swapped.size))
