"""Selection splits and whole plans: groups never straddle, the test part is touched once, parity says what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers.groups import Groups, resolve_groups
from cuebank.trainers.protocol import (
    PROTOCOLS,
    Fold,
    SplitPlan,
    check_no_leak,
    find_leaks,
    group_k_fold,
    plan_splits,
    with_inner_validation,
)


def numbered(codes) -> Groups:
    codes = np.asarray(codes)
    return Groups(codes, tuple(f"g{i:03d}" for i in range(int(codes.max()) + 1)))


@given(st.lists(st.integers(0, 7), min_size=3, max_size=80), st.floats(0.01, 0.99), st.integers(0, 5))
def test_inner_validation_takes_whole_groups_and_leaves_at_least_one(raw, fraction, seed):
    groups = numbered(raw)
    fold = Fold(np.arange(len(raw)), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), "0")
    if np.unique(groups.codes).size < 2:
        with pytest.raises(BadInput, match="a group is never split"):
            with_inner_validation(fold, groups, fraction, seed)
        return
    made = with_inner_validation(fold, groups, fraction, seed)
    assert made.train.size
    assert made.validation.size
    assert not np.intersect1d(groups.codes[made.train], groups.codes[made.validation]).size
    np.testing.assert_array_equal(np.sort(np.r_[made.train, made.validation]), np.arange(len(raw)))
    assert (np.diff(made.train) > 0).all()
    assert (np.diff(made.validation) > 0).all()


def test_inner_validation_comes_near_the_fraction_of_rows():
    groups = numbered(np.repeat(np.arange(40), np.random.default_rng(0).integers(1, 60, size=40)))
    for fold in group_k_fold(groups):
        made = with_inner_validation(fold, groups, 0.2)
        assert made.validation.size / fold.train.size == pytest.approx(0.2, abs=0.02)


def test_inner_validation_depends_on_its_seed_only():
    groups = numbered(np.arange(20).repeat(5))
    fold = group_k_fold(groups)[0]
    first = with_inner_validation(fold, groups, seed=3)
    np.testing.assert_array_equal(first.validation, with_inner_validation(fold, groups, seed=3).validation)
    others = [with_inner_validation(fold, groups, seed=seed).validation for seed in range(4, 9)]
    assert any(other.size != first.validation.size or (other != first.validation).any() for other in others)


def test_one_giant_and_one_small_group_selects_on_the_small_one():
    groups = numbered([0] * 100 + [1] * 60)
    fold = Fold(np.arange(160), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), "0")
    assert with_inner_validation(fold, groups, 0.1).validation.tolist() == list(range(100, 160))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    groups = numbered([0, 1, 2])
    with pytest.raises(BadInput, match="validation fraction"):
        with_inner_validation(group_k_fold(groups, 3)[0], groups, fraction)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_keeps_train_validation_and_test_apart(protocol):
    groups = numbered(np.repeat(np.arange(14), 6))
    folds = (groups.codes % 4).tolist()
    splits = [("train", "train", "train", "test")[code % 4] for code in groups.codes]
    plan = plan_splits(protocol, groups, fold_column=folds, split_column=splits)
    assert find_leaks(plan, groups) == []
    for fold in plan.folds:
        assert fold.train.size
        assert fold.validation.size
        assert fold.test.size
        assert not np.intersect1d(fold.validation, fold.test).size


def test_a_validation_part_that_the_table_gives_is_used_as_it_is():
    groups = numbered([0, 0, 1, 2, 3])
    plan = plan_splits("table-split", groups, split_column=["train", "train", "val", "test", None])
    assert plan.folds[0].validation.tolist() == [2]
    assert plan.folds[0].train.tolist() == [0, 1]
    assert plan.notes == ("Rows without a split, which take no part: 1.",)


def test_parity_selects_on_the_test_part_and_says_so():
    groups = numbered(np.repeat(np.arange(14), 2))
    plan = plan_splits("sempi", groups, selection="test")
    for fold in plan.folds:
        np.testing.assert_array_equal(fold.validation, fold.test)
        assert fold.train.size + fold.test.size == 28
    assert any("best-epoch" in note for note in plan.notes)
    assert any("last 4 groups are never tested" in note for note in plan.notes)


def test_the_notes_say_that_rows_without_a_group_are_their_own():
    groups = resolve_groups([None] * 6, [str(i) for i in range(6)])
    assert any("own group" in note for note in plan_splits("group-k-fold", groups, folds=3).notes)


def test_a_group_in_two_folds_of_the_table_is_refused_by_name():
    groups = resolve_groups(["a", "a", "b", "c"], list("1234"))
    with pytest.raises(BadInput, match=r"1 group\(s\) both in (train|validation) and in test: 'a'"):
        plan_splits("table-folds", groups, fold_column=[0, 1, 1, 0])
    with pytest.raises(BadInput, match=r"both in train and in validation: 'a'"):
        plan_splits("table-split", groups, split_column=["train", "val", "test", "test"])


def test_a_planted_leak_of_rows_or_groups_is_found_and_refused():
    groups = numbered(np.repeat(np.arange(6), 3))
    plan = plan_splits("group-k-fold", groups, folds=3)
    fold = plan.folds[0]
    leaky = replace(fold, train=np.r_[fold.train, fold.test[:1]])
    planted = SplitPlan((leaky, *plan.folds[1:]), plan.protocol, plan.selection, plan.notes)
    findings = find_leaks(planted, groups)
    assert [text.split(": ")[1] for text in findings] == [
        "1 row(s) both in train and in test.",
        "1 group(s) both in train and in test",
    ]
    with pytest.raises(BadInput, match="Fold 0"):
        check_no_leak(planted, groups)


def test_validation_equal_to_test_is_a_finding_unless_it_was_asked_for():
    groups = numbered(np.repeat(np.arange(6), 3))
    plan = plan_splits("group-k-fold", groups, folds=3, selection="test")
    assert find_leaks(plan, groups) == []
    assert len(find_leaks(replace(plan, selection="inner"), groups)) == 6


def test_unknown_protocols_and_selections_answer_with_the_nearest():
    groups = numbered([0, 1, 2])
    with pytest.raises(NotFound, match="`group-k-fold`"):
        plan_splits("group-kfold", groups)
    with pytest.raises(NotFound, match="`inner`"):
        plan_splits("sempi", groups, selection="iner")


def test_two_groups_with_two_folds_cannot_select_and_the_message_says_what_to_do():
    with pytest.raises(BadInput, match="more groups or fewer folds"):
        plan_splits("group-k-fold", numbered([0, 0, 1, 1]), folds=2)
