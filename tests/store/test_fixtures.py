"""Stores that were written once and committed still open, hold what they held, and can be changed.

Neither the formats nor the hashes may drift: nothing here is ever made again. `test_format_1.py` tests that a store of
format 1 can be changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, FeatureStore, Key
from cuebank.store.compact import compact
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.drop import drop
from cuebank.store.verify import verify

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "fixtures"
COUNT, DEMO, ZSTD, BLOSC = "count.y", "demo.x@9+mean", "demo.zstd", "é/demo.blosc"
HASHES = {
    COUNT: "519f0f844c46c031d96d7f9dfb4884005de1403b1fcc82fdc95ab9a7fa0adf92",
    DEMO: "968785b3b1efad369319cbd35ac6465756cb489c7ed4c134874157a991769d6a",
    ZSTD: "09705a9e93820f6ac713e4289f596f6c475655e2fd9b4983535d3a49382ad9bb",
    BLOSC: "56956572417e77e2ac33015cb6628b363427bde90f5809f1ef07a52fed835398",
}
STORES = {
    "format-1.zarr": [COUNT, DEMO],
    "format-2.zarr": [COUNT, DEMO, ZSTD, BLOSC],
    "format-2.h5": [COUNT, DEMO, ZSTD, BLOSC],
    "format-2-folded.h5": [COUNT, DEMO, ZSTD, BLOSC],
}
FORMAT_2 = [name for name in STORES if name.startswith("format-2")]
SOUND = {"problems": [], "notes": [], "ok": True}


@pytest.fixture(scope="module")
def made():
    """The program that made the fixtures: it says what they hold."""
    spec = importlib.util.spec_from_file_location("make_fixture", HERE / "programs" / "make_fixture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copied(request, quick_path):
    """A copy of a store, alone in its folder; it may be changed."""
    for name in (request.param, f"{request.param}.segments"):
        if (FIXTURES / name).is_dir():
            shutil.copytree(FIXTURES / name, quick_path / name)
        elif (FIXTURES / name).exists():
            shutil.copy(FIXTURES / name, quick_path / name)
    return quick_path / request.param


def digests(folder):
    """Return the digest of each file in a folder, and the names of its folders."""
    paths = sorted(folder.rglob("*"))
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder" for path in paths}


def hashes(store):
    return {name: feature_set_hash(store, name) for name in store.feature_sets()}


def check_content(store, made, names, without=()):
    """Compare all that a store shows with what was written; `without` are keys that were dropped."""
    assert store.feature_sets() == sorted(names)
    for name in names:
        expected = {key: series for key, series in made.SERIES[name].items() if key not in without}
        assert store.spec(name) == made.SPECS[name]
        assert [(Key(one.clip_id, one.entity_id), one.rows) for one in store.series(name)] == [
            (key, len(series.values)) for key, series in expected.items()
        ]
        for key, series in expected.items():
            for mine, wanted in zip(store.read(name, *key), series, strict=True):
                assert mine.dtype == wanted.dtype
                assert np.array_equal(mine, wanted)
        assert store.failures(name) == [one for one in made.FAILURES[name] if Key(*one[:2]) not in without]


def test_all_fixtures_are_opened_here_and_git_keeps_all_of_them():
    found = {path.name for path in FIXTURES.iterdir()} - {".gitattributes"}
    assert found == {*STORES, "format-2.h5.segments"}
    assert [path for path in FIXTURES.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 1_500_000


@pytest.mark.parametrize("copied", STORES, indirect=True)
def test_it_holds_what_was_written_and_reading_changes_nothing(copied, made):
    before, names = digests(copied.parent), STORES[copied.name]
    with FeatureStore.open(copied) as store:
        check_content(store, made, names)
        assert store.clips() == made.CLIPS
        assert hashes(store) == {name: HASHES[name] for name in names}
        store.info()
    assert digests(copied.parent) == before


@pytest.mark.parametrize("copied", ["format-1.zarr", *FORMAT_2], indirect=True)
def test_it_is_sound_and_checking_it_changes_nothing(copied):
    before = digests(copied.parent)
    assert verify(copied) == {"series": 4 * len(STORES[copied.name]), **SOUND}
    assert digests(copied.parent) == before


@pytest.mark.parametrize("copied", FORMAT_2, indirect=True)
def test_it_can_be_written_to_and_compacted(copied, made, make_spec, make_series):
    names = STORES[copied.name]
    with FeatureStore.open(copied, "a") as store:
        store.create(make_spec("new.x"))
        store.write("new.x", "clip 0", None, *make_series(0))
        store.write(DEMO, "bad", None, np.ones((1, 3)), [0], [True])
        store.commit()
        version = store.write_clips(ClipsTable([Clip("a", Path("/m/a.wav"))]))
        drop(store, DEMO, [("bad", None)])
        told = compact(store)
        assert told["problems"] == []
        assert {one["segments_after"] for one in told["feature_sets"].values()} == {1}
    with FeatureStore.open(copied) as store:
        assert np.array_equal(store.read("new.x", "clip 0").values, make_series(0).values)
        assert store.clips_versions()[-1] == version
        assert store.failures(DEMO) == []
        assert {name: found for name, found in hashes(store).items() if name != "new.x"} == {
            name: HASHES[name] for name in names
        }
    assert verify(copied) == {"series": 4 * len(names) + 1, **SOUND}
    assert copied.is_dir() or not copied.with_name(f"{copied.name}.segments").exists()  # compacted: one file


@pytest.mark.parametrize("copied", FORMAT_2, indirect=True)
def test_it_can_be_dropped_from(copied, made):
    names = [name for name in STORES[copied.name] if name != COUNT]
    gone = [Key("clip 1"), Key("long"), Key("late", "右"), Key("bad")]
    with FeatureStore.open(copied, "a") as store:
        drop(store, COUNT)
        for name in names:
            known = {*made.SERIES[name], *(Key(*one[:2]) for one in made.FAILURES[name])}
            drop(store, name, [key for key in gone if key in known])
    with FeatureStore.open(copied) as store:
        check_content(store, made, names, gone)
    assert verify(copied) == {"series": 3 + 2 + 2, **SOUND}


@pytest.mark.parametrize("name", ["s.zarr", "s.h5"])
def test_a_store_whose_empty_folders_git_did_not_keep_is_whole(quick_path, made, name):
    path = quick_path / name
    with FeatureStore.open(path, "a") as store:
        store.create(made.SPECS[DEMO])
    for folder in sorted(quick_path.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    assert verify(path) == {"series": 0, **SOUND}
    with FeatureStore.open(path, "a") as store:
        made.write(store, DEMO, Key("clip 2"))
        store.write_clips(made.CLIPS)
    assert verify(path) == {"series": 1, **SOUND}
