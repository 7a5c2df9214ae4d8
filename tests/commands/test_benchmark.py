"""`cuebank benchmark` as a user meets it: what it prints and writes, exit codes; and the control in `train-head`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cuebank.cli import main
from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe

Run = Callable[..., Result]
SETS = ("hubert-base.x@last", "i3d.x")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((64, 2))
    with FeatureStore.open(tmp_path / "features.zarr", "a") as opened:
        for k, name in enumerate(SETS):
            recipe = Recipe(name.split(".")[0], {"source": "synthetic"})
            opened.create(FeatureSpec(name, "numeric", 4, "float32", recipe))
            for i in range(64):
                rows = latent[i, k] + 0.5 * rng.standard_normal((1, 4))
                opened.write(name, f"clip{i:02d}", None, rows, [0.5], [True])
        clips = [
            Clip(f"clip{i:02d}", Path("gone.mp4"), group_id=f"m{i % 8}", labels={"engagement": float(latent[i].sum())})
            for i in range(64)
        ]
        opened.write_clips(ClipsTable(clips, {"engagement": "number"}))
        opened.commit()
    return tmp_path / "features.zarr"


@pytest.fixture
def cuebank(store: Path) -> Run:
    def run(*words: object, command: str = "benchmark", code: int = 0) -> Result:
        done = CliRunner().invoke(main, [command, "--store", str(store), *map(str, words)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


def grid(out: Path, *more: object) -> list[object]:
    mixes = ["--features", SETS[0], "--features", ",".join(SETS)]
    return [
        "--task",
        "engagement",
        "--heads",
        "linear, mlp",
        *mixes,
        "--seeds",
        "0,1",
        "--epochs",
        2,
        "--out",
        out,
        *more,
    ]


def test_the_leaderboard_is_printed_and_written_in_four_forms(cuebank: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = cuebank(*grid(out)).stdout
    assert text.splitlines()[0] == "Benchmark: engagement"
    assert "linear" in text.splitlines()[2]
    assert f"Leaderboard: {out}" in text
    assert "Control: Shuffled labels were predicted no better than chance in all 8 cells." in text
    content = json.loads((out / "leaderboard.json").read_text())
    assert [len(content["entries"]), content["failed"]] == [4, []]
    assert sorted(p.name for p in out.iterdir()) == [
        "cells",
        *(f"leaderboard.{end}" for end in ("csv", "html", "json", "md")),
    ]
    again = json.loads(cuebank(*grid(out, "--json")).stdout)
    assert again == content
    assert cuebank(*grid(out, "--json", "--no-control")).exit_code == 0
    assert json.loads((out / "leaderboard.json").read_text())["entries"][0]["control"] == {"ok": 0, "of": 0}


def test_settings_reach_their_head(cuebank: Run, tmp_path: Path) -> None:
    words = grid(tmp_path, "--json", "--no-control")
    plain = json.loads(cuebank(*words).stdout)
    small = json.loads(cuebank(*words, "--set", "mlp.hidden_size=4").stdout)
    sizes = [{(e["head"], e["parameters"]) for e in one["entries"]} for one in (plain, small)]
    assert len(sizes[0] & sizes[1]) == 2  # linear, on two mixes
    assert len(sizes[0] - sizes[1]) == 2


def test_a_failing_cell_ends_with_exit_code_1_and_the_others_are_there(cuebank: Run, tmp_path: Path) -> None:
    words = ["--task", "engagement", "--heads", "temporal-gnn,linear", "--features", SETS[0], "--out", tmp_path / "out"]
    done = cuebank(*words, "--epochs", 1, code=1)
    assert "Failed: temporal-gnn on hubert-base.x@last, seed 0" in done.stdout
    assert "linear" in done.stdout
    assert "Traceback" not in done.output


def test_wrong_usage_ends_with_2_and_what_is_not_there_with_1(cuebank: Run, tmp_path: Path) -> None:
    words = ["--task", "engagement", "--out", tmp_path / "out"]
    cuebank(*words, "--seeds", "0,x", code=2)
    cuebank(*words, "--set", "hidden_size=4", code=2)
    cuebank("--out", tmp_path / "out", code=2)
    assert "Did you mean" in cuebank(*words, "--heads", "mpl", code=1).stderr
    assert "i3d.x" in cuebank(*words, "--features", "i3d.y", code=1).stderr
    assert not (tmp_path / "out").exists()


def test_train_head_prints_its_checks_and_its_control(cuebank: Run, tmp_path: Path) -> None:
    words = ["--task", "engagement", "--epochs", 2, "--out", tmp_path]
    text = cuebank(*words, command="train-head").stdout
    found = [line.split(":")[0] for line in text.splitlines() if line.startswith("Check ")]
    names = ("groups", "selection", "duplicates", "scores", "padding", "control")
    assert found == [f"Check ok, {name}" for name in names]
    without = json.loads(cuebank(*words, "--no-control", "--json", command="train-head").stdout)
    assert "control" not in without
    assert [check["ok"] for check in without["checks"]] == [True] * 5
