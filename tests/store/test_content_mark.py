"""The quick mark of a feature set: equal for equal content, however it was written."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store import FeatureSpec, FeatureStore, NotFound, Recipe
from cuebank.store.content_mark import content_mark


def fill(path, clips, change=None, commit_each=False):
    with FeatureStore.open(path, "a") as store:
        store.create(FeatureSpec("a.x", "numeric", 3, "float32", Recipe("a", {"source": "synthetic"})))
        for clip, entity in clips:
            rows = np.full((2, 3), float(len(clip)) + (clip == change))
            store.write("a.x", clip, entity, rows, [0.0, 1.0], [True, True])
            if commit_each:
                store.commit()
        store.commit()
        return content_mark(store, "a.x")


CLIPS = [("one", None), ("two", "P"), ("twoP", None)]


def test_order_segments_and_container_do_not_matter(tmp_path):
    wanted = fill(tmp_path / "a.zarr", CLIPS)
    assert fill(tmp_path / "b.zarr", CLIPS[::-1], commit_each=True) == wanted
    assert fill(tmp_path / "c.h5", CLIPS) == wanted


def test_any_row_and_any_key_matters(tmp_path):
    marks = [
        fill(tmp_path / "a.zarr", CLIPS),
        fill(tmp_path / "b.zarr", CLIPS[:2]),
        fill(tmp_path / "c.zarr", CLIPS, change="two"),
        fill(tmp_path / "d.zarr", [("one", None), ("two", None), ("twoP", None)]),
        fill(tmp_path / "e.zarr", []),
    ]
    assert len(set(marks)) == len(marks)


def test_an_unknown_feature_set_is_refused(tmp_path):
    with FeatureStore.open(tmp_path / "a.zarr", "a") as store, pytest.raises(NotFound):
        content_mark(store, "a.x")
