"""The way from a CSV of labels to a report over rows, as a user walks it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cuebank.cli import main
from cuebank.store import FeatureSpec, FeatureStore, Recipe


def cuebank(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of steps of 8 clips, and the CSVs of their labels and of their clips."""
    rng = np.random.default_rng(0)
    with FeatureStore.open(tmp_path / "f.zarr", "a") as store:
        store.create(
            FeatureSpec("steps.x", "numeric", 3, "float16", Recipe("steps", {"source": "synthetic"}), scope="entity")
        )
        lines = ["clip_id,entity_id,time_s,mood,level"]
        for i in range(8):
            values = rng.standard_normal((12, 3))
            store.write("steps.x", f"c{i}", "A", values, np.arange(12) / 4, np.ones(12, bool))
            moods = ["up" if value > 0 else "down" for value in values[:, 0]]
            lines += [f"c{i},A,{t / 4},{mood},{values[t, 1]}" for t, mood in enumerate(moods)]
        store.commit()
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    clips = ["clip_id,path,group_id", *(f"c{i},gone.mp4,g{i % 4}" for i in range(8))]
    (tmp_path / "clips.csv").write_text("\n".join(clips) + "\n", encoding="utf-8")
    (tmp_path / "mood.toml").write_text(
        'target = "mood"\nunit = "row"\nkind = "classes"\ninputs = {steps = "steps*"}\n'
        "training = {epochs = 3, lr = 0.05, batch_size = 8}\n",
        encoding="utf-8",
    )
    return tmp_path


def imported(folder: Path, *words: object) -> Result:
    return cuebank(
        "import-labels", folder / "labels.csv", "--as", "toy.mood", "--store", folder / "f.zarr",
        "--clips", folder / "clips.csv", *words,
    )  # fmt: skip


def test_labels_are_imported_trained_on_and_predicted(folder: Path) -> None:
    done = imported(folder, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {
        "feature_set": "toy.mood",
        "series": 8,
        "rows": 96,
        "unlabelled": 0,
        "classes": {"mood": ["down", "up"]},
        "notes": [],
    }
    words = [
        "--task",
        folder / "mood.toml",
        "--store",
        folder / "f.zarr",
        "--out",
        folder / "out",
        "--folds",
        4,
        "--json",
    ]
    done = cuebank("train-head", *words)
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.output)
    assert (report["task"], report["n"], report["classes"]) == ("mood", 96, ["down", "up"])
    assert report["metrics"]["macro_f1"]["mean"] > 0.6
    done = cuebank(
        "predict", folder / "out", "--store", folder / "f.zarr", "--out", folder / "p.csv", "--clock", "steps.x"
    )
    assert done.exit_code == 0, done.output
    with (folder / "p.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 96


def test_several_targets_are_named_with_commas(folder: Path) -> None:
    text = (folder / "labels.csv").read_text(encoding="utf-8")
    lines = [line.split(",") for line in text.splitlines()]
    both = [",".join([*cells[:3], cells[4], "drift" if i == 0 else cells[4]]) for i, cells in enumerate(lines)]
    (folder / "labels.csv").write_text("\n".join(both) + "\n", encoding="utf-8")
    assert imported(folder).exit_code == 0
    (folder / "level.toml").write_text(
        'target = "level"\nunit = "row"\nmetric = "mse"\nloss = "mse"\ninputs = {steps = "steps*"}\n', encoding="utf-8"
    )
    done = cuebank(
        "train-head", "--task", folder / "level.toml", "--store", folder / "f.zarr", "--out", folder / "out",
        "--target", "level, drift", "--epochs", 1, "--folds", 2, "--head", "linear", "--memory", 0, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["outputs"] == ["level", "drift"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("c3,A,0.5", "c3,A,half"), "line 40: `time_s` is 'half'"),
        (lambda text: text.replace("c3,A,0.5,", "c9,A,0.5,"), "the clips table has no clip 'c9'"),
        (lambda text: text.replace("time_s", "seconds"), "the column `time_s` is missing"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_1(folder: Path, change: Callable[[str], str], said: str) -> None:
    path = folder / "labels.csv"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    done = imported(folder)
    assert done.exit_code == 1
    assert said in done.output


def test_the_report_in_words_names_series_rows_and_classes(folder: Path) -> None:
    done = imported(folder, "--classes", "mood=up,down")
    assert done.output == "`toy.mood`: 8 series, 96 rows, 0 without a label.\nClasses of mood: up, down\n"
    again = imported(folder)
    assert again.exit_code == 1
    assert "--overwrite" in again.output
    assert imported(folder, "--overwrite").exit_code == 0
