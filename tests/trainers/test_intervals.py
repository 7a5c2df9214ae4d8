"""Scores and their intervals: equal to resampling by hand, groups drawn and not rows, nothing undefined hidden."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers import intervals, resamples
from cuebank.trainers.groups import Groups
from cuebank.trainers.intervals import interval_note, score_with_intervals
from cuebank.trainers.metrics import Metric, metric, metrics

REGRESSION = [one.name for one in metrics("regression")]
CLASSES = [one.name for one in metrics("classes")]
SCORES = [one.name for one in metrics("scores")]
NAMES = {"regression": REGRESSION, "classes": CLASSES, "scores": SCORES}


def rows(n: int, groups: int, folds: int, kind: str = "regression", seeds: int = 1, effect: float = 0.0):
    """Targets, predictions, folds and groups; `effect` is the spread of the groups' own errors."""
    rng = np.random.default_rng(n + groups)
    codes = rng.integers(0, groups, size=n)
    codes[:groups] = np.arange(groups)
    target = rng.normal(size=n)
    preds = 0.6 * target + rng.normal(size=(seeds, n)) * 0.5 + (rng.normal(size=groups) * effect)[codes]
    if kind != "regression":
        target = (target > 0).astype(int)
    if kind == "classes":
        preds = (preds > 0).astype(int)
    return preds, target, codes % folds, Groups(codes, tuple(f"g{i:05d}" for i in range(groups)))


@pytest.mark.parametrize("kind", list(NAMES))
def test_per_fold_and_pooled_scores_equal_the_metric_on_those_rows(kind):
    names = NAMES[kind]
    preds, target, folds, groups = rows(200, 12, 4, kind, seeds=2)
    scores = score_with_intervals(preds, target, folds, groups, names)
    for name in names:
        by_hand = [[metric(name)(p[folds == f], target[folds == f]) for f in range(4)] for p in preds]
        np.testing.assert_allclose(scores[name].per_fold, np.mean(by_hand, axis=0), rtol=1e-9)
        np.testing.assert_allclose(scores[name].per_seed, np.mean(by_hand, axis=1), rtol=1e-9)
        assert scores[name].mean == pytest.approx(np.mean(by_hand), rel=1e-9)
        assert scores[name].pooled == pytest.approx(np.mean([metric(name)(p, target) for p in preds]), rel=1e-9)


@pytest.mark.parametrize("kind", list(NAMES))
def test_intervals_equal_those_of_repeating_the_rows_of_drawn_groups(kind):
    names = NAMES[kind]
    preds, target, folds, groups = rows(120, 10, 2, kind, seeds=2)
    count = 40
    scores = score_with_intervals(preds, target, folds, groups, names, resamples=count, seed=5)
    drawn = np.random.default_rng(5).integers(0, 10, size=(count, 10))
    for name in names:
        means, pooled = [], []
        for sample in drawn:
            repeated = np.concatenate([np.flatnonzero(groups.codes == g) for g in sample])
            pooled.append(np.mean([metric(name)(p[repeated], target[repeated]) for p in preds]))
            total, weights = 0.0, 0.0
            for fold in range(2):
                inside = repeated[folds[repeated] == fold]
                weight = np.count_nonzero(sample % 2 == fold) / 5
                if weight:
                    total += weight * np.mean([metric(name)(p[inside], target[inside]) for p in preds])
                    weights += weight
            means.append(total / weights)
        for values, low, high in (
            (means, scores[name].low, scores[name].high),
            (pooled, scores[name].pooled_low, scores[name].pooled_high),
        ):
            np.testing.assert_allclose([low, high], np.quantile(values, [0.025, 0.975]), rtol=1e-9)


def test_a_metric_that_is_no_function_of_sums_gets_the_same_interval_by_repeating_rows(monkeypatch):
    preds, target, folds, groups = rows(90, 9, 3)
    expected = score_with_intervals(preds, target, folds, groups, ["mae"], resamples=50)["mae"]
    mae = metric("mae")
    plain = Metric(mae.name, mae.title, mae.higher_is_better, mae.kind, mae.undefined, mae.function)
    monkeypatch.setattr(intervals, "metric", lambda name: plain)
    found = score_with_intervals(preds, target, folds, groups, ["mae"], resamples=50)["mae"]
    for value, other in zip(found.to_json().values(), expected.to_json().values(), strict=True):
        assert value == pytest.approx(other, rel=1e-9)


