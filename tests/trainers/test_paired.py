"""Paired tests: equal to resampling and swapping by hand and to SciPy, honest under the null, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers import paired
from cuebank.trainers.groups import Groups
from cuebank.trainers.metrics import metric, metrics
from cuebank.trainers.paired import compare

NAMES = {kind: [one.name for one in metrics(kind)] for kind in ("regression", "classes", "scores")}


def two_runs(n: int, groups: int, kind: str = "regression", seeds: int = 1, gain: float = 0.3, seed: int = 0):
    """Predictions of two runs (S, N), the first less noisy by `gain`; target, groups."""
    rng = np.random.default_rng(n + groups + seed)
    codes = np.sort(rng.integers(0, groups, size=n))
    codes[:groups] = np.arange(groups)
    target = rng.normal(size=n)
    shared = 0.6 * target + rng.normal(size=groups)[codes] * 0.3
    first = shared + rng.normal(size=(seeds, n)) * (1 - gain)
    second = shared + rng.normal(size=(seeds, n))
    if kind != "regression":
        target = (target > 0).astype(int)
    if kind == "classes":
        first, second = (first > 0).astype(int), (second > 0).astype(int)
    return first, second, target, Groups(codes, tuple(f"g{i:03d}" for i in range(groups)))


def mean_score(name, runs, target, rows):
    return np.mean([metric(name)(run[rows], target[rows]) for run in runs])


@pytest.mark.parametrize("kind", list(NAMES))
def test_the_bootstrap_equals_repeating_the_rows_of_the_drawn_groups_for_both_runs(kind):
    first, second, target, groups = two_runs(120, 10, kind, seeds=2)
    found = compare(first, second, target, np.zeros(120, int), groups, NAMES[kind], resamples=60, seed=3)
    drawn = np.random.default_rng(3).integers(0, 10, size=(60, 10))
    for name in NAMES[kind]:
        differences = []
        for sample in drawn:
            rows = np.concatenate([np.flatnonzero(groups.codes == g) for g in sample])
            differences.append(mean_score(name, first, target, rows) - mean_score(name, second, target, rows))
        one = found[name]
        everything = np.arange(120)
        assert one.first == pytest.approx(mean_score(name, first, target, everything), rel=1e-9)
        assert one.second == pytest.approx(mean_score(name, second, target, everything), rel=1e-9)
        assert one.difference == pytest.approx(one.first - one.second, abs=1e-12)
        np.testing.assert_allclose([one.low, one.high], np.quantile(differences, [0.025, 0.975]), atol=1e-9)
        below, above = (np.sum(np.array(differences) <= 1e-12), np.sum(np.array(differences) >= -1e-12))
        assert one.p_bootstrap == pytest.approx(min(1, 2 * (1 + min(below, above)) / 61))


@pytest.mark.parametrize("kind", list(NAMES))
def test_the_permutation_equals_trying_every_swap_of_groups_by_hand(kind):
    first, second, target, groups = two_runs(60, 6, kind)
    found = compare(first, second, target, np.zeros(60, int), groups, NAMES[kind], resamples=100)
    for name in NAMES[kind]:
        differences = []
        for swap in itertools.product([False, True], repeat=6):
            chosen = np.array(swap)[groups.codes]
            one, other = np.where(chosen, second[0], first[0]), np.where(chosen, first[0], second[0])
            differences.append(metric(name)(one, target) - metric(name)(other, target))
        expected = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
        assert found[name].swaps == "all 64"
        assert found[name].p_permutation == pytest.approx(expected, abs=1e-12), name


def test_the_permutation_of_a_mean_equals_scipys():
    from scipy.stats import permutation_test

    first, second, target, groups = two_runs(10, 10, gain=0.5)
    found = compare(first, second, target, np.zeros(10, int), groups, ["mae"], resamples=1024)["mae"]
    errors = np.abs(first[0] - target), np.abs(second[0] - target)
    expected = permutation_test(
        errors, lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert found.swaps == "all 1024"
    assert found.difference == pytest.approx(expected.statistic)
    assert found.p_permutation == pytest.approx(expected.pvalue)


def test_random_swaps_come_near_to_all_swaps_and_blocks_change_nothing(monkeypatch):
    first, second, target, groups = two_runs(200, 12, gain=0.15)
    arguments = (first, second, target, np.zeros(200, int), groups, ["ccc"])
    every = compare(*arguments, resamples=4096)["ccc"]
    some = compare(*arguments, resamples=4000)["ccc"]
    assert (every.swaps, some.swaps) == ("all 4096", "4000 random")
    assert some.p_permutation == pytest.approx(every.p_permutation, abs=0.03)
    monkeypatch.setattr(paired, "BLOCK", 12 * 7)
    assert compare(*arguments, resamples=4000)["ccc"].p_permutation == some.p_permutation


def test_with_folds_the_mean_over_folds_is_compared():
    first, second, target, groups = two_runs(120, 12)
    folds = groups.codes % 3
    one = compare(first, second, target, folds, groups, ["ccc"], resamples=200)["ccc"]
    by_hand = [
        metric("ccc")(first[0][folds == f], target[folds == f])
        - metric("ccc")(second[0][folds == f], target[folds == f])
        for f in range(3)
    ]
    assert one.difference == pytest.approx(np.mean(by_hand), rel=1e-9)
    assert one.low < one.difference < one.high


def test_several_outputs_are_compared_by_the_mean_of_each():
    first, second, target, groups = two_runs(80, 8)
    several = [np.stack([array, array**3], axis=-1) for array in (first, second, target)]
    one = compare(*several, np.zeros(80, int), groups, ["pearson"], resamples=50)["pearson"]
    assert one.first == pytest.approx(metric("pearson")(several[0][0], several[2]), rel=1e-9)
    assert one.p_permutation is not None


def test_ranked_scores_with_ties_keep_the_order_of_rows_when_swapped():
    # Every score is the same, so that the order of rows alone decides; swapping must change nothing at all.
    same, target = np.full(40, 0.5), np.arange(40) % 2
    groups = Groups(np.arange(40) // 8, tuple("abcde"))
    one = compare(same, same, target, np.zeros(40, int), groups, ["map_ava"], resamples=40)["map_ava"]
    assert (one.difference, one.low, one.high, one.p_bootstrap, one.p_permutation) == (0, 0, 0, 1, 1)
    assert one.first == one.second == metric("map_ava")(same, target)
    assert one.better is None


def test_better_follows_the_direction_of_the_metric():
    first, second, target, groups = two_runs(300, 15, gain=0.8)
    found = compare(first, second, target, np.zeros(300, int), groups, ["ccc", "mae"])
    assert found["ccc"].difference > 0 > found["mae"].difference
    assert [one.better for one in found.values()] == ["first", "first"]
    back = compare(second, first, target, np.zeros(300, int), groups, ["ccc"])["ccc"]
    assert back.better == "second"
    assert back.p_permutation == found["ccc"].p_permutation
    for one in found.values():
        assert max(one.p_bootstrap, one.p_permutation) < 0.01


def test_without_a_difference_about_one_in_twenty_is_significant_and_groups_count_not_rows():
    tests = []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        codes = np.repeat(np.arange(24), 10)  # errors are equal within a group, so that there are only 24 observations
        target = np.zeros(240)
        first, second = (rng.normal(size=24)[codes] for _ in range(2))
        groups = Groups(codes, tuple(f"{i:02d}" for i in range(24)))
        tests.append(compare(first, second, target, target.astype(int), groups, ["mae"], resamples=200, seed=trial))
    for name, most in (("p_permutation", 0.09), ("p_bootstrap", 0.12)):
        significant = np.mean([getattr(one["mae"], name) < 0.05 for one in tests])
        assert 0.01 <= significant <= most, name


def test_an_undefined_score_is_none_with_its_reason():
    first, second, target, groups = two_runs(60, 6)
    one = compare(first, np.full_like(second, 0.1), target, np.zeros(60, int), groups, ["pearson"])["pearson"]
    assert (one.second, one.difference, one.p_bootstrap, one.p_permutation, one.better) == (None,) * 5
    assert one.reasons == ("The score of the second run is undefined: predictions or target are constant.",)
    folds = groups.codes % 2
    target[folds == 1] = 0.0
    assert compare(first, second, target, folds, groups, ["r2"], resamples=20)["r2"].difference is None


def test_one_group_gives_a_difference_and_no_test_and_few_groups_say_what_they_can_show():
    first, second, target, _ = two_runs(30, 1)
    one = compare(first, second, target, np.zeros(30, int), Groups(np.zeros(30, int), ("a",)), ["mae"])["mae"]
    assert one.difference is not None
    assert (one.low, one.p_bootstrap, one.p_permutation) == (None, None, None)
    assert one.reasons == ("There is no test: only one group.",)
    assert one.to_json()["reasons"] == ["There is no test: only one group."]
    first, second, target, groups = two_runs(30, 3)
    few = compare(first, second, target, np.zeros(30, int), groups, ["mae"])["mae"]
    assert few.p_permutation >= 0.25
    assert any("no permutation can give p below 0.25" in reason for reason in few.reasons)


def test_runs_with_other_rows_or_seeds_are_refused():
    first, second, target, groups = two_runs(30, 3, seeds=2)
    folds = np.zeros(30, int)
    for arguments in (
        (first, second[:, :-1], target, folds, groups),
        (first, second[:1], target, folds, groups),
        (first[:, :-1], second[:, :-1], target, folds, groups),
        (first, second, target, folds[:-1], groups),
        (np.where(first > 0, np.nan, first), second, target, folds, groups),
    ):
        with pytest.raises(BadInput):
            compare(*arguments, ["mae"])
    with pytest.raises(NotFound):
        compare(first, second, target, folds, groups, ["mea"])
