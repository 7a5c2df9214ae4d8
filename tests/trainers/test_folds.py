"""Outer folds: equal to scikit-learn's and to the published split, every row tested as often as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuebank.store.errors import BadInput
from cuebank.trainers.folds import group_k_fold, leave_one_group_out, sempi_folds, table_folds, table_split
from cuebank.trainers.groups import Groups, resolve_groups


def numbered(codes) -> Groups:
    codes = np.asarray(codes)
    return Groups(codes, tuple(f"g{i:03d}" for i in range(int(codes.max()) + 1)))


@pytest.mark.parametrize("count", [5, 14, 76])
@pytest.mark.parametrize("folds", [2, 5])
@pytest.mark.parametrize("seed", [None, 0, 7])
def test_group_k_fold_equals_scikit_learn(count, folds, seed):
    from sklearn.model_selection import GroupKFold

    # Sizes with many ties: their order is where versions of scikit-learn differ.
    codes = np.repeat(np.arange(count), np.random.default_rng(count).integers(1, 4, size=count))
    np.random.default_rng(0).shuffle(codes)
    theirs = GroupKFold(folds) if seed is None else GroupKFold(folds, shuffle=True, random_state=seed)
    ours = group_k_fold(numbered(codes), folds, seed)
    for fold, (train, test) in zip(ours, theirs.split(codes, groups=codes), strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.integers(2, 5))
def test_group_k_fold_tests_each_row_once_and_splits_no_group(raw, folds):
    groups = resolve_groups([str(g) for g in raw], [str(i) for i in range(len(raw))])
    if len(groups.names) < folds:
        with pytest.raises(BadInput):
            group_k_fold(groups, folds)
        return
    made = group_k_fold(groups, folds)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in made])), np.arange(len(raw)))
    for fold in made:
        assert fold.test.size
        assert not np.intersect1d(groups.codes[fold.train], groups.codes[fold.test]).size
        assert fold.train.size + fold.test.size == len(raw)


def test_more_folds_than_groups_is_refused_with_the_number_of_groups():
    with pytest.raises(BadInput, match=r"There are 3 groups.*2\.\.3 folds"):
        group_k_fold(numbered([0, 1, 2]), 4)
    with pytest.raises(BadInput, match="at least two values"):
        group_k_fold(numbered([0, 0]), 2)


def test_leave_one_group_out_tests_each_group_once_under_its_name():
    folds = leave_one_group_out(resolve_groups(["b", "a", "b"], ["1", "2", "3"]))
    assert [(fold.name, fold.test.tolist()) for fold in folds] == [("a", [1]), ("b", [0, 2])]
    with pytest.raises(BadInput, match="only one group, 'a'"):
        leave_one_group_out(resolve_groups(["a", "a"], ["1", "2"]))


def test_sempi_folds_never_test_the_last_four_of_fourteen_meetings():
    groups = numbered(np.tile(np.arange(14), 3))
    folds = sempi_folds(groups)
    assert [np.unique(groups.codes[fold.test]).tolist() for fold in folds] == [[2 * k, 2 * k + 1] for k in range(5)]
    assert all(fold.train.size == 36 for fold in folds)
    assert {10, 11, 12, 13} <= set(groups.codes[folds[0].train])


def test_sempi_folds_need_as_many_groups_as_folds():
    assert len(sempi_folds(numbered(range(5)))) == 5
    for count, folds in ((4, 5), (5, 1), (5, 0)):
        with pytest.raises(BadInput, match=f"{folds} folds"):
            sempi_folds(numbered(range(count)), folds)


@pytest.mark.golden("sempi_labels")
def test_sempi_folds_hold_out_the_meetings_that_the_original_held_out(golden_case):
    recorded = golden_case.json("sempi_labels")
    meetings = sorted({clip_id.split("/")[0] for clip_id in recorded["aligned_frame_counts"]})
    if len(meetings) != 14:
        pytest.skip(f"{len(meetings)} of the 14 meetings have clips, so their numbers are unknown")
    groups = resolve_groups(meetings, meetings)
    fold = sempi_folds(groups)[recorded["fold_id"]]
    tested = {meetings[row] for row in fold.test}
    for name, text in recorded["written"].items():
        found = {line.split("/")[0] for line in text.splitlines()[1:]}
        assert found <= tested if name.endswith("val.csv") else not found & tested


def test_table_folds_are_tested_in_order_of_their_values():
    folds = table_folds([2, 10, "b", 2])
    assert [(fold.name, fold.test.tolist()) for fold in folds] == [("2", [0, 3]), ("10", [1]), ("b", [2])]


@pytest.mark.parametrize("column", [[0, 1, None], [0, 0], []])
def test_a_fold_column_with_blanks_or_one_value_is_refused(column):
    with pytest.raises(BadInput, match="folds of the clips table"):
        table_folds(column)


def test_table_split_knows_the_usual_names_and_counts_rows_that_take_no_part():
    fold, unused = table_split(["train", "val", "test", None, "dev", "train", "validation"])
    assert (fold.train.tolist(), fold.validation.tolist(), fold.test.tolist()) == ([0, 5], [1, 4, 6], [2])
    assert unused == 1


@pytest.mark.parametrize(
    ("column", "message"), [(["train", "tset"], "`test`"), (["train"], "0 test"), ([None], "0 train")]
)
def test_a_split_column_without_train_or_test_or_with_a_slip_is_refused(column, message):
    with pytest.raises(BadInput, match=message):
        table_split(column)
