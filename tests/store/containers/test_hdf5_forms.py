"""The two forms of an HDF5 store: a folder with a file of links while it grows, one file when it is folded."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cuebank.store import BadInput, Clip, ClipsTable, Corrupt, FeatureStore, NotFound
from cuebank.store.containers.hdf5_fold import visible
from cuebank.store.containers.hdf5_packed import write_packed
from cuebank.store.verify import verify


@pytest.fixture
def container():
    return "h5"


def table(count):
    return ClipsTable([Clip(f"c{i}", Path(f"/media/{i}.wav"), labels={"x": i}) for i in range(count)], {"x": "number"})


def root_of(path):
    return path.with_name(path.name + ".segments")


def fold(path):
    with FeatureStore.open(path, "a") as store:
        return store._container.fold()


def shown(path):
    """Return all that a store shows, as plain values."""
    store = FeatureStore.open(path)
    found = {
        (name, item.clip_id, item.entity_id): [x.tolist() for x in store.read(name, item.clip_id, item.entity_id)]
        for name in store.feature_sets()
        for item in store.series(name)
    }
    failures = [tuple(one) for name in store.feature_sets() for one in store.failures(name)]
    return found, failures, [store.clips(version) for version in store.clips_versions()]


@pytest.fixture
def store(small_store, make_spec, make_series):
    """The small store with a table and a compressed feature set."""
    with FeatureStore.open(small_store, "a") as store:
        store.write_clips(table(3))
        store.create(replace(make_spec("z/../z"), codec="zstd"))
        store.write("z/../z", "c0", None, *make_series(7, rows=3000))
        store.commit()
    return small_store


def test_a_folded_store_is_one_file_that_shows_the_same(store):
    before = shown(store)
    assert fold(store)
    assert [path.name for path in store.parent.iterdir()] == [store.name]
    assert shown(store) == before
    assert verify(store)["problems"] == []
    assert not FeatureStore.open(store)._container.fold()


def test_a_folded_store_can_be_moved_and_written_and_folded_again(store, make_series):
    fold(store)
    moved = store.rename(store.with_name("other.h5"))
    with FeatureStore.open(moved, "a") as writer:
        writer.write("demo.x", "new", None, *make_series(5))
        writer.write_clips(table(4))
        writer.commit()
    assert root_of(moved).is_dir()
    before = shown(moved)
    assert ("demo.x", "new", None) in before[0]
    assert len(before[2]) == 2
    assert verify(moved)["problems"] == []
    assert fold(moved)
    assert shown(moved) == before
    assert verify(moved)["problems"] == []


def test_names_of_segments_stay_when_the_store_is_folded(store):
    with FeatureStore.open(store) as reader:
        before = reader._container.segments("demo.x")
    fold(store)
    assert FeatureStore.open(store)._container.segments("demo.x") == before


def test_an_open_reader_of_a_single_file_goes_on_while_it_is_written_and_folded(store, make_series):
    fold(store)
    before = shown(store)
    reader = FeatureStore.open(store)
    reader.read("demo.x", "c0")
    with FeatureStore.open(store, "a") as writer:
        writer.write("demo.x", "new", None, *make_series(5))
        writer.commit()
        assert writer._container.fold()
    for (name, clip_id, entity_id), rows in before[0].items():
        assert [x.tolist() for x in reader.read(name, clip_id, entity_id)] == rows
    reader.refresh()
    assert reader.missing("demo.x", [("new", None)]) == []


def test_replaced_segments_are_left_out_when_the_store_is_folded(store):
    with FeatureStore.open(store, "a") as writer:
        container, spec = writer._container, writer.spec("demo.x")
        names = container.segments("demo.x")
        old = container.open_segment(spec, names[0])
        new = container.new_segment(spec)
        new.put(0, *(np.ascontiguousarray(old.map_rows(name)) for name in ("values", "times", "valid")))
        attributes = {"fingerprint": spec.fingerprint, "replaces": names[:1]}
        new.finish(old.rows, {name: old.array(name) for name in old.arrays}, attributes)
        replacing = new.publish()
        container.settled()
    assert replacing[:21] == names[0][:21]
    before = shown(store)
    fold(store)
    assert set(FeatureStore.open(store)._container.segments("demo.x")) == {replacing, *names[1:]}
    assert shown(store) == before


def test_links_without_their_folder_are_explained(store):
    root_of(store).rename(store.with_name("elsewhere"))
    for mode in "ra":
        with pytest.raises(NotFound, match=r"features\.h5\.segments.*export"):
            FeatureStore.open(store, mode)


@pytest.mark.parametrize("content", [b"", b"text", b"x" * 2000])
def test_a_file_of_something_else_is_refused_and_kept(store_path, content):
    store_path.write_bytes(content)
    for mode in "ra":
        with pytest.raises(BadInput, match="not a cuebank store"):
            FeatureStore.open(store_path, mode)
    assert store_path.read_bytes() == content


def test_a_foreign_hdf5_file_is_refused_and_kept(store_path):
    with h5py.File(store_path, "w", userblock_size=512) as file:
        file["x"] = 1
    before = store_path.read_bytes()
    with pytest.raises(BadInput, match="an HDF5 file, but not"):
        FeatureStore.open(store_path, "a")
    assert store_path.read_bytes() == before


def test_a_part_of_a_store_is_not_taken_for_one(store):
    with pytest.raises(BadInput, match="feature-set"):
        FeatureStore.open(root_of(store) / "demo.x" / "feature-set.h5")


def test_a_newer_format_is_refused(store):
    fold(store)
    store.write_bytes(store.read_bytes().replace(b"cuebank-hdf5 2 ", b"cuebank-hdf5 3 ", 1))
    with pytest.raises(BadInput, match="newer"):
        FeatureStore.open(store)


def test_the_links_are_made_anew_after_they_were_removed_or_damaged(store, make_series):
    for spoil in (store.unlink, lambda: store.write_bytes(store.read_bytes()[:600])):
        spoil()
        with FeatureStore.open(store, "a") as writer:
            writer.write("demo.x", "new", None, *make_series(5))
            writer.commit()
        with h5py.File(store) as file:
            assert len(file["demo.x/segments"]) == len(FeatureStore.open(store)._container.segments("demo.x"))
        assert verify(store)["problems"] == []


def test_damaged_links_are_found(store):
    data = bytearray(store.read_bytes())
    data[2000] ^= 1
    store.write_bytes(data)
    assert "links" in verify(store)["problems"][0]["problem"]


def test_a_file_system_without_hard_links_is_a_typed_error(store, monkeypatch):
    fold(store)

    def refuse(*args, **kwargs):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(BadInput, match="cannot link"):
        FeatureStore.open(store, "a")
    monkeypatch.undo()
    assert verify(store)["problems"] == []


def test_many_may_unfold_at_once(store, make_series):
    fold(store)
    before, writers, errors = shown(store), [], []

    def write(number):
        try:
            writer = FeatureStore.open(store, "a")
            writers.append(writer)
            writer.write("demo.x", f"new {number}", None, *make_series(number))
            writer.commit()
        except Exception as error:  # noqa: BLE001 (told by the main thread)
            errors.append(error)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.close()
    assert errors == []
    found = shown(store)[0]
    assert before[0].items() <= found.items()
    assert len(found) == len(before[0]) + 6
    assert verify(store)["problems"] == []


def test_segments_of_a_packed_file_can_be_removed(store, make_series):
    fold(store)
    with FeatureStore.open(store, "a") as writer:
        writer.write("demo.x", "new", None, *make_series(5))
        writer.commit()
        container = writer._container
        names = container.segments("demo.x")
        assert container.remove("demo.x", [names[0], names[-1]], []) > 0
        container.settled()
    assert FeatureStore.open(store)._container.segments("demo.x") == names[1:-1]
    assert verify(store)["problems"] == []


def test_a_feature_set_of_a_packed_file_can_be_removed(store, make_series):
    fold(store)
    with FeatureStore.open(store, "a") as writer:
        writer.write("demo.x", "new", None, *make_series(5))
        writer.commit()
        assert writer._container.size("demo.x") > 0
        assert writer._container.remove_feature_set("demo.x") > 0
        writer._container.settled()
    assert FeatureStore.open(store).feature_sets() == ["z/../z"]
    assert verify(store)["problems"] == []
    assert len(FeatureStore.open(store).read("z/../z", "c0").values) == 3000


def test_a_packed_copy_can_be_written_elsewhere(store, quick_path):
    before = shown(store)
    write_packed(quick_path / "copy.h5", visible(FeatureStore.open(store)._container.shelf))
    assert shown(quick_path / "copy.h5") == before
    assert verify(quick_path / "copy.h5")["problems"] == []


def test_versions_of_the_clips_table_have_the_names_that_they_have_in_zarr(store, quick_path):
    with FeatureStore.open(quick_path / "z.zarr", "a") as other:
        other.write_clips(table(3))
        assert other.clips_versions() == FeatureStore.open(store).clips_versions()
        assert other.clips() == FeatureStore.open(store).clips()


def test_a_damaged_packed_file_is_said_when_the_store_is_opened(store, make_series):
    fold(store)
    with FeatureStore.open(store, "a") as writer:
        writer.write("demo.x", "new", None, *make_series(5))
        writer.commit()
    packed = next((root_of(store) / "_packed").iterdir())
    packed.write_bytes(packed.read_bytes()[:-1])
    with pytest.raises(Corrupt):
        FeatureStore.open(store)
    assert not verify(store)["ok"]


def test_strange_files_are_reported(store):
    for place in ("x", "demo.x/x", "demo.x/segments/x.h5", "demo.x/index/y", "clips/x.h5", "_packed/x"):
        strange = root_of(store) / place
        shutil.copy(root_of(store) / "_store.h5", strange)
        problems = verify(store)["problems"]
        assert any("does not belong" in one["problem"] for one in problems), place
        strange.unlink()
    assert verify(store)["ok"]
