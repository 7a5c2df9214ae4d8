"""`cuebank store export` and `cuebank store hash`, through the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import FeatureSpec, FeatureStore, Recipe
from cuebank.store.content_hash import feature_set_hash

CUEBANK = Path(sys.executable).with_name("cuebank")


def cuebank(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [CUEBANK, *map(str, words)], capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "features.zarr"
    with FeatureStore.open(path, "a") as store:
        for name in ("demo.a", "demo.b"):
            store.create(FeatureSpec(name, "numeric", 2, "float16", Recipe("demo", {"source": "none"})))
            for i in range(3):
                store.write(name, f"c{i}", None, np.full((i, 2), i), np.arange(i), np.ones(i, bool))
        store.record_failure("demo.a", "bad", None, "no sound")
        store.commit()
    return path


def hashes(path: Path) -> dict[str, str]:
    done = cuebank("store", "hash", path, "--json")
    assert done.returncode == 0, done.stderr
    return {name: one["hash"] for name, one in json.loads(done.stdout)["feature_sets"].items()}


def test_a_copy_has_the_hashes_of_the_store(store: Path, tmp_path: Path) -> None:
    done = cuebank("store", "export", store, tmp_path / "copy.zarr", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kind"] == "zarr"
    assert result["feature_sets"] == {
        "demo.a": {"series": 3, "rows": 3, "failed": 1},
        "demo.b": {"series": 3, "rows": 3, "failed": 0},
    }
    with FeatureStore.open(store) as opened:
        expected = {name: feature_set_hash(opened, name) for name in opened.feature_sets()}
    assert hashes(store) == hashes(tmp_path / "copy.zarr") == expected
    assert json.loads(cuebank("store", "verify", tmp_path / "copy.zarr", "--json").stdout)["ok"]


def test_the_suffix_or_an_option_chooses_the_form_and_names_choose_feature_sets(store: Path, tmp_path: Path) -> None:
    done = cuebank("store", "export", store, tmp_path / "copy", "--to", "npy", "--feature-set", "demo.b")
    assert done.returncode == 0, done.stderr
    assert "demo.b: 3 series, 3 rows, 0 failures" in done.stdout
    assert (np.load(tmp_path / "copy" / "demo.b" / "000000002.values.npy") == 2).all()
    assert not (tmp_path / "copy" / "demo.a").exists()
    done = cuebank("store", "export", store, tmp_path / "copy.parquet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.parquet" / "demo.a.parquet").stat().st_size > 0


def test_the_hash_of_each_series_is_printed_when_asked_for(store: Path) -> None:
    lines = cuebank("store", "hash", store, "--series", "--json", "--feature-set", "demo.b").stdout.splitlines()
    *series, sets = map(json.loads, lines)
    assert [(one["feature_set"], one["clip_id"], one["rows"]) for one in series] == [
        ("demo.b", f"c{i}", i) for i in range(3)
    ]
    assert len({one["hash"] for one in series} | {sets["feature_sets"]["demo.b"]["hash"]}) == 4
    assert sets["feature_sets"]["demo.b"]["series"] == 3
    text = cuebank("store", "hash", store).stdout.splitlines()
    assert text == [f"{name}\t{found}" for name, found in hashes(store).items()]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("export", "STORE", "copy"), 2, "--to"),
        (("export", "STORE", "copy.zarr", "--to", "zip"), 2, "zip"),
        (("export", "STORE", "STORE"), 1, "nothing is overwritten"),
        (("export", "STORE", "STORE/copy.zarr"), 1, "inside the store"),
        (("export", "STORE", "copy.zarr", "--feature-set", "demo.c"), 1, "demo.a"),
        (("export", "none.zarr", "copy.zarr"), 1, "none.zarr"),
        (("hash", "STORE", "--feature-set", "demo.c"), 1, "demo.a"),
        (("hash", "none.zarr"), 1, "none.zarr"),
    ],
)
def test_a_mistake_gets_a_clear_message_and_writes_nothing(
    words: tuple[str, ...], code: int, expected: str, store: Path, tmp_path: Path
) -> None:
    places = (w.replace("STORE", str(store)) if "STORE" in w else w for w in words)
    done = cuebank("store", *(tmp_path / w if w.startswith(("copy", "none")) else w for w in places))
    assert (done.returncode, expected in done.stderr) == (code, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["features.zarr"]


def test_without_pyarrow_the_message_says_how_to_install_it(store: Path, tmp_path: Path) -> None:
    block = tmp_path / "block"
    block.mkdir()
    (block / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    done = cuebank("store", "export", store, tmp_path / "copy.parquet", env={"PYTHONPATH": str(block)})
    assert done.returncode == 1
    assert 'pip install "cuebank[table]"' in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["block", "features.zarr"]
