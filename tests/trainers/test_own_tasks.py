"""Tasks in TOML files: what is said is taken, what is not has a default, and all mistakes are told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuebank.store import BadInput, NotFound
from cuebank.trainers import tasks
from cuebank.trainers.train_head import train_head

Planted = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def make(text: str) -> str:
        (tmp_path / "valence.toml").write_text(text, encoding="utf-8")
        return str(tmp_path / "valence.toml")

    return make


def test_a_target_is_enough_and_everything_else_has_a_default(write: Callable[[str], str]) -> None:
    task = tasks.task(write('target = "valence"'))
    assert (task.name, task.targets, task.unit, task.kind) == ("valence", ("valence",), "clip", "regression")
    assert (task.head, task.loss, task.metric) == ("mlp", "ccc", "ccc")
    rows = tasks.task(write('target = "mood"\nunit = "row"\nkind = "classes"'))
    assert (rows.head, rows.loss, rows.metric, rows.allowed) == ("plain-mlp", "ce", "macro_f1", "2 to 1000")


def test_all_that_is_said_is_taken(write: Callable[[str], str]) -> None:
    task = tasks.task(
        write(
            """
            target = ["valence", "arousal"]
            unit = "row"
            metric = "pearson"
            loss = "mse"
            head = "linear"
            align = "mean"
            rate = "30000/1001"
            window_rows = 100
            folds = 3
            labels = "toy*"
            [inputs]
            audio = "hubert*"
            video = ["vit*", "clip*"]
            [training]
            epochs = 7
            """
        )
    )
    assert task.targets == ("valence", "arousal")
    assert task.metrics == ("pearson", "ccc", "r2", "mse", "mae")
    assert task.inputs == {"audio": ("hubert*",), "video": ("vit*", "clip*")}
    assert (task.align, task.rate, task.window_rows, task.labels) == ("mean", "30000/1001", 100, ("toy*",))
    assert task.training == {"epochs": 7}


def test_a_task_may_be_like_another(write: Callable[[str], str]) -> None:
    task = tasks.task(write('like = "engagement"\ntarget = "interest"\nmetrics = ["mae", "ccc"]'))
    known = tasks.task("engagement")
    assert (task.name, task.target, task.metric, task.inputs) == ("valence", "interest", "mae", known.inputs)
    assert (known.target, known.metric) == ("engagement", "ccc")


def test_all_mistakes_of_a_file_are_told_at_once(write: Callable[[str], str]) -> None:
    path = write(
        """
        targt = "valence"
        unit = "clips"
        folds = "five"
        classes = 1
        window_rows = 0
        metrics = ["ccc", "ccc"]
        inputs = "hubert*"
        normalise = true
        """
    )
    with pytest.raises(BadInput) as error:
        tasks.task(path)
    text = str(error.value)
    assert "It has 8 problems" in text
    assert "the key `targt` is unknown. Did you mean `target`" in text
    for key in ("unit", "folds", "classes", "window_rows", "metrics", "inputs", "normalise"):
        assert f"`{key}` is " in text


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ('kind = "regression"', BadInput, "`target` is missing"),
        ('target = "x"\nmetric = "macro_f1"', BadInput, "`macro_f1` is for classes, the task is regression"),
        ('target = "x"\nmetric = "cccc"', BadInput, "Did you mean `ccc`"),
        ('target = "x" y', BadInput, "It is not TOML"),
        ('like = "engagment"', NotFound, "Did you mean `engagement`"),
    ],
)
def test_what_is_no_task_is_refused(write: Callable[[str], str], text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        tasks.task(write(text))


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        tasks.task(str(tmp_path / "absent.toml"))


def test_an_own_task_is_trained_and_reported_by_its_name(write: Callable[[str], str], planted: Planted) -> None:
    store = planted(column="interest", n=60)
    path = write(
        'target = "interest"\nloss = "mse"\nmetric = "pearson"\n'
        'inputs = {video = "i3d*"}\ntraining = {epochs = 2, lr = 0.01}'
    )
    report: Any = train_head(path, store, folds=3)
    assert (report.task, report.metric, report.target) == ("valence", "pearson", "interest")
    assert (report.training["epochs"], report.training["lr"]) == (2, 0.01)
    assert report.inputs == {"video": "i3d.k400+mean"}
