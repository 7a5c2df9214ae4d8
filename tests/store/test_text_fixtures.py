"""Stores of texts that were written once and committed still open, hold what they held, and can be changed.

Nothing here is ever made again; see `test_fixtures.py`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from pathlib import Path

import pytest

from cuebank.store import FeatureStore, Key
from cuebank.store.compact import compact
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.drop import drop
from cuebank.store.verify import verify

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "text_fixtures"
STORES = ["texts.zarr", "texts.h5", "texts-folded.h5"]
HASHES = {
    "demo.x": "91a78837d2483ce47acfc56034ab51db04c5669e883de742ef3f0f55b830bdfb",
    "words.x": "2a02dfe8af0d59a40a4455098d91c7b541e2a65d749c20290f5b227ea21bd51a",
    "é/turns.y": "c601cc79b66ba6dfa0d698645952a9aadba213443202909e93d3bb25f385721a",
}


@pytest.fixture(scope="module")
def made():
    """The program that made the fixtures: it says what they hold."""
    spec = importlib.util.spec_from_file_location("make_text_fixture", HERE / "programs" / "make_text_fixture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=STORES)
def copied(request, quick_path):
    """A copy of a store, alone in its folder; it may be changed."""
    for name in (request.param, f"{request.param}.segments"):
        if (FIXTURES / name).is_dir():
            shutil.copytree(FIXTURES / name, quick_path / name)
        elif (FIXTURES / name).exists():
            shutil.copy(FIXTURES / name, quick_path / name)
    return quick_path / request.param


def contents(folder):
    """Return the digest of each file in a folder."""
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def hashes(store):
    return {name: feature_set_hash(store, name) for name in store.feature_sets()}


def check_content(store, made, without=()):
    for name, spec in made.SPECS.items():
        assert store.spec(name) == spec
        wanted = {key: series for key, series in made.SERIES[name].items() if key not in without}
        assert [(Key(one.clip_id, one.entity_id), one.rows) for one in store.series(name)] == [
            (key, len(series.values)) for key, series in wanted.items()
        ]
        for key, series in wanted.items():
            found = store.read(name, *key)
            assert [array.tolist() for array in found] == [array.tolist() for array in series]
        assert store.failures(name) == [one for one in made.FAILURES[name] if Key(*one[:2]) not in without]


def test_git_keeps_all_of_them():
    found = {path.name for path in FIXTURES.iterdir()} - {".gitattributes"}
    assert found == {*STORES, "texts.h5.segments"}
    assert [path for path in FIXTURES.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 400_000


def test_it_holds_what_was_written_and_looking_at_it_changes_nothing(copied, made):
    before = contents(copied.parent)
    with FeatureStore.open(copied) as store:
        check_content(store, made)
        assert store.clips() == made.CLIPS
        assert hashes(store) == HASHES
        store.info()
    assert verify(copied) == {"ok": True, "series": 7, "problems": [], "notes": []}
    assert contents(copied.parent) == before


def test_it_can_be_written_to_compacted_and_dropped_from(copied, made):
    with FeatureStore.open(copied, "a") as store:
        store.write("words.x", "bad", None, ["now"], [0], [True])
        store.commit()
        told = compact(store)
        assert told["problems"] == []
        assert {one["segments_after"] for one in told["feature_sets"].values()} == {1}
        drop(store, "words.x", [("bad", None)])
    with FeatureStore.open(copied, "a") as store:
        check_content(store, made, without=[Key("bad")])
        assert hashes(store) == HASHES
        drop(store, "words.x", [("clip 0", None), ("long", "右")])
    with FeatureStore.open(copied) as store:
        assert [one.clip_id for one in store.series("words.x")] == ["none", "clip 1"]
    assert verify(copied) == {"ok": True, "series": 5, "problems": [], "notes": []}
