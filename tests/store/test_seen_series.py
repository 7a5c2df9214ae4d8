"""What `read` remembers of series it has seen never outlives what it was seen in, nor the bound on mapped files."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import FeatureStore, NotFound
from cuebank.store import feature_store as feature_store_module
from cuebank.store.compact import compact
from cuebank.store.drop import drop


def value(store, clip="c1", entity=None):
    return store.read("demo.x", clip, entity).values


def mapped_files(path):
    """Return the names of the mapped files of a store; the kernel marks those that were removed."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if f"{path}" in line}


def test_after_a_commit_of_its_own_the_new_rows_are_read(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        for seed in (10, 11, 12):
            before = value(store)
            store.write("demo.x", "c1", None, *make_series(seed, rows=seed))
            assert value(store) is before or np.array_equal(value(store), before)
            store.commit()
            assert np.array_equal(value(store), make_series(seed, rows=seed).values)
            assert len(store.read("demo.x", "c1", start_s=-1).values) == seed


def test_what_others_commit_is_read_after_a_refresh_and_not_before(small_store, make_series):
    with FeatureStore.open(small_store) as reader, FeatureStore.open(small_store, "a") as writer:
        first = value(reader)
        writer.write("demo.x", "c1", None, *make_series(10, rows=2))
        writer.commit()
        assert np.array_equal(value(reader), first)
        reader.refresh()
        assert np.array_equal(value(reader), make_series(10, rows=2).values)
        assert np.array_equal(first, make_series(1).values)  # the view stays what it was


def test_windows_of_a_series_seen_before_are_those_of_the_new_rows(small_store):
    with FeatureStore.open(small_store, "a") as store:
        for step in (0.5, 0.25):
            times = np.arange(100) * step
            store.write("demo.x", "w", None, np.arange(300).reshape(100, 3) * step, times, np.ones(100, bool))
            store.commit()
            for _ in range(2):
                found = store.read("demo.x", "w", None, 10, 20)
                inside = (times >= 10) & (times < 20)
                assert np.array_equal(found.times, times[inside])
                assert np.array_equal(found.values, (np.arange(300).reshape(100, 3) * step)[inside].astype("f4"))


def test_a_dropped_series_is_not_remembered(small_store):
    with FeatureStore.open(small_store, "a") as store:
        value(store), value(store, "c4", "left")
        drop(store, "demo.x", [("c4", "left")])
        with pytest.raises(NotFound):
            value(store, "c4", "left")
        assert len(value(store)) == 5
        drop(store, "demo.x")
        with pytest.raises(NotFound):
            value(store)


def test_a_feature_set_that_was_dropped_and_made_again_shows_the_new_rows(small_store, make_spec, make_series):
    with FeatureStore.open(small_store, "a") as store:
        value(store)
        drop(store, "demo.x")
        store.create(make_spec(layer="2"))
        with pytest.raises(NotFound):
            value(store)
        store.write("demo.x", "c1", None, *make_series(20))
        store.commit()
        assert np.array_equal(value(store), make_series(20).values)


def test_after_compaction_the_same_rows_are_read_and_old_views_stay_valid(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        held = [value(store, f"c{i}") for i in range(4)]
        compact(store)
        for i in range(4):
            assert np.array_equal(value(store, f"c{i}"), make_series(i, rows=4 + i).values)
            assert np.array_equal(held[i], make_series(i, rows=4 + i).values)


def test_segments_that_were_removed_do_not_stay_mapped(zarr_store):
    with FeatureStore.open(zarr_store, "a") as store:
        value(store)
        compact(store)
        value(store)
        gc.collect()
        assert not [name for name in mapped_files(zarr_store) if "deleted" in name]


def test_a_compactor_reads_and_lists_the_same_state(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store, FeatureStore.open(small_store, "a") as other:
        value(store)
        other.write("demo.x", "c1", None, *make_series(10, rows=2))
        other.commit()
        compact(store)
        listed = {item.clip_id: item.rows for item in store.series("demo.x")}
        assert listed["c1"] == len(value(store))


def test_no_more_segments_stay_mapped_than_the_budget_allows(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(30):
            store.write("demo.x", f"c{i}", None, *make_series(i, rows=500))  # so large that HDF5 maps it too
            store.commit()
    with FeatureStore.open(store_path) as store:
        store._budget.limit = 8
        for _ in range(3):
            for i in range(30):
                assert np.array_equal(value(store, f"c{i}"), make_series(i, rows=500).values)
                assert np.array_equal(value(store, f"c{i}"), make_series(i, rows=500).values)
                if i > 10:
                    assert sum(one.mapped for one in store._committed("demo.x")._segments.values()) <= 8
                    segments = {
                        Path(name).parents[1] if name.endswith("0") else name for name in mapped_files(store_path)
                    }
                    assert 0 < len(segments) <= 9, segments


def test_no_more_series_are_remembered_than_the_bound_allows(small_store, make_series, monkeypatch):
    monkeypatch.setattr(feature_store_module, "SEEN_SERIES", 3)
    with FeatureStore.open(small_store) as store:
        for _ in range(2):
            for i in range(4):
                assert np.array_equal(value(store, f"c{i}"), make_series(i, rows=4 + i).values)
                assert len(store._seen) <= 3
