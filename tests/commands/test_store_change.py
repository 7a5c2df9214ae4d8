"""`cuebank store drop` and `compact`, through the installed command: what is named is removed, or the user is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import FeatureSpec, FeatureStore, Recipe

CUEBANK = Path(sys.executable).with_name("cuebank")


def cuebank(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([CUEBANK, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(params=["zarr", "h5"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"features.{request.param}"
    with FeatureStore.open(path, "a") as store:
        for name in ("demo.a", "demo.b"):
            store.create(FeatureSpec(name, "numeric", 2, "float16", Recipe("demo", {"source": "none"})))
            for i in range(3):
                store.write(name, f"c{i}", [None, "left"][i % 2], np.full((i, 2), i), np.arange(i), np.ones(i, bool))
            store.commit()
    return path


def clips(path: Path, name: str) -> list[str]:
    with FeatureStore.open(path) as store:
        return [item.clip_id for item in store.series(name)]


def test_a_named_clip_that_is_nowhere_keeps_the_others_from_being_removed(store: Path) -> None:
    done = cuebank("store", "drop", store, "--clip", "c1", "--clip", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Nothing was removed" in done.stderr
    assert clips(store, "demo.a") == clips(store, "demo.b") == ["c0", "c1", "c2"]


def test_an_entity_that_the_clip_does_not_have_is_said_so(store: Path) -> None:
    done = cuebank("store", "drop", store, "--clip", "c0", "--entity", "left")
    assert done.returncode == 1
    assert "left" in done.stderr


def test_what_was_removed_before_a_failure_is_told(store: Path) -> None:
    with FeatureStore.open(store) as opened:
        names = opened.feature_sets()
        committed = opened._committed("demo.b")
        (segment,) = committed._with_ids() and committed.visible
    root = store if store.suffix == ".zarr" else store.with_name(store.name + ".segments")
    row_file = root / "demo.b" / "segments" / (f"{segment}/values/0.0" if store.suffix == ".zarr" else f"{segment}.h5")
    row_file.chmod(0o644)
    row_file.write_bytes(row_file.read_bytes()[:-40])
    done = cuebank("store", "drop", store, "--clip", "c2", "--json")
    assert names == ["demo.a", "demo.b"]
    assert done.returncode == 1, done.stdout
    if "demo.a" in done.stderr:  # HDF5 finds the short file before anything is removed
        assert clips(store, "demo.a") == ["c0", "c1"]
        assert "Removed before the failure: 1 series of demo.a" in done.stderr
    else:
        assert clips(store, "demo.a") == ["c0", "c1", "c2"]


def test_compact_reports_what_it_did_as_json(store: Path) -> None:
    done = cuebank("store", "compact", store, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["feature_sets"]) == {"demo.a", "demo.b"}
    assert told["problems"] == []
