"""train-head over rows: planted signals, units, windows, memory or streaming, labels with gaps, what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, Clip, ClipsTable, CuebankError, FeatureStore, NotFound
from cuebank.trainers import row_inputs
from cuebank.trainers.heads._base import HeadCard
from cuebank.trainers.runs import Outcome
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
    inputs={"steps": ("steps",), "face": ("face",), "room": ("room",)},
    extract={"steps": "--backbone steps"},
    head="each-row",
    loss="ce",
    metric="macro_f1",
    metrics=("macro_f1", "accuracy"),
    classes=(3,),
    training={"lr": 0.02, "epochs": 12, "clip_norm": 0.0},
)
LEVELS = dataclasses.replace(
    TASK,
    target=("level", "drift"),
    kind="regression",
    loss="mse",
    metric="pearson",
    metrics=("pearson", "mse"),
    classes=(),
)
CLIPS = dataclasses.replace(
    TASK,
    target="engagement",
    unit="clip",
    kind="regression",
    head="pooled",
    loss="mse",
    metric="pearson",
    metrics=("pearson", "ccc", "mse"),
    classes=(),
    inputs={"video": ("i3d",), "audio": ("hubert*",)},
)


@pytest.fixture(autouse=True)
def _heads(row_heads: Mapping[str, Any]) -> None:
    """Every test here may name the heads of `row_heads.py`."""


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("head", "window"), [("each-row", None), ("each-row", 8), ("scene", None), ("scene", 8)])
def test_a_planted_signal_is_found_by_heads_over_rows(planted_rows: PlantedRows, head: str, window: int | None) -> None:
    report = train_head(TASK, planted_rows(), head=head, window_rows=window, lr=0.05)
    assert report.metrics["macro_f1"].mean > 0.8
    assert report.training["window_rows"] == window
    splits = report.to_json()["splits"]
    assert sum(split["rows"]["test"] for split in splits) == report.n
    assert report.groups == 6


def test_predictions_are_those_of_labelled_rows_with_their_times(planted_rows: PlantedRows, tmp_path: Path) -> None:
    store = planted_rows()
    report = train_head(TASK, store, head="scene", out=tmp_path / "out", epochs=2)
    rows = rows_of(tmp_path / "out")
    assert list(rows[0])[:7] == ["clip_id", "entity_id", "time_s", "fold", "seed", "label", "prediction"]
    with FeatureStore.open(store) as opened:
        wanted = {}
        for one in opened.series("toy.labels"):
            series = opened.read("toy.labels", one.clip_id, one.entity_id)
            for value, time, valid in zip(series.values[:, 0], series.times, series.valid, strict=True):
                if valid:
                    wanted[one.clip_id, one.entity_id, float(time)] = ("calm", "happy", "sad")[int(value)]
    found = {(row["clip_id"], row["entity_id"], float(row["time_s"])): row["label"] for row in rows}
    assert found == wanted
    assert len(rows) == report.n == len(wanted)
    content = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert content["clock"]["labels"] == "toy.labels"
    assert content["clock"]["scope"] == "clip"
    assert any("rows have no label; they are masked" in text for text in content["warnings"])
    # A group is tested in one fold, whole.
    folds: dict[str, set[str]] = {}
    for row in rows:
        folds.setdefault(row["clip_id"], set()).add(row["fold"])
    assert all(len(one) == 1 for one in folds.values())


def test_heads_that_take_vectors_see_each_labelled_row_as_an_item(planted_rows: PlantedRows, tmp_path: Path) -> None:
    report = train_head(TASK, planted_rows(), head="plain-mlp", out=tmp_path / "out", batch_size=32)
    assert report.metrics["macro_f1"].mean > 0.85
    assert report.training["fused"] is True
    rows = rows_of(tmp_path / "out")
    assert len({(row["clip_id"], row["entity_id"], row["time_s"]) for row in rows}) == report.n == len(rows)


@pytest.mark.parametrize("head", ["each-row", "plain-mlp"])
def test_several_outputs_are_trained_scored_and_written_by_name(
    planted_rows: PlantedRows, tmp_path: Path, head: str
) -> None:
    report = train_head(LEVELS, planted_rows(), head=head, out=tmp_path / "out", lr=0.02, batch_size=4)
    assert report.metrics["pearson"].mean > 0.8
    row = rows_of(tmp_path / "out")[0]
    assert list(row)[5:] == ["label_level", "label_drift", "prediction_level", "prediction_drift"]
    content = report.to_json()
    assert content["outputs"] == ["level", "drift"]
    both = content["per_output"]["pearson"]
    assert np.mean(list(both.values())) == pytest.approx(report.metrics["pearson"].pooled, abs=1e-6)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "predictions.png" in names


@pytest.mark.parametrize("head", ["each-row", "scene", "plain-mlp"])
def test_streamed_features_give_the_bits_of_those_in_memory(planted_rows: PlantedRows, head: str) -> None:
    store = planted_rows(clips=8, groups=4)
    options: dict[str, Any] = {"head": head, "folds": 2, "epochs": 2, "window_rows": 10, "normalise": "standard"}
    kept, streamed = (train_head(TASK, store, memory=memory, **options) for memory in (None, 0))
    assert np.array_equal(kept.predictions.preds, streamed.predictions.preds)
    assert [one.train_loss for one in kept.curves] == [one.train_loss for one in streamed.curves]


def test_the_same_seed_gives_the_same_bits(planted_rows: PlantedRows) -> None:
    store = planted_rows()
    first, second = (train_head(TASK, store, head="scene", epochs=3) for _ in range(2))
    assert np.array_equal(first.predictions.probabilities, second.predictions.probabilities)


def test_the_batch_of_an_evaluation_changes_nothing(planted_rows: PlantedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    store = planted_rows()
    found = []
    for rows in (1, 60, 4096):
        monkeypatch.setattr(row_inputs, "EVALUATION_ROWS", rows)
        found.append(train_head(TASK, store, head="scene", epochs=3).predictions.probabilities)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)


def test_windows_are_for_training_only(planted_rows: PlantedRows, row_heads: Mapping[str, Any]) -> None:
    store = planted_rows()
    card = row_heads["scene"]
    heads: list[Any] = []

    def build(*arguments: Any) -> Any:
        heads.append(card.build(*arguments))
        return heads[-1]

    row_heads["watched"] = dataclasses.replace(card, name="watched", build=build, network=card.build)
    train_head(TASK, store, head="watched", epochs=1, window_rows=5, folds=2)
    lengths = [[next(iter(call["masks"].values())).shape[1] for call in head.seen] for head in heads]
    assert all(min(one) <= 5 < max(one) for one in lengths)
    with FeatureStore.open(store) as opened:
        whole: dict[str, int] = {}
        for one in opened.series("toy.labels"):
            whole[one.clip_id] = whole.get(one.clip_id, 0) + one.rows
    assert max(max(one) for one in lengths) <= max(whole.values())


def test_dropping_the_test_labels_changes_no_prediction(planted_rows: PlantedRows) -> None:
    """Neither training nor selection looks at the rows of the test part."""
    tested = {f"clip{i:02d}" for i in range(24) if i % 6 >= 4}

    def spoil(store: FeatureStore) -> None:
        store.commit()
        for one in list(store.series("toy.labels")):
            if one.clip_id in tested:
                series = store.read("toy.labels", one.clip_id, one.entity_id)
                store.write(
                    "toy.labels", one.clip_id, one.entity_id, (series.values + 1) % 3, series.times, series.valid
                )

    split: Any = {"fields": lambda i: {"split": "test" if i % 6 >= 4 else "train"}}
    good, bad = planted_rows("a.zarr", **split), planted_rows("b.zarr", more=spoil, **split)
    one, other = (train_head(TASK, store, epochs=4) for store in (good, bad))
    assert one.protocol == "table-split"
    assert np.array_equal(one.predictions.probabilities, other.predictions.probabilities)
    assert other.metrics["accuracy"].mean < one.metrics["accuracy"].mean


def test_shuffled_labels_score_about_chance(planted_rows: PlantedRows) -> None:
    def shuffle(store: FeatureStore) -> None:
        store.commit()
        rng = np.random.default_rng(3)
        for one in list(store.series("toy.labels")):
            series = store.read("toy.labels", one.clip_id, one.entity_id)
            values = np.stack([rng.integers(0, 3, one.rows), *series.values.T[1:]], 1)
            store.write("toy.labels", one.clip_id, one.entity_id, values, series.times, series.valid)

    report = train_head(TASK, planted_rows(more=shuffle))
    assert abs(report.metrics["accuracy"].mean - 1 / 3) < 0.1


def test_inputs_that_half_of_the_clips_lack_are_masked_and_said(planted_rows: PlantedRows) -> None:
    store = planted_rows(skip=lambda clip, entity, role: role == "face" and clip < 12)
    report = train_head(TASK, store, epochs=8, lr=0.05)
    assert report.metrics["macro_f1"].mean > 0.6
    assert any(
        "rows have nothing of `face.x@1` near enough: it is masked there" in one for one in report.all_warnings()
    )
    whole = report.n
    vectors = train_head(TASK, store, head="plain-mlp", epochs=1)
    assert 0.3 * whole < vectors.n < 0.7 * whole
    assert any("labelled rows do not have all inputs; they take no part" in one for one in vectors.all_warnings())


def test_two_entities_without_a_common_time_are_one_scene_all_the_same(planted_rows: PlantedRows) -> None:
    def apart(store: FeatureStore) -> None:
        for name in ("toy.labels", "steps.x"):
            dim = store.spec(name).dim
            for entity, start in (("early", 0.0), ("late", 500.0)):
                values = np.ones((5, dim))
                store.write(name, "clip00", entity, values, start + np.arange(5) / 4, np.ones(5, bool))

    report = train_head(TASK, planted_rows(more=apart), head="scene", epochs=2)
    assert report.n == train_head(TASK, planted_rows("b.zarr"), head="scene", epochs=1).n + 10
    late = [i for i, entity in enumerate(report.predictions.entity_ids) if entity == "late"]
    assert report.predictions.times is not None
    assert report.predictions.times[late].min() == 500


def test_labels_and_features_at_other_times_are_an_error(planted_rows: PlantedRows, tmp_path: Path) -> None:
    store = planted_rows(clips=4, groups=4)
    with FeatureStore.open(store, "a") as opened:
        for one in list(opened.series("toy.labels")):
            series = opened.read("toy.labels", one.clip_id, one.entity_id)
            late = series.times + 1000
            opened.write("toy.labels", one.clip_id, one.entity_id, series.values, late, series.valid)
        opened.commit()
    with pytest.raises(BadInput, match="no time in common"):
        train_head(TASK, store, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fold_of_one_class_ends_in_a_report_without_nan(planted_rows: PlantedRows, tmp_path: Path) -> None:
    def flat(store: FeatureStore) -> None:
        store.commit()
        for one in list(store.series("toy.labels")):
            if int(one.clip_id[4:]) % 6 == 0:
                series = store.read("toy.labels", one.clip_id, one.entity_id)
                values = series.values.copy()
                values[:, 0] = 2
                store.write("toy.labels", one.clip_id, one.entity_id, values, series.times, series.valid)

    store = planted_rows(more=flat)
    report = train_head(TASK, store, protocol="leave-one-group-out", epochs=2, out=tmp_path / "out")
    assert all(score is not None for score in report.metrics["accuracy"].per_fold)
    assert "NaN" not in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")


def test_constant_and_missing_labels_are_refused(planted_rows: PlantedRows) -> None:
    def same(value: float, valid: bool) -> Callable[[FeatureStore], None]:
        def change(store: FeatureStore) -> None:
            store.commit()
            for one in list(store.series("toy.labels")):
                series = store.read("toy.labels", one.clip_id, one.entity_id)
                values = np.full_like(series.values, value)
                flags = np.full(one.rows, valid)
                store.write("toy.labels", one.clip_id, one.entity_id, values, series.times, flags)

        return change

    with pytest.raises(BadInput, match="All labelled rows are of one class"):
        train_head(TASK, planted_rows("a.zarr", clips=4, more=same(1, True)))
    with pytest.raises(BadInput, match=r"None of its .* rows is labelled"):
        train_head(TASK, planted_rows("b.zarr", clips=4, more=same(1, False)))
    with pytest.raises(BadInput, match=r"holds 1\.5, which is no class"):
        train_head(TASK, planted_rows("c.zarr", clips=4, more=same(1.5, True)))
    constant = train_head(LEVELS, planted_rows("d.zarr", clips=6, more=same(1.5, True)), epochs=2)
    assert constant.metrics["pearson"].mean is None
    assert any("constant" in text for text in constant.all_warnings())


def test_one_class_may_be_told_from_all_others(planted_rows: PlantedRows) -> None:
    ranks = ("average_precision", "roc_auc", "balanced_accuracy")
    task = dataclasses.replace(TASK, positive="sad", classes=(2,), metric="average_precision", metrics=ranks)
    report = train_head(task, planted_rows())
    assert report.predictions.classes == ("not sad", "sad")
    assert report.metrics["roc_auc"].mean > 0.9
    assert list(report.metrics) == list(ranks)
    with pytest.raises(BadInput, match=r"None of its classes is `sat`\. Did you mean `sad`"):
        train_head(dataclasses.replace(task, positive="sat"), planted_rows("b.zarr"))


def test_scenes_whose_entities_are_in_different_groups_are_refused(planted_rows: PlantedRows) -> None:
    store = planted_rows(clips=6)
    clips = [
        Clip(f"clip{i:02d}", Path("x.mp4"), entity, group_id=f"{entity}{i % 3}")
        for i in range(6)
        for entity in ("left", "right")
    ]
    with FeatureStore.open(store, "a") as opened:
        opened.write_clips(ClipsTable(clips))
    with pytest.raises(BadInput, match=r"'left' and 'right' are in different groups"):
        train_head(TASK, store, head="scene")
    assert train_head(TASK, store, head="each-row", epochs=1).groups == 6


def test_clips_that_the_table_does_not_list_are_left_out_and_counted(planted_rows: PlantedRows) -> None:
    store = planted_rows()
    with FeatureStore.open(store, "a") as opened:
        opened.write_clips(ClipsTable([clip for clip in opened.clips() if clip.clip_id != "clip03"]))
    report = train_head(TASK, store, epochs=1)
    assert report.to_json()["left_out"] == {"not in the clips table": 2}
    assert "clip03" not in report.predictions.clip_ids


def test_heads_that_take_rows_predict_clips_and_lacking_inputs_are_said(planted: Callable[..., Path]) -> None:
    store = planted(noise=0.2, skip=lambda i, role: role == "audio" and i % 4 == 0)
    report = train_head(CLIPS, store, epochs=20)
    assert report.metrics["pearson"].mean > 0.6
    assert report.n == 160
    assert any(
        "40 of 160 clips have no valid row in `hubert-tiny.random-0@last`" in one for one in report.all_warnings()
    )


@pytest.mark.parametrize("memory", [None, 0.0])
def test_rows_of_openface_are_scaled_by_the_training_rows(planted: Callable[..., Path], memory: float | None) -> None:
    report = train_head(
        CLIPS, planted(roles=("openface",), n=60), inputs={"openface": "openface.v2+mean"}, memory=memory, epochs=2
    )
    assert report.training["openface_norm"] == "fitted"


def test_a_head_in_closed_form_gets_all_runs_and_its_states_are_kept(
    planted_rows: PlantedRows, row_heads: Mapping[str, Any]
) -> None:
    told: list[Any] = []

    def fit(heads: Any, runs: Any, config: Any) -> list[Outcome]:
        told.extend(runs)
        states = []
        for head, run in zip(heads, runs, strict=True):
            rows = run.labels.spans.flat(torch.from_numpy(run.train))
            rows = rows[run.labels.labelled[rows]]
            x = run.features.values["steps"].rows[rows].double()
            y = torch.nn.functional.one_hot(run.labels.values[rows], 3).double()
            x = torch.cat([x, torch.ones(len(x), 1)], 1)
            weights = torch.linalg.lstsq(x, y).solution
            state = {"layer.weight": weights[:-1].T.float().contiguous(), "layer.bias": weights[-1].float()}
            states.append(Outcome(run.name, {name: state[name] for name in head.state_dict()}, best_epoch=1))
        return states

    card: HeadCard = row_heads["each-row"]
    row_heads["closed"] = dataclasses.replace(card, name="closed", fit=fit)
    report = train_head(TASK, planted_rows(), head="closed", inputs={"steps": "steps.x"}, seeds=(0, 1), control=False)
    assert [run.name for run in told] == [f"seed{s}.fold{f}" for s in (0, 1) for f in range(5)]
    assert report.metrics["macro_f1"].mean > 0.6
    assert report.training["fused"] is False


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"head": "pooled"}, BadInput, "The task has a label for each row"),
        ({"labels": "toy.label"}, NotFound, "Did you mean `toy.labels`"),
        ({"labels": "steps.x"}, BadInput, "of kind numeric"),
        ({"target": "emotions"}, NotFound, "Did you mean `emotion`"),
        ({"target": ("emotion", "level")}, BadInput, "one column only"),
        ({"inputs": {"steps": "toy.labels"}}, BadInput, "Its kind is label"),
        ({"inputs": {"steps": "step.x"}}, NotFound, "Did you mean `steps.x`"),
        ({"window_rows": -1}, BadInput, "Give 1 row or more"),
        ({"memory": -1.0}, BadInput, "Give 0 or more"),
        ({"sampler": "balanced"}, BadInput, "--sampler shuffled"),
        ({"classes": 3}, BadInput, "takes its classes from a label series"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(
    planted_rows: PlantedRows, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        train_head(TASK, planted_rows(clips=6, groups=6), epochs=1, **options)


def test_a_metric_that_does_not_exist_is_answered_with_the_nearest(planted_rows: PlantedRows) -> None:
    with pytest.raises(NotFound, match="Did you mean `macro_f1`"):
        train_head(dataclasses.replace(TASK, metric="macro_f2", metrics=("macro_f2",)), planted_rows(clips=6))


def test_options_of_rows_are_refused_for_tasks_over_clips(planted: Callable[..., Path]) -> None:
    for options in ({"labels": "toy.labels"}, {"window_rows": 5}):
        with pytest.raises(BadInput, match="one label for each clip"):
            train_head("engagement", planted(f"{next(iter(options))}.zarr", n=16), **options)


def test_a_store_without_label_series_is_answered_with_the_command(planted: Callable[..., Path]) -> None:
    task = dataclasses.replace(TASK, inputs={"video": ("i3d",)})
    with pytest.raises(NotFound, match=r"cuebank import-labels labels\.csv --as mood --store"):
        train_head(task, planted(n=16))


def test_errors_of_the_store_are_typed(planted_rows: PlantedRows) -> None:
    store = planted_rows(clips=6)
    with FeatureStore.open(store, "a") as opened:
        spec = dataclasses.replace(opened.spec("toy.labels"), name="toy.more")
        opened.create(spec)
    with pytest.raises(CuebankError, match=r"several: `toy.labels`, `toy.more`.*--labels toy.labels"):
        train_head(TASK, store)
