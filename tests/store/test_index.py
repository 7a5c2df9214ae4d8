"""Keys are found by hash, but it is the ids that decide."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cuebank.store import FeatureStore, NotFound, index, segments
from cuebank.store.verify import verify


def test_keys_whose_hashes_collide_are_kept_apart(store_path, make_spec, make_series, monkeypatch):
    for module in (index, segments):
        monkeypatch.setattr(module, "hash_key", lambda clip, entity: len(clip) % 2)
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        keys = [("a", None), ("bb", None), ("c", "x"), ("c", None), ("dd", None), ("e", None)]
        for i, key in enumerate(keys):
            store.write("demo.x", *key, *make_series(i))
        store.record_failure("demo.x", "f", None, "gone")
        store.commit()
        store.write("demo.x", "c", None, *make_series(50))
        store.record_failure("demo.x", "dd", None, "must not hide the series")
        store.commit()
        wanted = dict(zip(keys, [0, 1, 2, 50, 4, 5], strict=True))
        for key, seed in wanted.items():
            assert np.array_equal(store.read("demo.x", *key).values, make_series(seed).values)
        assert store.missing("demo.x", [*keys, ("f", None), ("g", None)]) == [("f", None), ("g", None)]
        assert store.coverage()["demo.x"].series == len(keys)
        assert [failure.clip_id for failure in store.failures("demo.x")] == ["f"]
        with pytest.raises(NotFound):
            store.read("demo.x", "g")


def test_many_series_in_many_segments_are_found_quickly(store_path, make_spec):
    rows = np.ones((1, 3), "f4"), np.zeros(1), np.ones(1, bool)
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(20_000):
            store.write("demo.x", f"clip {i}", None, *rows)
            if i % 2000 == 1999:
                store.commit()
    begin = time.process_time()
    store = FeatureStore.open(store_path)
    assert len(store.series("demo.x")) == 20_000
    assert time.process_time() - begin < 1  # it takes a few milliseconds
    begin = time.process_time()
    for i in range(0, 20_000, 10):
        assert store.read("demo.x", f"clip {i}").values.shape == (1, 3)
    assert time.process_time() - begin < 2  # about 10 microseconds each


def test_more_segments_than_may_be_mapped_at_once_are_read(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(30):
            store.write("demo.x", f"c{i}", None, *make_series(i))
            store.commit()
    store = FeatureStore.open(store_path)
    store._budget.limit = 8
    held = [store.read("demo.x", f"c{i}") for i in range(30)]
    assert sum(segment.mapped for segment in store._committed("demo.x")._segments.values()) == 8
    for i in [*range(30), *range(30)]:
        assert np.array_equal(store.read("demo.x", f"c{i}").values, make_series(i).values)
        assert np.array_equal(held[i].values, make_series(i).values)


def test_reading_and_writing_zarr_import_neither_zarr_nor_h5py_nor_torch(small_store):
    program = """
import sys
import cuebank.store
assert "numpy" not in sys.modules, "numpy"
from cuebank.store import *
from cuebank.store.verify import verify
mode = "a" if sys.argv[1].endswith(".zarr") else "r"  # HDF5 files are written by h5py, and read without it
with FeatureStore.open(sys.argv[1], mode) as store:
    if mode == "a":
        store.write("demo.x", "new", None, [[1, 2, 3]], [0], [True])
        store.commit()
    store.read("demo.x", "c4", "left")
    store.info()
verify(sys.argv[1])
heavy = {"zarr", "h5py", "torch", "click", "av", "tensorstore"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program, small_store], check=True)


def test_the_public_names_are_those_listed():
    from cuebank import store

    assert set(store.__all__) == set(store._HOME)
    for name in store.__all__:
        assert getattr(store, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = store.nothing


def test_a_store_of_two_thousand_failures_lists_them(store_path, make_spec):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(2000):
            store.record_failure("demo.x", f"c{i}", None, f"reason {i}")
        store.commit()
        begin = time.process_time()
        found = store.failures("demo.x")
        assert time.process_time() - begin < 1
    assert found[1234] == ("c1234", None, "reason 1234")
    assert verify(store_path)["ok"]


def test_a_refresh_during_the_loading_of_the_index_is_not_forgotten(small_store, make_series, monkeypatch):
    """Another thread may commit and refresh while this one has just listed the segments."""
    with FeatureStore.open(small_store, "a") as store:
        committed = store._committed("demo.x")
        real = committed._container.indexes

        def late(name):
            monkeypatch.setattr(committed._container, "indexes", real)
            with FeatureStore.open(small_store, "a") as other:
                other.write("demo.x", "late", None, *make_series(1))
                other.commit()
            committed.refresh()
            return real(name)

        monkeypatch.setattr(committed._container, "indexes", late)
        committed.refresh()
        assert store.missing("demo.x", [("late", None)]) == [("late", None)]
        assert store.missing("demo.x", [("late", None)]) == []


def test_what_was_seen_before_a_refresh_is_looked_up_again(small_store, make_series):
    with FeatureStore.open(small_store) as store:
        store.read("demo.x", "c1")
        with FeatureStore.open(small_store, "a") as other:
            other.write("demo.x", "c1", None, *make_series(77))
            other.commit()
        store.refresh()
        assert store.read("demo.x", "c1").values.tobytes() == make_series(77).values.tobytes()


def test_threads_may_read_more_segments_than_may_be_mapped_at_once(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        for i in range(40):
            store.write("demo.x", f"n{i}", None, *make_series(i))
            store.commit()
    with FeatureStore.open(small_store) as store:
        store._budget.limit = 3

        def read(first):
            for i in range(400):
                number = (first + 7 * i) % 40
                assert store.read("demo.x", f"n{number}").values.tobytes() == make_series(number).values.tobytes()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(4)))
        assert len(store._budget._mapped) <= 3