def test_several_outputs_are_scored_and_resampled_as_the_mean_of_each():
    preds, target, folds, groups = rows(90, 9, 3, seeds=2)
    preds, target = np.stack([preds, preds**2], axis=-1), np.stack([target, target**3], axis=-1)
    found = score_with_intervals(preds, target, folds, groups, ["pearson", "mae"], resamples=30, seed=2)
    drawn = np.random.default_rng(2).integers(0, 9, size=(30, 9))
    for name in ("pearson", "mae"):
        pooled = []
        for sample in drawn:
            repeated = np.concatenate([np.flatnonzero(groups.codes == g) for g in sample])
            pooled.append(np.mean([metric(name)(p[repeated], target[repeated]) for p in preds]))
        assert found[name].pooled == pytest.approx(np.mean([metric(name)(p, target) for p in preds]), rel=1e-9)
        bounds = [found[name].pooled_low, found[name].pooled_high]
        np.testing.assert_allclose(bounds, np.quantile(pooled, [0.025, 0.975]), rtol=1e-9)


def test_one_output_of_several_that_is_constant_makes_the_score_undefined():
    preds, target, folds, groups = rows(90, 9, 3)
    one = score_with_intervals(
        np.stack([preds, preds * 0], axis=-1), np.stack([target, target], axis=-1), folds, groups, ["pearson"]
    )["pearson"]
    assert (one.mean, one.pooled, one.low) == (None, None, None)
    assert any("predictions or target are constant" in reason for reason in one.reasons)


def test_ranked_scores_in_small_blocks_are_the_same(monkeypatch):
    preds, target, folds, groups = rows(200, 10, 2, "scores")
    whole = score_with_intervals(preds, target, folds, groups, SCORES, resamples=50)
    monkeypatch.setattr(resamples, "BLOCK", 450)
    assert score_with_intervals(preds, target, folds, groups, SCORES, resamples=50) == whole


def test_a_fold_without_positives_is_undefined_for_ranked_scores_and_the_pooled_score_is_not():
    preds, target, folds, groups = rows(120, 12, 3, "scores")
    target[folds == 1] = 0
    one = score_with_intervals(preds, target, folds, groups, ["average_precision"])["average_precision"]
    assert one.per_fold[1] is None
    assert one.mean is None
    assert one.pooled is not None
    assert "Undefined in 1 of 3 folds (1): the target has no positive row." in one.reasons[0]


def test_metrics_of_several_kinds_at_once_are_refused():
    preds, target, folds, groups = rows(30, 3, 3, "classes")
    with pytest.raises(BadInput, match="2 kinds: classes, regression"):
        score_with_intervals(preds, target, folds, groups, ["accuracy", "mae"])


def test_the_score_of_the_sample_itself_lies_within_its_interval_for_groups_of_ordinary_size():
    preds, target, folds, groups = rows(1500, 50, 5, effect=0.3)
    for one in score_with_intervals(preds, target, folds, groups, REGRESSION).values():
        assert one.low < one.mean < one.high
        assert one.pooled_low < one.pooled < one.pooled_high
        assert one.reasons == ()


def test_groups_are_resampled_and_not_rows():
    # All rows of a group are copies of one row: n is 2,000, but there are only 20 independent observations.
    preds, target, folds, groups = rows(20, 20, 2)
    copies = np.repeat(np.arange(20), 100)
    many = Groups(groups.codes[copies], groups.names)
    one = score_with_intervals(preds, target, folds, groups, ["mae"])["mae"]
    copied = score_with_intervals(preds[:, copies], target[copies], folds[copies], many, ["mae"])["mae"]
    assert (copied.low, copied.high) == pytest.approx((one.low, one.high), rel=1e-9)
    apart = Groups(np.arange(2000), tuple(map(str, range(2000))))
    rowwise = score_with_intervals(preds[:, copies], target[copies], folds[copies], apart, ["mae"])["mae"]
    assert rowwise.high - rowwise.low < 0.2 * (copied.high - copied.low)


def test_intervals_cover_the_expected_score_about_as_often_as_they_promise():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(40), 10)
    groups, found = Groups(codes, tuple(f"{i:02d}" for i in range(40))), []
    for trial in range(300):
        target = rng.normal(size=40)[codes] * 0.5 + rng.normal(size=400)
        preds = 0.5 * target + rng.normal(size=40)[codes] * 0.3 + rng.normal(size=400) * 0.7
        found.append(score_with_intervals(preds, target, codes % 5, groups, ["ccc", "mae"], seed=trial, resamples=300))
    for name in ("ccc", "mae"):
        for value, low, high in (("mean", "low", "high"), ("pooled", "pooled_low", "pooled_high")):
            truth = np.mean([getattr(one[name], value) for one in found])
            covered = np.mean([getattr(one[name], low) <= truth <= getattr(one[name], high) for one in found])
            assert 0.88 <= covered <= 0.98


