"""Whatever is damaged is found, and said with the name of the series."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import (
    BadInput,
    Clip,
    ClipsTable,
    Corrupt,
    CuebankError,
    FeatureStore,
    NotFound,
    Series,
)
from cuebank.store import feature_store as feature_store_module
from cuebank.store.files import crc32c
from cuebank.store.verify import verify


@pytest.fixture
def store_with_clips(small_store):
    with FeatureStore.open(small_store, "a") as store:
        store.write_clips(ClipsTable([Clip("c0", Path("/m/c0.wav"), labels={"x": 1.5})], {"x": "number"}))
    return small_store


@pytest.fixture
def zarr_with_clips(zarr_store):
    with FeatureStore.open(zarr_store, "a") as store:
        store.write_clips(ClipsTable([Clip("c0", Path("/m/c0.wav"), labels={"x": 1.5})], {"x": "number"}))
    return zarr_store


def segments(path):
    return sorted(folder for folder in (path / "demo.x" / "segments").iterdir() if folder.is_dir())


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_a_sound_store_is_ok(store_with_clips):
    assert verify(store_with_clips) == {"ok": True, "series": 5, "problems": [], "notes": []}


def test_no_store_is_an_error_not_a_report(tmp_path):
    with pytest.raises(NotFound):
        verify(tmp_path / "absent.zarr")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(BadInput, match="not a cuebank store"):
        verify(tmp_path / "other")


def test_a_flipped_bit_in_a_row_is_found_with_its_series(zarr_store):
    rows = segments(zarr_store)[0] / "values" / "0.0"
    flip(rows, 8 * (4 * 3 * 4 + 5))  # c0 has 4 rows of 3 float32, so this is in c1
    report = verify(zarr_store)
    assert not report["ok"]
    (problem,) = report["problems"]
    assert (problem["feature_set"], problem["clip_id"], problem["entity_id"]) == ("demo.x", "c1", None)
    assert "checksum" in problem["problem"]
    store = FeatureStore.open(zarr_store)
    with pytest.raises(Corrupt, match="'c1'"):
        store.read("demo.x", "c1")
    with pytest.raises(Corrupt, match="'c1'"):  # and again: it is never taken for proven
        store.read("demo.x", "c1")
    assert len(store.read("demo.x", "c0").values) == 4


@pytest.mark.parametrize("part", ["values", "times", "valid"])
def test_times_and_flags_are_proven_like_values(small_store, layout, part):
    layout(small_store).damage(("c4", "left"), part)
    with pytest.raises(Corrupt, match="'left'"):
        FeatureStore.open(small_store).read("demo.x", "c4", "left")


@pytest.mark.parametrize("name", ["clip_id", "row_size", "key_hash", "entity_id_offsets", "status"])
def test_a_segment_with_a_broken_index_spares_the_others(zarr_store, name):
    flip(segments(zarr_store)[0] / name / "0", 1)
    store = FeatureStore.open(zarr_store)
    assert len(store.read("demo.x", "c4", "left").values) == 5
    assert store.info()["feature_sets"]["demo.x"]["broken_segments"] == 1
    with pytest.raises(Corrupt, match=segments(zarr_store)[0].name):
        store.read("demo.x", "c1")
    # Extracting what is missing mends it.
    assert store.missing("demo.x", [("c1", None), ("c4", "left")]) == [("c1", None)]
    (problem,) = verify(zarr_store)["problems"]
    assert segments(zarr_store)[0].name in problem["problem"]


def test_overwriting_mends_a_damaged_series_for_readers(small_store, layout, make_series):
    layout(small_store).damage(("c0", None))
    with FeatureStore.open(small_store, "a") as store:
        with pytest.raises(Corrupt):
            store.read("demo.x", "c0")
        store.write("demo.x", "c0", None, *make_series(0))
        store.commit()
        assert np.array_equal(store.read("demo.x", "c0").values, make_series(0).values)


@pytest.mark.parametrize("part", ["values/0.0", "times/0", "row_size/0", "zarr.json", "crc32c/zarr.json", "valid"])
def test_an_absent_file_is_a_problem_not_a_crash(zarr_store, part):
    path = segments(zarr_store)[0] / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    report = verify(zarr_store)
    assert not report["ok"]
    assert all(problem["feature_set"] == "demo.x" for problem in report["problems"])


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\x00", lambda data: b""])
def test_a_file_of_another_length_is_corrupt(zarr_store, change):
    path = segments(zarr_store)[0] / "values" / "0.0"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(Corrupt, match="bytes"):
        FeatureStore.open(zarr_store).read("demo.x", "c2")
    assert not verify(zarr_store)["ok"]


def test_strange_files_are_reported(zarr_with_clips):
    places = [
        zarr_with_clips / "note.txt",
        zarr_with_clips / "demo.x" / "note.txt",
        zarr_with_clips / "demo.x" / "segments" / "note.txt",
        segments(zarr_with_clips)[0] / "note.txt",
        segments(zarr_with_clips)[0] / "values" / "0.1",
        zarr_with_clips / "clips" / "note.txt",
        next((zarr_with_clips / "clips").glob("0*")) / "note.txt",
    ]
    for place in places:
        place.write_text("x")
    problems = [problem["problem"] for problem in verify(zarr_with_clips)["problems"]]
    assert len(problems) == len(places)
    assert all("does not belong" in text for text in problems)
    assert len(FeatureStore.open(zarr_with_clips).series("demo.x")) == 5


def test_a_store_whose_own_metadata_are_damaged_is_still_looked_into(zarr_with_clips):
    (zarr_with_clips / "zarr.json").write_text("{")
    flip(segments(zarr_with_clips)[1] / "values" / "0.0", 0)
    problems = verify(zarr_with_clips)["problems"]
    assert {problem["clip_id"] for problem in problems} == {None, "c4"}
    with pytest.raises(Corrupt):
        FeatureStore.open(zarr_with_clips)


def test_a_wrong_fingerprint_is_found(zarr_store):
    path = zarr_store / "demo.x" / "zarr.json"
    document = json.loads(path.read_bytes())
    own = document["attributes"]["cuebank"]
    own["spec"]["recipe"]["weights"]["seed"] = 8
    text = json.dumps(own["spec"], sort_keys=True, separators=(",", ":")) + "\n"
    own["crc32c"] = crc32c(text.encode())
    path.write_text(json.dumps(document))
    with pytest.raises(Corrupt, match="fingerprint"):
        FeatureStore.open(zarr_store).spec("demo.x")
    assert "fingerprint" in verify(zarr_store)["problems"][0]["problem"]


def test_what_the_fingerprint_does_not_cover_is_covered_too(quick_path, make_spec):
    store_path = quick_path / "features.zarr"
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec(unhashed={"threads": 2}))
    path = store_path / "demo.x" / "zarr.json"
    path.write_bytes(path.read_bytes().replace(b'"threads":2', b'"threads":3'))
    with pytest.raises(Corrupt, match="checksum"):
        FeatureStore.open(store_path).spec("demo.x")
    assert not verify(store_path)["ok"]


def test_what_a_sick_writer_stored_under_a_good_checksum_is_found(store_path, make_spec, make_series, monkeypatch):
    nan, late = make_series(0, rows=2), make_series(1, rows=2)
    monkeypatch.setattr(feature_store_module, "check_series", lambda where, dim, dtype, *parts: Series(*parts))
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        store.write("demo.x", "nan", None, np.full((2, 3), np.nan, "f4"), nan.times, np.ones(2, bool))
        store.write("demo.x", "inf", None, np.full((2, 3), np.inf, "f4"), nan.times, np.zeros(2, bool))
        store.write("demo.x", "late", None, late.values, np.array([2.0, 1.0]), late.valid)
        store.commit()
    problems = {problem["clip_id"]: problem["problem"] for problem in verify(store_path)["problems"]}
    assert problems.keys() == {"nan", "late"}
    assert "NaN" in problems["nan"]
    assert "decrease" in problems["late"]


def flips(path, count, seed):
    """Flip bits of a store's files, each alone; every one must be found."""
    rng, missed = random.Random(seed), []
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for i in range(count):
        file = files[i % len(files)] if i < len(files) else rng.choice(files)
        data = file.read_bytes()
        bit = rng.randrange(8 * len(data))
        flip(file, bit)
        try:
            found = not verify(path)["ok"]
        except CuebankError:
            found = True
        if not found:
            missed.append((file.relative_to(path), bit))
        file.write_bytes(data)
    assert verify(path)["ok"]
    return missed


def test_any_flipped_bit_is_found(zarr_with_clips):
    assert flips(zarr_with_clips, 250, seed=0) == []


@pytest.mark.slow
def test_any_of_many_flipped_bits_is_found(zarr_with_clips):
    assert flips(zarr_with_clips, 4000, seed=1) == []


def test_verify_changes_nothing(store_with_clips, layout):
    before = layout(store_with_clips).contents()
    verify(store_with_clips)
    assert before == layout(store_with_clips).contents()
    assert layout(store_with_clips).strangers == []
