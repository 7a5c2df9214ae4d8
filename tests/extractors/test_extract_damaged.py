"""Damaged media through the installed command: each ends as rows or as a recorded reason, and the run goes on."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from damage import REAL, damage

from cuebank.store import FeatureStore
from cuebank.store.verify import verify

COMMAND = ["--backbone", "mfcc", "--backbone", "vit-tiny", "--weights", "random", "--threads", "1"]


def extract_damaged(sources: list[Path], count: int, folder: Path, seed: int) -> dict[str, Any]:
    """Damage files, extract from all of them in one run, and check what is said of each."""
    chance, lines = random.Random(seed), ["clip_id,path"]
    for number in range(count):
        source = sources[number % len(sources)]
        # Now and then with the name of another kind of file.
        suffix = chance.choice([".mp4", ".wav", ".mkv"]) if number % 10 == 0 else source.suffix
        path = folder / f"{number}{suffix}"
        path.write_bytes(damage(source.read_bytes(), chance))
        lines.append(f"clip {number},{path.name}")
    (folder / "clips.csv").write_text("\n".join(lines))
    store = folder / "features.zarr"
    command = [str(Path(sys.executable).with_name("cuebank")), "extract", *COMMAND, "--json"]
    command += ["--clips", str(folder / "clips.csv"), "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * count, check=False)
    told = json.loads(done.stdout)
    failed = {one["clip_id"]: one["reason"] for one in told["failed"]}
    assert done.returncode == (1 if failed else 0), done.stderr
    assert told["done"] + len(failed) == count
    assert all(len(reason) > 20 for reason in failed.values())
    with FeatureStore.open(store) as features:
        for name in features.feature_sets():
            rows = {one.clip_id for one in features.series(name) if one.rows}
            reasons = {one.clip_id: one.reason for one in features.failures(name)}
            assert len(rows) + len(reasons) == count, name
            assert rows.isdisjoint(reasons)
            assert set(reasons) <= set(failed)
            assert all(features.read(name, one).valid.any() for one in rows)
    report = verify(store)
    assert report["ok"], report["problems"]
    return {"done": told["done"], "failed": len(failed)}


def test_damaged_films_end_as_rows_or_reasons(shared: Any, tmp_path: Path) -> None:
    told = extract_damaged([shared("media", name) for name in REAL], 20, tmp_path, seed=1)
    assert min(told.values()) > 2  # neither are all lost, nor is all well


@pytest.mark.slow
def test_three_hundred_damaged_files_end_as_rows_or_reasons(
    shared: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = extract_damaged([shared("media", name) for name in REAL], 300, tmp_path, seed=2)
    assert min(told.values()) > 30
    with capsys.disabled():
        print(f"\n300 damaged files: {told['done']} gave rows of all backbones, {told['failed']} a reason")
