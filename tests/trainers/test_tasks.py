"""Tasks: the registry, default inputs by name, what to run when the store has none; labels as numbers and classes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import BadInput, Clip, ClipsTable, NotFound
from cuebank.trainers import heads, losses, metrics, tasks
from cuebank.trainers.options import configure
from cuebank.trainers.runs import TrainConfig
from cuebank.trainers.targets import classes_of_score, read_target
from cuebank.trainers.training_config import training_config


def table(labels: Sequence[Any], kind: str = "number", column: str = "engagement") -> ClipsTable:
    clips = [Clip(f"c{i}", Path("x.mp4"), labels={column: value}) for i, value in enumerate(labels)]
    return ClipsTable(clips, {column: kind})


@pytest.fixture(params=tasks.names())
def task(request: pytest.FixtureRequest) -> tasks.Task:
    return tasks.task(request.param)


def test_everything_that_a_task_names_exists(task: tasks.Task) -> None:
    folder = Path(tasks.__file__).parent
    assert (folder / f"{task.name.replace('-', '_')}.py").is_file()
    assert task.version >= 1
    assert losses.loss(task.loss).kind == task.kind
    assert task.metric == task.metrics[0]
    fitting = {"classes", "scores"} if task.kind == "classes" else {"regression"}
    assert {metrics.metric(name).kind for name in task.metrics} <= fitting
    assert task.extract.keys() <= task.inputs.keys()
    assert bool(task.classes) == (task.kind == "classes")
    assert task.unit in ("clip", "row")
    assert bool(task.labels) == (task.unit == "row")
    assert training_config(task, {}).metric == task.metric
    shown = task.to_json()
    assert shown["name"] == task.name
    assert json.loads(json.dumps(shown)) == shown


def test_the_head_of_a_task_takes_the_settings_that_it_names(task: tasks.Task) -> None:
    if task.head not in heads.names():
        pytest.skip(f"the head `{task.head}` is not here yet")
    configure(heads.head(task.head).config, task.head_settings, "The head")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("engagement", TrainConfig()),
        (
            "emotion-kemdy",
            TrainConfig(
                "ce",
                "f1_micro",
                100,
                16,
                1e-3,
                0.0,
                0.0,
                30,
                optimizer="adam",
                schedule="cosine",
                schedule_epochs=100,
                keep_last=True,
            ),
        ),
        (
            "reaction",
            TrainConfig("mse", "pearson", 50, 16, 3e-4, 0.01, 0.0, lr_decay=0.5, schedule="step", keep_last=True),
        ),
    ],
)
def test_a_task_is_trained_as_it_says_unless_asked_otherwise(name: str, settings: TrainConfig) -> None:
    task = tasks.task(name)
    assert training_config(task, {"lr": None}) == settings
    other = training_config(task, {"lr": 0.5, "epochs": 3})
    assert other == dataclasses.replace(settings, lr=0.5, epochs=3)


def test_settings_of_training_that_do_not_exist_are_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean `epochs`"):
        training_config(tasks.task("engagement"), {"epoch": 3})


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean `engagement`"):
        tasks.task("engagment")


@pytest.mark.parametrize("name", ["engagement", "engagement-class"])
def test_roles_take_the_feature_sets_whose_backbone_is_of_their_family(name: str) -> None:
    found = tasks.task(name).default_inputs(
        ["wavlm-base.x@3", "roberta-base.y+mean", "my-hubert.z", "i3dish"], "s.zarr"
    )
    assert found == {"audio": "wavlm-base.x@3", "text": "roberta-base.y+mean", "video": "i3dish"}


def test_patterns_with_a_layer_look_at_the_whole_name() -> None:
    sets = ["light-asd.ava@audio", "light-asd.ava@visual", "light-asd.ava@score"]
    found = tasks.task("asd").default_inputs(sets, "s.zarr")
    assert found == {"audio": "light-asd.ava@audio", "visual": "light-asd.ava@visual"}


def test_a_store_without_inputs_is_answered_with_the_extract_line(task: tasks.Task) -> None:
    options = next(iter(task.extract.values()))
    with pytest.raises(NotFound, match=rf"cuebank extract {options} --clips clips.csv --store my.zarr") as error:
        task.default_inputs(["fbank.x"], "my.zarr")
    assert "`fbank.x`" in str(error.value)
    assert f"--input {next(iter(task.inputs))}=" in str(error.value)
    with pytest.raises(NotFound, match="no feature set at all"):
        task.default_inputs([], "my.zarr")


def test_several_feature_sets_for_one_role_are_listed_with_the_way_to_choose() -> None:
    with pytest.raises(BadInput, match=r"--input audio=hubert-base.a@9") as error:
        tasks.task("engagement").default_inputs(["hubert-base.b@12", "hubert-base.a@9", "i3d.k"], "my.zarr")
    assert "`hubert-base.a@9`, `hubert-base.b@12`" in str(error.value)


def test_numbers_become_float32_and_clips_without_a_label_are_kept_apart() -> None:
    target = read_target(tasks.task("engagement"), table([0.5, None, -0.25, 1]))
    assert target.values.dtype == np.float32
    assert target.values.tolist() == [0.5, -0.25, 1.0]
    assert [clip.clip_id for clip in target.clips] == ["c0", "c2", "c3"]
    assert [clip.clip_id for clip in target.unlabelled] == ["c1"]
    assert target.outputs == 1


def test_several_columns_are_several_outputs_and_a_clip_needs_a_label_in_each() -> None:
    columns = ("Fear", "Surprise")
    rows = [(0.5, 0.25), (None, 0.5), (1.0, None), (0.0, 0.75)]
    clips = [Clip(f"c{i}", Path("x.mp4"), labels=dict(zip(columns, row, strict=True))) for i, row in enumerate(rows)]
    known = ClipsTable(clips, dict.fromkeys(columns, "number"))
    target = read_target(tasks.task("reaction"), known, columns)
    assert target.values.tolist() == [[0.5, 0.25], [0.0, 0.75]]
    assert (target.outputs, target.names, target.column) == (2, columns, "Fear, Surprise")
    assert [clip.clip_id for clip in target.unlabelled] == ["c1", "c2"]
    with pytest.raises(NotFound, match=r"no such label column `Suprise`. Did you mean `Surprise`"):
        read_target(tasks.task("reaction"), known, ("Fear", "Suprise"))
    with pytest.raises(BadInput, match="one column only"):
        read_target(tasks.task("engagement-class"), known, columns)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_a_label_that_is_no_number_of_float32_is_refused_with_its_clip(bad: float) -> None:
    clips = table([0.1, 0.2])
    # A table that came from elsewhere than ClipsTable's own checks.
    object.__setattr__(clips.clips[1], "labels", {"engagement": bad})
    with pytest.raises(BadInput, match="1 labels are NaN, infinite or too large, the first for clip 'c1'"):
        read_target(tasks.task("engagement"), clips)


@pytest.mark.parametrize(
    ("clips", "options", "said"),
    [
        (table(["a", "b"], "text"), {}, "It holds text, such as 'a'"),
        (table([None, None]), {}, "None of 2 clips has a label"),
        (table([0.1]), {"classes": 3}, "predicts numbers"),
    ],
)
def test_labels_that_are_no_regression_target_are_refused(
    clips: ClipsTable, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        read_target(tasks.task("engagement"), clips, **options)


def test_a_label_column_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean `engagement`"):
        read_target(tasks.task("engagement"), table([0.1]), "engagment")


@pytest.mark.parametrize(
    ("clips", "classes", "ids", "names"),
    [
        (table([0, 2, 1]), None, [0, 2, 1], ("0", "1", "2")),
        (table([0.0, 1.0, 1.0]), None, [0, 1, 1], ("0", "1")),
        (table([0, 1, 1]), 3, [0, 1, 1], ("0", "1", "2")),
        (table(["low", "high", "low"], "text"), None, [1, 0, 1], ("high", "low")),
        (table([-0.3, 0.0, 0.3]), 3, [0, 1, 2], ("low", "middle", "high")),
        (table([-0.3, 0.0, 0.3]), 2, [0, 1, 1], ("low", "high")),
    ],
)
def test_classes_are_numbers_names_or_derived_from_the_score(
    clips: ClipsTable, classes: int | None, ids: list[int], names: tuple[str, ...]
) -> None:
    target = read_target(tasks.task("engagement-class"), clips, classes=classes)
    assert target.values.dtype == np.int64
    assert target.values.tolist() == ids
    assert target.classes == names
    assert target.outputs == len(names)


@pytest.mark.parametrize(
    ("clips", "classes", "said"),
    [
        (table([-0.3, 0.1]), None, "--classes"),
        (table([0, 1, 2, 3]), None, "0 to 3"),
        (table([0, 0]), None, "All its labels are 0"),
        (table([0, 1]), 5, "It knows 2 or 3"),
        (table(list("abcd"), "text"), None, "4 different texts"),
        (table(["a", "a"], "text"), None, "1 different texts"),
        (table(["a", "b"], "text"), 3, "2 different texts"),
        (table([0.1, 0.9]), 3, "from -0.4 to 0.4"),
    ],
)
def test_what_is_no_two_or_three_classes_is_refused(clips: ClipsTable, classes: int | None, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_target(tasks.task("engagement-class"), clips, classes=classes)


def test_thirds_of_the_score_give_their_bounds_to_the_lower_class() -> None:
    bounds = np.array([-0.4 + 0.8 / 3, -0.4 + 1.6 / 3])
    scores = np.array([bounds[0], np.nextafter(bounds[0], 1), bounds[1], np.nextafter(bounds[1], 1)])
    assert classes_of_score(scores, 3, (-0.4, 0.4)).tolist() == [0, 1, 1, 2]
