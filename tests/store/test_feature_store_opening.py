"""Opening a store: what is there, what is made, and what is left alone."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cuebank.store import BadInput, FeatureStore, NotFound


def equal(left, right):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True))


def test_opening_an_absent_store_for_reading_is_not_found_and_makes_nothing(store_path):
    with pytest.raises(NotFound, match="does not exist"):
        FeatureStore.open(store_path)
    assert not list(store_path.parent.iterdir())


def test_an_unknown_mode_is_refused(store_path):
    with pytest.raises(BadInput, match="mode"):
        FeatureStore.open(store_path, "w")


def test_writing_needs_the_mode_for_it(small_store, layout, make_spec, make_series):
    store = FeatureStore.open(small_store)
    for call in (
        lambda: store.write("demo.x", "a", None, *make_series(0)),
        lambda: store.create(make_spec()),
        lambda: store.record_failure("demo.x", "a", None, "x"),
    ):
        with pytest.raises(BadInput, match="open for reading"):
            call()
    store.commit()  # nothing is pending, so there is nothing to refuse
    assert layout(small_store).strangers == []


def test_a_folder_that_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for mode in ("r", "a"):
        with pytest.raises(NotFound, match="not a store"):
            FeatureStore.open(tmp_path, mode)
    with pytest.raises(NotFound, match="folder around it"):
        FeatureStore.open(tmp_path / "no" / "f.zarr", "a")
    with pytest.raises(NotFound):
        FeatureStore.open(tmp_path / "thesis.txt", "a")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_becomes_a_store_and_a_link_is_followed(tmp_path, make_spec, make_series):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "f.zarr").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "f.zarr")
    with FeatureStore.open(tmp_path / "link", "a") as store:
        store.create(make_spec())
        store.write("demo.x", "a", None, *make_series(0))
        assert sorted([path.name for path in tmp_path.iterdir()]) == [
            "disk",
            "link",
        ]  # the writing area is beside the store, not the link
        store.commit()
    assert equal(FeatureStore.open(tmp_path / "disk" / "f.zarr").read("demo.x", "a"), make_series(0))


def test_refresh_shows_what_others_committed(small_store, make_series):
    reader = FeatureStore.open(small_store)
    assert len(reader.series("demo.x")) == 5
    with FeatureStore.open(small_store, "a") as writer:
        writer.write("demo.x", "later", None, *make_series(8))
        writer.commit()
    assert len(reader.series("demo.x")) == 5
    reader.refresh()
    assert equal(reader.read("demo.x", "later"), make_series(8))


def test_a_place_that_may_not_be_written_is_said(small_store, monkeypatch):
    def read_only(path, *args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", read_only)
    with FeatureStore.open(small_store, "a") as store, pytest.raises(BadInput, match="Read-only"):
        store.record_failure("demo.x", "a", None, "x")


def test_a_store_that_is_a_mount_point_is_refused_for_writing(zarr_store, monkeypatch):
    real = type(zarr_store).stat

    def elsewhere(path, **options):
        found = real(path, **options)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:10])) if path == zarr_store else found

    monkeypatch.setattr("pathlib.Path.stat", elsewhere)
    with pytest.raises(BadInput, match="another file system"):
        FeatureStore.open(zarr_store, "a")
    assert FeatureStore.open(zarr_store).feature_sets() == ["demo.x"]


def test_a_newer_format_is_refused(store_path, layout):
    FeatureStore.open(store_path, "a").close()
    newer = store_path if layout(store_path).hdf5 else store_path / "zarr.json"
    data = newer.read_bytes()
    newer.write_bytes(data.replace(b'"format":2', b'"format":3', 1).replace(b"cuebank-hdf5 2 ", b"cuebank-hdf5 3 ", 1))
    for mode in ("r", "a"):
        with pytest.raises(BadInput, match="format is 3"):
            FeatureStore.open(store_path, mode)
