"""A merged index answers as the segments do, only faster; without it, or with a damaged one, nothing is lost."""

from __future__ import annotations

import gc
import random
import shutil

import numpy as np
import pytest

from cuebank.store import CuebankError, FeatureStore, Key, NotFound, tables
from cuebank.store import index as index_module
from cuebank.store import merged as merged_module
from cuebank.store import segments as segments_module
from cuebank.store import verify as verify_module
from cuebank.store.compact import compact
from cuebank.store.drop import drop
from cuebank.store.merged import merge_indexes
from cuebank.store.verify import verify

CLIPS = [f"c{i}" for i in range(40)]


def compact_without_folding(path):
    """Compact, leaving nothing that was replaced; HDF5 stays a folder."""
    with FeatureStore.open(path) as witness:
        with FeatureStore.open(path, "a") as store:
            compact(store)
        witness.close()
    with FeatureStore.open(path, "a") as store:
        store.create(store.spec("demo.x"))  # at work, so it tidies when it is closed
        store.series("demo.x")


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def indexed(store_path, make_spec, make_series):
    """One segment with a merged index, and two newer ones: overwrites, mended and new failures."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i, clip in enumerate(CLIPS):
            store.write("demo.x", clip, [None, "left"][i % 2], *make_series(i, rows=i % 7))
            store.record_failure("demo.x", f"bad {i}", None, f"reason {i}")
            if i % 8 == 7:
                store.commit()
    compact_without_folding(store_path)
    with FeatureStore.open(store_path, "a") as store:
        for i in range(6):
            store.write("demo.x", CLIPS[2 * i], None, *make_series(100 + i))
            store.write("demo.x", f"bad {i}", None, *make_series(200 + i))
            store.record_failure("demo.x", f"bad {i + 20}", None, f"newer {i}")
            store.record_failure("demo.x", CLIPS[2 * i + 1], "left", "must not hide the series")
            store.record_failure("demo.x", f"new {i}", None, "new failure")
            if i % 3 == 2:
                store.commit()
    return store_path


def answers(path):
    """Return all that can be asked, and whether a merged index was of use."""
    with FeatureStore.open(path) as store:
        series = list(store.series("demo.x"))
        keys = [Key(item.clip_id, item.entity_id) for item in series]
        rows = [[array.tobytes() for array in store.read("demo.x", *key)] for key in keys]
        failures = store.failures("demo.x")
        wanted = [*keys, *(Key(f.clip_id, f.entity_id) for f in failures), Key("never"), Key("c0", "left")]
        found = series, rows, failures, store.missing("demo.x", wanted), store.coverage()["demo.x"]
        backwards = [store.series("demo.x")[i] for i in range(-1, -1 - len(series), -1)]
        assert backwards == series[::-1]
        for failure in failures[:3]:
            with pytest.raises(NotFound, match=failure.reason):
                store.read("demo.x", failure.clip_id, failure.entity_id)
        return found, store._committed("demo.x").index.merged is not None


def test_answers_are_the_same_with_and_without_the_index(indexed, layout):
    (index,) = layout(indexed).bundles("index")
    with_it, used = answers(indexed)
    assert used
    assert (with_it[4].series, with_it[4].failed) == (46, 40 - 6 + 6)
    remove(index)
    without, used = answers(indexed)
    assert not used
    assert with_it == without
    assert verify(indexed)["ok"]


def test_what_was_committed_after_the_index_was_written_wins(indexed, make_series):
    with FeatureStore.open(indexed) as store:
        for i in range(6):
            assert np.array_equal(store.read("demo.x", CLIPS[2 * i]).values, make_series(100 + i).values)
            assert np.array_equal(store.read("demo.x", f"bad {i}").values, make_series(200 + i).values)
            assert len(store.read("demo.x", CLIPS[2 * i + 1], "left").values) == (2 * i + 1) % 7
        reasons = {failure.clip_id: failure.reason for failure in store.failures("demo.x")}
        assert [reasons[f"bad {i}"] for i in (19, 20, 25, 26)] == ["reason 19", "newer 0", "newer 5", "reason 26"]
        assert reasons["new 5"] == "new failure"
        assert not reasons.keys() & {*CLIPS, *(f"bad {i}" for i in range(6))}


def test_a_single_file_has_its_index_too(indexed, layout):
    before, _ = answers(indexed)
    with FeatureStore.open(indexed, "a") as store:
        compact(store)
    after, used = answers(indexed)
    assert used
    assert (sorted(after[0]), sorted(after[2]), after[4]) == (sorted(before[0]), sorted(before[2]), before[4])
    assert layout(indexed).beside == [indexed.name]


def test_compaction_replaces_the_index(indexed, layout):
    (old,) = layout(indexed).bundles("index")
    compact_without_folding(indexed)
    (new,) = layout(indexed).bundles("index")
    assert new.name > old.name
    assert len(layout(indexed).bundles()) == 1


def test_an_index_of_segments_that_are_gone_is_not_used_and_no_damage(indexed, layout):
    (old,) = layout(indexed).bundles("index")
    copy = indexed.parent / "kept"
    shutil.copytree(old, copy) if old.is_dir() else shutil.copy(old, copy)
    compact_without_folding(indexed)
    expected, _ = answers(indexed)
    for index in layout(indexed).bundles("index"):
        remove(index)
    copy.rename(old)
    assert answers(indexed) == (expected, False)
    assert verify(indexed)["ok"]


ARRAYS = ["status", "row_size", "segment", "position", "row_start", "crc32c"]
ARRAYS += ["clip_id", "clip_id_offsets", "entity_id", "entity_id_offsets"]


@pytest.mark.parametrize("name", ["key_hash", *ARRAYS])
def test_a_damaged_array_of_the_index_costs_speed_only_and_is_reported(indexed, layout, name):
    check_damaged(indexed, layout, name)


def check_damaged(path, layout, name):
    (index,) = layout(path).bundles("index")
    expected, _ = answers(path)
    with FeatureStore.open(path) as store:
        file = store._container.open_index(store.spec("demo.x"), index.stem)
        begin = file.stored.region(name)[0] if layout(path).hdf5 else 0
    layout.flip(index if layout(path).hdf5 else index / name / "0", 8 * begin + 1)
    found, used = answers(path)
    assert (found, used) == (expected, False)
    problems = verify(path)["problems"]
    assert problems
    assert all(index.stem in problem["problem"] for problem in problems)
    assert {problem["feature_set"] for problem in problems} == {"demo.x"}
    gc.collect()  # see `test_verify_lets_go_of_a_damaged_store` in test_lease.py
    compact_without_folding(path)
    assert verify(path)["problems"] == []


def test_any_flipped_bit_in_the_index_is_reported(indexed, layout):
    (index,) = layout(indexed).bundles("index")
    rng = random.Random(0)
    files = [index] if index.is_file() else sorted(path for path in index.rglob("*") if path.is_file())
    for i in range(60):
        file = files[i % len(files)]
        data = file.read_bytes()
        layout.flip(file, rng.randrange(8 * len(data)))
        assert {problem["feature_set"] for problem in verify(indexed)["problems"]} == {"demo.x"}
        file.write_bytes(data)
    assert verify(indexed)["ok"]


def test_compaction_mends_a_damaged_index(indexed, layout):
    (index,) = layout(indexed).bundles("index")
    layout.flip(layout(indexed).document(index), 8 * 150)
    expected, used = answers(indexed)
    assert not used
    compact_without_folding(indexed)
    found, used = answers(indexed)
    assert used
    assert sorted(found[0]) == sorted(expected[0])
    assert verify(indexed)["ok"]
    assert index not in layout(indexed).bundles("index")


def lie(path, change):
    """Put an index in place whose checksums agree with what it says."""
    with FeatureStore.open(path, "a") as store:
        committed = store._committed("demo.x")
        assert len(committed.series())
        segments = {name: committed.segment(name) for name in committed.visible}
        arrays, attributes = merge_indexes(segments, [], committed.spec.fingerprint)
        change(arrays, attributes)
        store._writer.area()
        store._container.write_index(committed.spec, arrays, attributes)


def put(name, value, where=slice(None)):
    def change(arrays, attributes):
        if name in attributes:
            attributes[name] = value
        else:
            arrays[name] = arrays[name].copy()
            arrays[name][where] = value

    return change


def swap(name):
    def change(arrays, attributes):
        arrays[name] = arrays[name][::-1].copy()

    return change


LIES = {
    "row_start far": put("row_start", 2**61),
    "row_start negative": put("row_start", -1),
    "row_start other": put("row_start", 1),
    "row_size huge": put("row_size", 2**62),
    "row_size negative": put("row_size", -5),
    "row_size other": put("row_size", 1),
    "segment": put("segment", 2**31),
    "position": put("position", 2**31),
    "crc32c": put("crc32c", 7),
    "status": put("status", 7),
    "all failed": put("status", 1),
    "hashes": swap("key_hash"),
    "offsets": put("clip_id_offsets", 2**60, slice(1, 3)),
    "empty ids": put("clip_id_offsets", 0),
    "no text": put("clip_id", 0xFF),
    "covers numbers": put("covers", [1, 2]),
    "covers text": put("covers", "abc"),
    "covers nothing": put("covers", []),
    "replaced none": put("replaced", None),
    "series": put("series_ok", 10**30),
    "clips": put("clips", "many"),
    "fingerprint": put("fingerprint", "another"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_index_that_lies_under_good_checksums_is_reported_and_harms_nobody(indexed, make_series, name):
    lie(indexed, LIES[name])
    assert not verify(indexed)["ok"]
    store = FeatureStore.open(indexed)
    for call in (
        lambda: list(store.series("demo.x")),
        lambda: store.failures("demo.x"),
        store.coverage,
        store.info,
        lambda: store.missing("demo.x", [(clip, None) for clip in CLIPS]),
    ):
        try:
            call()
        except CuebankError:
            continue
    for i, clip in enumerate(CLIPS[12::2]):
        try:
            found = store.read("demo.x", clip)
        except CuebankError:
            continue
        assert found.values.tobytes() == make_series(12 + 2 * i, rows=(12 + 2 * i) % 7).values.tobytes()


@pytest.mark.parametrize("name", [name for name in LIES if name != "offsets"])
def test_an_index_that_lies_costs_no_series_when_the_store_is_compacted_or_dropped_from(indexed, make_series, name):
    lie(indexed, LIES[name])
    with FeatureStore.open(indexed, "a") as store:
        drop(store, "demo.x", [(CLIPS[1], "left")])
        assert compact(store)["problems"] == []
    assert verify(indexed)["ok"]
    with FeatureStore.open(indexed) as store:
        assert store.missing("demo.x", [(clip, [None, "left"][i % 2]) for i, clip in enumerate(CLIPS)]) == [
            Key(CLIPS[1], "left")
        ]


def test_an_index_that_calls_segments_replaced_which_count_does_not_remove_them(indexed):
    with FeatureStore.open(indexed) as store:
        before = {(item.clip_id, item.entity_id) for item in store.series("demo.x")}
        newest = store._container.segments("demo.x")[-1]

    def hide(arrays, attributes):
        attributes["replaced"] = [newest]
        attributes["covers"] = attributes["covers"][:-1]

    lie(indexed, hide)
    with FeatureStore.open(indexed, "a") as store:
        assert compact(store)["problems"] == []
    with FeatureStore.open(indexed) as store:
        assert {(item.clip_id, item.entity_id) for item in store.series("demo.x")} == before
    assert verify(indexed)["ok"]


def test_an_index_with_very_many_equal_hashes_is_not_used(indexed, monkeypatch):
    monkeypatch.setattr(tables, "MAX_EQUAL", 4)
    with FeatureStore.open(indexed) as store:
        assert store._committed("demo.x").merged is not None
    lie(indexed, put("key_hash", 7))
    with FeatureStore.open(indexed) as store:
        committed = store._committed("demo.x")
        newest = committed._container.indexes("demo.x")[-1]
        assert committed.merged is None or committed.merged.file.name != newest
        assert newest in committed.broken


def test_keys_whose_hashes_collide_are_kept_apart_across_the_index(store_path, make_spec, make_series, monkeypatch):
    from cuebank.store import drop as drop_module

    for module in (index_module, segments_module, verify_module, drop_module):
        monkeypatch.setattr(module, "hash_key", lambda clip, entity: len(clip) % 2)
    assert not hasattr(merged_module, "hash_key")
    keys = [("a", None), ("bb", None), ("c", "x"), ("c", None), ("dd", None), ("e", None)]
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i, key in enumerate(keys):
            store.write("demo.x", *key, *make_series(i))
            store.commit()
        compact(store)
        store.write("demo.x", "c", None, *make_series(50))
        store.write("demo.x", "f", None, *make_series(60))
        store.record_failure("demo.x", "dd", None, "must not hide the series")
        store.record_failure("demo.x", "h", None, "gone")
        store.commit()
        wanted = dict(zip([*keys, ("f", None)], [0, 1, 2, 50, 4, 5, 60], strict=True))
        for _ in range(2):
            assert store._committed("demo.x").index.merged is not None
            for key, seed in wanted.items():
                assert np.array_equal(store.read("demo.x", *key).values, make_series(seed).values)
            assert store.missing("demo.x", [*wanted, ("g", None), ("h", None)]) == [("g", None), ("h", None)]
            assert store.coverage()["demo.x"].series == 7
            compact(store)
        drop_module.drop(store, "demo.x", [("c", None)])
        assert store.missing("demo.x", wanted) == [("c", None)]
        assert np.array_equal(store.read("demo.x", "c", "x").values, make_series(2).values)


def test_a_store_with_an_index_does_not_open_the_segments_that_it_covers(indexed, monkeypatch):
    with FeatureStore.open(indexed) as store:
        opened = []
        real = store._container.open_segment
        monkeypatch.setattr(
            store._container, "open_segment", lambda spec, name: opened.append(name) or real(spec, name)
        )
        store.missing("demo.x", [(clip, None) for clip in CLIPS])
        list(store.series("demo.x"))
        store.coverage()
        covered = set(store._committed("demo.x").index.merged.names)
        assert not covered & set(opened)
        store.read("demo.x", "c39", "left")
        assert covered & set(opened)
