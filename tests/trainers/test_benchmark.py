"""The grid: each cell is trained once, also across a kill; what changed is trained again; failures do not end it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import BadInput, Clip, ClipsTable, FeatureSpec, FeatureStore, NotFound, Recipe
from cuebank.trainers import benchmark as library
from cuebank.trainers import tasks
from cuebank.trainers.benchmark import benchmark, mix_of
from cuebank.trainers.train_head import train_head

Planted = Callable[..., Path]
VIDEO, AUDIO = "i3d.k400+mean", "hubert-tiny.random-0@last"
QUICK: dict[str, Any] = {"epochs": 3, "lr": 0.01, "control": False}
GRID: dict[str, Any] = {"heads": ("linear", "mlp"), "features": (VIDEO, f"{VIDEO},{AUDIO}"), "seeds": (0, 1), **QUICK}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Return a list that tells which cells were trained."""
    told: list[tuple[str, str, int]] = []

    def watched(task: Any, store: Any, **options: Any) -> Any:
        told.append((options["head"], ",".join(options["inputs"].values()), options["seeds"][0]))
        return train_head(task, store, **options)

    monkeypatch.setattr(library, "train_head", watched)
    return told


def written(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
    return content


def test_every_cell_is_trained_once_and_entries_are_ranked(
    planted: Planted, tmp_path: Path, trained: list[Any]
) -> None:
    store, out = planted(n=80), tmp_path / "out"
    board = benchmark("engagement", store, out=out, **GRID)
    assert len(trained) == len(set(trained)) == 8
    content = written(out)
    assert content == board.to_json()
    means = [one["metrics"]["ccc"]["mean"] for one in content["entries"]]
    assert len(means) == 4
    assert means == sorted(means, reverse=True)
    assert [one["rank"] for one in content["entries"]] == [1, 2, 3, 4]
    best = content["entries"][0]
    assert best["inputs"] == {"video": VIDEO, "audio": AUDIO}
    assert (best["seeds"], best["n"], best["groups"], best["versus_best"]) == ([0, 1], 80, 8, None)
    for one in content["entries"]:
        assert one["seconds"] > 0
        assert one["parameters"] > 0
        score = one["metrics"]["ccc"]
        assert score["low"] < score["mean"] < score["high"]
    for one in content["entries"][1:]:
        test = one["versus_best"]
        assert test["difference"] == pytest.approx(one["metrics"]["ccc"]["mean"] - means[0])
        assert 0 < test["p_permutation"] <= test["p_holm"] <= 1
    board = benchmark("engagement", store, out=out, **GRID)
    assert len(trained) == 8
    assert board.to_json() == content


def test_an_entry_has_the_scores_of_one_training_with_all_seeds(planted: Planted, tmp_path: Path) -> None:
    store = planted(n=80)
    board = benchmark("engagement", store, out=tmp_path, heads=("mlp",), seeds=(3, 1), fused=False, **QUICK)
    report = train_head("engagement", store, head="mlp", seeds=(3, 1), fused=False, **QUICK)
    assert board.entries[0].scores["ccc"].mean == pytest.approx(report.metrics["ccc"].mean, abs=1e-6)
    assert board.entries[0].scores["mae"].low == pytest.approx(report.metrics["mae"].low, abs=1e-6)


def test_a_larger_grid_trains_only_what_is_new(planted: Planted, tmp_path: Path, trained: list[Any]) -> None:
    store = planted(n=80)
    benchmark("engagement", store, out=tmp_path, **{**GRID, "seeds": (0,), "features": (VIDEO,)})
    trained.clear()
    board = benchmark("engagement", store, out=tmp_path, **{**GRID, "features": (VIDEO,)})
    assert trained == [("linear", VIDEO, 1), ("mlp", VIDEO, 1)]
    assert [one.seeds for one in board.entries] == [(0, 1), (0, 1)]


def change_rows(store: Path, **_: Any) -> None:
    with FeatureStore.open(store, "a") as opened:
        opened.write(VIDEO, "clip0000", None, np.ones((1, 12)), [0.0], [True])
        opened.commit()


def change_table(store: Path, **_: Any) -> None:
    with FeatureStore.open(store, "a") as opened:
        rows = [replace(clip, group_id=f"{clip.group_id}x") for clip in opened.clips()]
        opened.write_clips(ClipsTable(rows, {"engagement": "number"}))
        opened.commit()


def change_fingerprint(store: Path, **_: Any) -> None:
    import shutil

    with FeatureStore.open(store) as opened:
        series = {one.clip_id: opened.read(VIDEO, one.clip_id) for one in opened.series(VIDEO)}
        rows = {clip: [np.array(part) for part in one] for clip, one in series.items()}
    shutil.rmtree(next(path for path in store.iterdir() if path.name.startswith("i3d")))
    with FeatureStore.open(store, "a") as opened:
        opened.create(FeatureSpec(VIDEO, "numeric", 12, "float32", Recipe("i3d", {"source": "other"})))
        for clip, (values, times, valid) in rows.items():
            opened.write(VIDEO, clip, None, values, times, valid)
        opened.commit()


def change_nothing(store: Path, **_: Any) -> None:
    with FeatureStore.open(store, "a") as opened:
        series = opened.read(VIDEO, "clip0000")
        opened.write(VIDEO, "clip0000", None, *(np.array(part) for part in series))
        opened.write(AUDIO, "not in the mix", None, np.ones((1, 10)), [0.0], [True])
        opened.commit()


@pytest.mark.parametrize(
    ("change", "options", "anew"),
    [
        (change_rows, {}, True),
        (change_table, {}, True),
        (change_fingerprint, {}, True),
        (change_nothing, {}, False),
        (lambda **_: None, {"epochs": 2}, True),
        (lambda **_: None, {"settings": {"mlp": {"hidden_size": "8"}}}, True),
        (lambda **_: None, {"task": replace(tasks.task("engagement"), version=2)}, True),
        (lambda **_: None, {"control": True}, True),
        (lambda **_: None, {"threads": 1}, False),
    ],
    ids=["rows", "table", "fingerprint", "nothing", "epochs", "setting", "task version", "control", "threads"],
)
def test_a_cell_is_trained_again_if_and_only_if_something_changed_that_decides_its_result(
    planted: Planted, tmp_path: Path, trained: list[Any], change: Any, options: dict[str, Any], anew: bool
) -> None:
    store = planted(n=64)
    grid = {"task": "engagement", "heads": ("mlp",), "features": (VIDEO,), "out": tmp_path, **QUICK}
    benchmark(store=store, **grid)
    change(store=store)
    benchmark(store=store, **{**grid, **options})
    assert len(trained) == 1 + anew


def test_a_damaged_cell_is_trained_again(planted: Planted, tmp_path: Path, trained: list[Any]) -> None:
    store = planted(n=64)
    grid = {"heads": ("linear",), "features": (VIDEO,), "seeds": (0, 1, 2), "out": tmp_path, **QUICK}
    benchmark("engagement", store, **grid)
    cells = tmp_path / "cells"
    arrays = sorted(cells.glob("*.npz"))
    arrays[0].write_bytes(arrays[0].read_bytes()[:-1])
    sorted(cells.glob("*.json"))[1].write_text("{")
    arrays[2].unlink()
    benchmark("engagement", store, **grid)
    assert len(trained) == 6


def test_a_failing_cell_is_recorded_with_its_reason_and_tried_again(
    planted: Planted, tmp_path: Path, trained: list[Any]
) -> None:
    store = planted(n=64)
    grid = {"heads": ("temporal-gnn", "linear"), "features": (VIDEO,), "out": tmp_path, **QUICK}
    board = benchmark("engagement", store, **grid)
    assert [one.head for one in board.entries] == ["linear"]
    assert [one["head"] for one in board.failed] == ["temporal-gnn"]
    assert "head" in board.failed[0]["reason"]
    cell = json.loads(next((tmp_path / "cells").glob("temporal-gnn*.json")).read_text())
    assert cell["failed"] == board.failed[0]["reason"]
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.csv"):
        assert "temporal-gnn" in (tmp_path / name).read_text(encoding="utf-8")
    trained.clear()
    benchmark("engagement", store, **grid)
    assert [one[0] for one in trained] == ["temporal-gnn"]


def test_a_grid_of_which_every_cell_fails_still_says_so(planted: Planted, tmp_path: Path) -> None:
    board = benchmark("engagement", planted(n=64), out=tmp_path, heads=("temporal-gnn",), features=(VIDEO,), **QUICK)
    assert not board.entries
    assert len(board.failed) == 1
    assert "temporal-gnn" in board.to_text()
    assert written(tmp_path)["entries"] == []


KILLED = """
import sys
from pathlib import Path
from cuebank.trainers.benchmark import benchmark
print("begin", flush=True)
benchmark("engagement", sys.argv[1], out=Path(sys.argv[2]), heads=("mlp",), features=(sys.argv[3],),
          seeds=tuple(range(6)), epochs=int(sys.argv[4]), patience=0, control=False, threads=1)
"""


def test_kill_and_rerun_redoes_at_most_the_running_cell(planted: Planted, tmp_path: Path, trained: list[Any]) -> None:
    store, out, epochs = planted(n=160), tmp_path / "out", 40
    words = [sys.executable, "-c", KILLED, str(store), str(out), VIDEO, str(epochs)]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while len(list(out.glob("cells/*.json"))) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = {path.name: path.read_bytes() for path in out.glob("cells/*.json")}
    assert 2 <= len(kept) < 6
    assert not (out / "leaderboard.json").exists()
    grid: dict[str, Any] = {"heads": ("mlp",), "features": (VIDEO,), "seeds": tuple(range(6)), "patience": 0}
    board = benchmark("engagement", store, out=out, epochs=epochs, control=False, threads=1, **grid)
    assert len(trained) == 6 - len(kept)
    assert board.entries[0].seeds == tuple(range(6))
    assert {name: (out / "cells" / name).read_bytes() for name in kept} == kept
    whole = benchmark("engagement", store, out=tmp_path / "whole", epochs=epochs, control=False, threads=1, **grid)
    assert np.array_equal(whole.entries[0].predictions.preds, board.entries[0].predictions.preds)


def test_mixes_with_other_rows_are_tested_on_those_in_common(planted: Planted, tmp_path: Path) -> None:
    store = planted(n=160, skip=lambda i, role: role == "audio" and i % 2 == 1)
    board = benchmark("engagement", store, out=tmp_path, heads=("linear",), features=(VIDEO, AUDIO), folds=4, **QUICK)
    assert sorted(len(one.predictions.clip_ids) for one in board.entries) == [80, 160]
    assert any("different rows" in note for note in board.notes)
    content = board.to_json()["entries"][1]
    assert content["versus_best"] is not None or content["no_test"]


def test_classes_rows_and_several_outputs_have_a_leaderboard(
    planted: Planted, planted_rows: Planted, tmp_path: Path
) -> None:
    store = planted("classes.zarr", n=96)
    board = benchmark("engagement-class", store, out=tmp_path / "a", heads=("linear", "mlp"), classes=3, **QUICK)
    assert board.metric == "macro_f1"
    assert board.to_json()["entries"][1]["versus_best"]["metric"] == "macro_f1"
    grid = {"heads": ("linear", "plain-mlp"), "features": ("a=steps.x",), **QUICK}
    board = benchmark("emotion-kemdy", planted_rows(clips=12), out=tmp_path / "b", **grid)
    assert len(board.entries) == 2
    assert board.entries[0].predictions.times is not None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"heads": ("mpl",)}, NotFound, "Did you mean `mlp`"),
        ({"features": ("i3d.k400+men",)}, NotFound, "Did you mean"),
        ({"features": (f"{VIDEO},",)}, BadInput, "empty"),
        ({"features": (f"{VIDEO},video={AUDIO}",)}, BadInput, "both are the input video"),
        ({"seeds": ()}, BadInput, "at least one"),
        ({"seeds": (1, 1)}, BadInput, "different"),
        ({"settings": {"mlp": {"hiden_size": "4"}}}, NotFound, "hidden_size"),
        ({"settings": {"linear": {"lambdas": "4"}}}, BadInput, "--set HEAD.NAME=VALUE"),
    ],
)
def test_what_no_cell_could_do_is_refused_before_anything_is_trained(
    planted: Planted, tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        benchmark("engagement", planted(n=16), **{"out": tmp_path / "out", "heads": ("mlp",), **options})
    assert not (tmp_path / "out").exists()


def test_roles_come_from_the_task_else_from_the_backbone_or_are_named(planted: Planted) -> None:
    with FeatureStore.open(planted(n=16)) as store:
        task = tasks.task("engagement")
        assert mix_of(task, store, f"{AUDIO}, {VIDEO}") == {"video": VIDEO, "audio": AUDIO}
        assert mix_of(task, store, f"gait={VIDEO}") == {"gait": VIDEO}
        assert mix_of(replace(task, inputs={}), store, VIDEO) == {"i3d": VIDEO}


NASTY = "x<script>alert(1)</script>|`b`\n=1+1"


class Tags(HTMLParser):
    """Notes all tags and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def nasty(planted: Planted, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """A leaderboard of feature sets, groups and failures with such names."""
    name = f"evil.{NASTY}"
    with FeatureStore.open(planted(n=40), "a") as opened:
        opened.create(FeatureSpec(name, "numeric", 2, "float32", Recipe("evil", {"source": NASTY})))
        rng = np.random.default_rng(0)
        for i in range(40):
            opened.write(name, f"clip{i:04d}", None, rng.normal(size=(1, 2)), [0.0], [True])
        opened.write_clips(
            ClipsTable(
                [Clip(c.clip_id, c.path, group_id=f"{NASTY}{c.group_id}", labels=c.labels) for c in opened.clips()],
                {"engagement": "number"},
            )
        )
        opened.commit()
        yield (
            benchmark(
                "engagement",
                opened,
                out=tmp_path / "out",
                heads=("linear", "temporal-gnn"),
                features=(name,),
                **QUICK,
            ),
            tmp_path / "out",
        )


def test_names_from_data_are_escaped_everywhere(nasty: tuple[Any, Path]) -> None:
    board, out = nasty
    assert len(board.entries) == 1
    assert len(board.failed) == 1
    page = (out / "leaderboard.html").read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(page)
    assert not [tag for tag, _ in parser.tags if tag in ("script", "img", "link", "iframe", "b")]
    assert not [attrs for _, attrs in parser.tags if {"src", "href", "onload"} & attrs.keys()]
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    document = (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "<script" not in document
    assert all(line.count("|") - line.count("\\|") in (0, 13, 8) for line in document.splitlines())
    with (out / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert rows[0]["inputs"] == f"evil.{NASTY}"
    assert float(rows[0]["ccc"]) == board.to_json()["entries"][0]["metrics"]["ccc"]["mean"]
    assert rows[1]["failed"] == board.failed[0]["reason"]
    assert "\x1b" not in board.to_text()
