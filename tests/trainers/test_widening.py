"""Intervals of cross-validated scores: how much wider, and that nothing leaves what a metric can be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuebank.trainers.groups import Groups
from cuebank.trainers.intervals import score_with_intervals
from cuebank.trainers.protocol import plan_splits
from cuebank.trainers.widening import few_groups, shared_rows, widening


def grouped(groups: int, size: int = 10) -> Groups:
    return Groups(np.repeat(np.arange(groups), size), tuple(f"g{i:03d}" for i in range(groups)))


def test_the_factor_of_shared_rows_is_that_of_nadeau_and_bengio() -> None:
    for folds in (2, 5, 10):
        plan = plan_splits("group-k-fold", grouped(20), folds=folds)
        assert shared_rows(plan) == pytest.approx(math.sqrt(1 + folds / (folds - 1)))
    weights = np.repeat([1, 3], 100)
    assert shared_rows(plan_splits("group-k-fold", grouped(20), folds=5), weights) > 1.49
    single = plan_splits("table-split", grouped(4), split_column=["train"] * 20 + ["test"] * 20)
    assert shared_rows(single) == 1


def test_a_test_part_that_selects_is_not_counted_as_trained_on() -> None:
    plan = plan_splits("sempi", grouped(10), folds=5, selection="test")
    assert shared_rows(plan) == pytest.approx(1.5)


def test_the_factor_of_few_groups_is_that_of_students_quantile() -> None:
    assert few_groups(2) == pytest.approx(12.7062 / 1.95996 * math.sqrt(2), rel=1e-4)
    assert few_groups(14) == pytest.approx(2.16037 / 1.95996 * math.sqrt(14 / 13), rel=1e-4)
    assert few_groups(1) == 1
    plan = plan_splits("group-k-fold", grouped(20), folds=5)
    assert widening(plan, 20) == pytest.approx(1.5 * few_groups(20))


@pytest.mark.parametrize(
    ("names", "bounds"),
    [(("ccc", "pearson"), (-1, 1)), (("mse", "mae"), (0, np.inf)), (("r2",), (-np.inf, 1))],
)
def test_sides_grow_by_the_factor_but_not_beyond_what_the_metric_can_be(names, bounds) -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=120)
    preds, groups, folds = target + rng.normal(size=120), grouped(12), np.repeat(np.arange(3), 40)
    plain, wide, huge = (
        score_with_intervals(preds, target, folds, groups, names, widen=factor) for factor in (1.0, 1.5, 1e6)
    )
    for name in names:
        mean = plain[name].mean
        assert wide[name].mean == mean
        assert mean - wide[name].low == pytest.approx(1.5 * (mean - plain[name].low))
        assert wide[name].high - mean == pytest.approx(1.5 * (plain[name].high - mean))
        for end, low in ((huge[name].low, True), (huge[name].high, False)):
            limit = bounds[0] if low else bounds[1]
            assert end == pytest.approx(limit, abs=1e-9) if np.isfinite(limit) else abs(end) > 1e4


def test_classes_and_ranked_scores_stay_between_0_and_1() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 120)
    groups, folds = grouped(12), np.repeat(np.arange(3), 40)
    found = score_with_intervals(rng.integers(0, 2, 120), target, folds, groups, ["accuracy", "macro_f1"], widen=1e6)
    found |= score_with_intervals(rng.normal(size=120), target, folds, groups, ["roc_auc"], widen=1e6)
    for score in found.values():
        assert (score.low, score.high) == (0, 1)


def test_a_mean_outside_of_its_percentiles_widens_both_sides() -> None:
    from cuebank.trainers.intervals import _widened

    assert _widened(0.2, 0.4, 0.5, 2.0, (-1, 1)) == pytest.approx((0.0, 0.4))
    assert _widened(0.2, 0.4, 0.1, 2.0, (-1, 1)) == pytest.approx((0.2, 0.6))
