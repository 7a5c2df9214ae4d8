"""The group of each row: names are data, absence is all or nothing and is said."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.groups import resolve_groups


def test_groups_are_numbered_in_code_point_order_capitals_first():
    groups = resolve_groups(["zoom", "PTSD", "Ask", "zoom"], ["1", "2", "3", "4"])
    assert groups.names == ("Ask", "PTSD", "zoom")
    np.testing.assert_array_equal(groups.codes, [2, 1, 0, 2])
    assert groups.notes == ()


def test_names_that_numpy_would_merge_stay_apart():
    assert resolve_groups(["a", "a\0", "a ", "ä"], list("1234")).names == ("a", "a\0", "a ", "ä")


def test_without_any_group_each_clip_is_its_own_and_its_entities_stay_together():
    groups = resolve_groups([None] * 4, ["c2", "c1", "c2", "c3"])
    np.testing.assert_array_equal(groups.codes, [1, 0, 1, 2])
    assert "each clip is its own group" in groups.notes[0]


def test_some_groups_missing_is_refused_with_the_first_clip():
    with pytest.raises(BadInput, match=r"1 of 3 rows have no group_id, the first for clip 'c2'"):
        resolve_groups(["g", None, "g"], ["c1", "c2", "c3"])


def test_no_rows_and_unequal_lengths_are_refused():
    for group_ids, clip_ids in (([], []), (["a"], []), ([None], ["c", "d"])):
        with pytest.raises(BadInput):
            resolve_groups(group_ids, clip_ids)
