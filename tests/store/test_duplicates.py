"""Copies of clips are found by what they hold, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store import FeatureSpec, FeatureStore, Key, NotFound, Recipe
from cuebank.store.duplicates import find_duplicates

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def store(tmp_path):
    with FeatureStore.open(tmp_path / "f.zarr", "a") as opened:
        for name in ("a.x", "b.x"):
            opened.create(FeatureSpec(name, "numeric", 3, "float32", Recipe(name[0], {"source": "synthetic"})))
        yield opened


def write(store, name, clip, rows=ROWS, shift=0.0, valid=True):
    store.write(name, clip, None, rows, np.arange(len(rows)) + shift, np.full(len(rows), valid))
    store.commit()


def places(*clips, **more):
    return {"a.x": [Key(clip) for clip in clips], **more}


def test_equal_series_are_found_over_segments_and_any_difference_tells_them_apart(store):
    for clip in ("one", "copy"):
        write(store, "a.x", clip)
    write(store, "a.x", "later", shift=0.25)
    write(store, "a.x", "shorter", rows=ROWS[:3])
    write(store, "a.x", "other", rows=ROWS + np.eye(4, 3, dtype=np.float32))
    write(store, "a.x", "again")
    found = find_duplicates(store, places("one", "later", "shorter", "copy", "other", "again"))
    assert found == [[0, 3, 5]]


def test_all_feature_sets_must_agree_and_absence_must_too(store):
    for clip in ("one", "two", "three", "four"):
        write(store, "a.x", clip)
    write(store, "b.x", "one")
    write(store, "b.x", "two")
    write(store, "b.x", "three", rows=ROWS + 1)
    keys = [Key("one"), Key("two"), Key("three"), None]
    assert find_duplicates(store, places("one", "two", "three", "four", **{"b.x": keys})) == [[0, 1]]


def test_items_without_rows_are_equal_to_nothing(store):
    write(store, "a.x", "none", rows=ROWS[:0])
    write(store, "a.x", "nothing", rows=ROWS[:0])
    assert find_duplicates(store, {"a.x": [Key("none"), Key("nothing"), None, None]}) == []
    assert find_duplicates(store, {}) == []


def test_equal_checksums_alone_prove_nothing(store, monkeypatch):
    write(store, "a.x", "one")
    write(store, "a.x", "two", rows=ROWS + 1)
    monkeypatch.setattr("cuebank.store.duplicates._marks", lambda store, name, keys: [(4, 0)] * len(keys))
    assert find_duplicates(store, places("one", "two")) == []


def test_a_series_that_is_not_there_is_refused(store):
    write(store, "a.x", "one")
    with pytest.raises(NotFound, match="absent"):
        find_duplicates(store, places("one", "absent"))