def test_the_same_seed_gives_the_same_interval_and_blocks_change_nothing(monkeypatch):
    preds, target, folds, groups = rows(300, 30, 3)
    whole = score_with_intervals(preds, target, folds, groups, ["ccc"])["ccc"]
    assert whole == score_with_intervals(preds, target, folds, groups, ["ccc"])["ccc"]
    assert whole.low != score_with_intervals(preds, target, folds, groups, ["ccc"], seed=1)["ccc"].low
    monkeypatch.setattr(intervals, "BLOCK", 30 * 7)
    cut = score_with_intervals(preds, target, folds, groups, ["ccc"])["ccc"]
    assert (cut.low, cut.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


def test_groups_that_were_never_tested_are_not_drawn():
    preds, target, folds, groups = rows(100, 10, 2)
    more = Groups(groups.codes * 3, tuple(f"h{i:05d}" for i in range(40)))
    names = ["ccc", "mae"]
    expected = score_with_intervals(preds, target, folds, groups, names)
    assert score_with_intervals(preds, target, folds, more, names) == expected


def test_intervals_of_3505_rows_and_five_metrics_take_less_than_a_second():
    for count in (14, 3505):
        preds, target, folds, groups = rows(3505, count, 5)
        start = time.perf_counter()
        score_with_intervals(preds, target, folds, groups, ["ccc", "pearson", "r2", "mse", "mae"])
        assert time.perf_counter() - start < 1.0


def test_a_score_that_is_undefined_in_a_fold_is_none_with_the_fold_and_the_reason():
    preds, target, folds, groups = rows(120, 12, 3)
    target[folds == 1] = 0.1
    one = score_with_intervals(preds, target, folds, groups, ["r2", "mae"], fold_names=["a", "b", "c"])
    assert one["r2"].per_fold[1] is None
    assert (one["r2"].mean, one["r2"].low, one["r2"].high) == (None, None, None)
    assert one["r2"].pooled is not None
    assert "Undefined in 1 of 3 folds (b): the target is constant." in one["r2"].reasons[0]
    assert None not in one["mae"].per_fold
    assert one["mae"].reasons == ()


def test_constant_predictions_are_undefined_for_pearson_and_zero_for_ccc():
    _, target, folds, groups = rows(120, 12, 3)
    scores = score_with_intervals(np.full(120, 0.1), target, folds, groups, ["pearson", "ccc"])
    assert scores["pearson"].mean is None
    assert scores["pearson"].pooled is None
    assert any("pooled score is undefined" in reason for reason in scores["pearson"].reasons)
    assert (scores["ccc"].mean, scores["ccc"].low, scores["ccc"].high) == (0.0, 0.0, 0.0)


def test_a_fold_without_rows_is_undefined_and_not_zero():
    preds, target, folds, groups = rows(60, 6, 2)
    one = score_with_intervals(preds, target, folds, groups, ["mae"], fold_names=["0", "1", "2"])["mae"]
    assert one.per_fold[2] is None
    assert one.mean is None
    assert "(2): there are no rows" in one.reasons[0]


def test_one_group_has_scores_but_no_interval():
    preds, target, folds, groups = rows(30, 1, 1)
    one = score_with_intervals(preds, target, folds, groups, ["ccc"])["ccc"]
    assert one.mean is not None
    assert (one.low, one.high, one.pooled_low, one.pooled_high) == (None, None, None, None)
    assert "only one group" in interval_note(1)
    assert "14 groups" in interval_note(14)
    assert interval_note(76) is None


def test_undefined_resamples_are_counted():
    # Two groups, one with a constant target: a quarter of the resamples consists of it alone.
    target = np.r_[np.linspace(0, 1, 5), np.full(5, 0.5)]
    groups = Groups(np.repeat([0, 1], 5), ("a", "b"))
    one = score_with_intervals(target + 0.1, target, np.zeros(10, int), groups, ["pearson"], resamples=2000)["pearson"]
    remark = next(reason for reason in one.reasons if "pooled" in reason)
    assert int(remark.split(" of ")[0].split()[-1]) == pytest.approx(500, abs=80)


def test_a_mean_outside_of_its_own_interval_is_said():
    rng = np.random.default_rng(0)
    target = rng.normal(size=60)
    groups = Groups(np.arange(60), tuple(f"{i:02d}" for i in range(60)))
    preds = target + rng.normal(size=60) * 0.05
    one = score_with_intervals(preds, target, np.arange(60) % 30, groups, ["ccc"], resamples=300)["ccc"]
    assert one.mean > one.high
    assert any("outside its interval" in reason for reason in one.reasons)


def test_arrays_that_do_not_fit_together_are_refused():
    preds, target, folds, groups = rows(30, 3, 3)
    for arguments in (
        (preds, target, folds[:-1], groups),
        (preds[:, :-1], target, folds, groups),
        (preds, target, folds - 1, groups),
        (preds[None], target, folds, groups),
        (np.where(preds > 0, np.nan, preds), target, folds, groups),
    ):
        with pytest.raises(BadInput):
            score_with_intervals(*arguments, ["ccc"])
    with pytest.raises(NotFound):
        score_with_intervals(preds, target, folds, groups, ["cc"])
    with pytest.raises(BadInput, match="class ids"):
        score_with_intervals(preds, target, folds, groups, ["accuracy"])
