"""predict with heads over rows: the out-of-fold predictions again, other clocks, what is missing, the saved head."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import BadInput, FeatureStore, NotFound
from cuebank.trainers import saved_head
from cuebank.trainers.predict import predict
from cuebank.trainers.tasks import Task
from cuebank.trainers.train_head import train_head

PlantedRows = Callable[..., Path]
TASK = Task(
    name="mood",
    version=1,
    title="",
    target="emotion",
    unit="row",
    kind="classes",
    inputs={"steps": ("steps",), "face": ("face",)},
    extract={},
    head="each-row",
    loss="ce",
    metric="macro_f1",
    metrics=("macro_f1", "accuracy"),
    classes=(3,),
    training={"lr": 0.05, "epochs": 3, "clip_norm": 0.0},
)


@pytest.fixture(autouse=True)
def _heads(row_heads: Mapping[str, Any]) -> None:
    """Every test here may name the heads of `row_heads.py`."""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("head", ["each-row", "scene", "plain-mlp"])
@pytest.mark.parametrize("memory", [None, 0.0])
def test_one_fold_gives_its_out_of_fold_predictions_again(
    planted_rows: PlantedRows, tmp_path: Path, head: str, memory: float | None
) -> None:
    store = planted_rows(clips=12)
    report = train_head(TASK, store, head=head, out=tmp_path / "head", folds=3, normalise="standard")
    saved = saved_head.load(tmp_path / "head")
    assert saved.format == 2
    alone = dataclasses.replace(saved, members=saved.members[:1])
    alone.write(tmp_path / "alone")
    result = predict(tmp_path / "alone", store, tmp_path / "p.csv", memory=memory)
    rows = rows_of(tmp_path / "p.csv")
    chances = [f"probability_{name}" for name in ("calm", "happy", "sad")]
    assert list(rows[0]) == ["clip_id", "entity_id", "time_s", "prediction", "seen", *chances]
    assert result.count == len(rows) > report.n  # rows without a label are predicted too
    found = {(row["clip_id"], row["entity_id"], float(row["time_s"])): float(row["probability_sad"]) for row in rows}
    made = report.predictions
    assert made.times is not None
    assert made.probabilities is not None
    tested = np.flatnonzero(made.folds == 0)
    again = [found[made.clip_ids[i], str(made.entity_ids[i]), float(made.times[i])] for i in tested]
    np.testing.assert_allclose(again, made.probabilities[0, tested, 2], atol=1e-6)
    assert result.seen == len(rows)
    assert {row["seen"] for row in rows} == {"1"}


def test_a_store_without_labels_is_predicted_on_the_clock_of_the_first_input_or_another(
    planted_rows: PlantedRows, tmp_path: Path
) -> None:
    train_head(TASK, planted_rows(clips=12), out=tmp_path / "head", folds=3)
    other = planted_rows("other.zarr", clips=3, groups=3, seed=5)
    renamed = saved_head.load(tmp_path / "head")
    clock = {**(renamed.clock or {}), "labels": "elsewhere.labels"}
    dataclasses.replace(renamed, clock=clock).write(tmp_path / "head")
    with FeatureStore.open(other) as store:
        steps = sum(one.rows for one in store.series("steps.x"))
        faces = sum(one.rows for one in store.series("face.x@1"))
    result = predict(tmp_path / "head", other, tmp_path / "p.csv")
    assert "The rows are those of `face.x@1`." in result.notes
    assert result.count == faces  # those that are not valid have steps near enough
    assert predict(tmp_path / "head", other, tmp_path / "q.csv", clock="steps.x").count == steps
    with pytest.raises(NotFound, match=r"Did you mean `face\.x@1`"):
        predict(tmp_path / "head", other, tmp_path / "r.csv", clock="face.x")


def test_series_that_lack_all_inputs_are_listed(planted_rows: PlantedRows, tmp_path: Path) -> None:
    train_head(TASK, planted_rows(clips=12), out=tmp_path / "head", folds=3)
    other = planted_rows("other.zarr", clips=3, groups=3, skip=lambda clip, entity, role: (clip, entity) == (1, "left"))
    result = predict(tmp_path / "head", other, tmp_path / "p.csv")
    assert [(one["clip_id"], one["entity_id"]) for one in result.missing] == [("clip01", "left")]
    assert ("clip01", "left") not in {(row["clip_id"], row["entity_id"]) for row in rows_of(tmp_path / "p.csv")}


def test_several_outputs_have_a_column_each(planted_rows: PlantedRows, tmp_path: Path) -> None:
    task = dataclasses.replace(
        TASK, target=("level", "drift"), kind="regression", loss="mse", metric="mse", metrics=("mse",), classes=()
    )
    train_head(task, planted_rows(clips=12), out=tmp_path / "head", folds=3)
    assert saved_head.load(tmp_path / "head").names == ("level", "drift")
    predict(tmp_path / "head", tmp_path / "rows.zarr", tmp_path / "p.csv")
    assert list(rows_of(tmp_path / "p.csv")[0]) == [
        "clip_id", "entity_id", "time_s", "prediction_level", "prediction_drift", "seen",
    ]  # fmt: skip


def test_heads_that_take_rows_predict_clips(planted: Callable[..., Path], tmp_path: Path) -> None:
    store = planted(n=40)
    report = train_head("engagement", store, head="pooled", out=tmp_path / "head", epochs=2, folds=4)
    saved = saved_head.load(tmp_path / "head")
    assert saved.format == 1
    dataclasses.replace(saved, members=saved.members[:1]).write(tmp_path / "alone")
    predict(tmp_path / "alone", store, tmp_path / "p.csv")
    again = {row["clip_id"]: float(row["prediction"]) for row in rows_of(tmp_path / "p.csv")}
    made = report.predictions
    fold = np.flatnonzero(made.folds == 0)
    np.testing.assert_allclose([again[made.clip_ids[i]] for i in fold], made.preds[0, fold], atol=1e-6)
    with pytest.raises(BadInput, match="Leave --clock out"):
        predict(tmp_path / "head", store, tmp_path / "p.csv", clock="i3d.k400+mean")


def test_a_clock_that_is_not_all_there_is_damage(planted_rows: PlantedRows, tmp_path: Path) -> None:
    train_head(TASK, planted_rows(clips=12), out=tmp_path / "head", folds=3, epochs=1)
    content = json.loads((tmp_path / "head" / "head.json").read_text(encoding="utf-8"))
    del content["clock"]["align"]
    (tmp_path / "head" / "head.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadInput, match=r"head\.json is damaged: KeyError\('align'\)"):
        saved_head.load(tmp_path / "head")
