"""train-head as a whole: planted and shuffled signals, protocols, what is left out, what is written, refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, CuebankError, FeatureStore, NotFound
from cuebank.trainers.metrics import metric
from cuebank.trainers.train_head import train_head

Planted = Callable[..., Path]
# Small data need larger steps than the published 3e-4 over 3,505 clips.
QUICK: dict[str, Any] = {"epochs": 12, "lr": 3e-3, "settings": {"openface_projection_dim": 8}}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_planted_signal_is_found_and_everything_is_written_without_any_media(
    planted: Planted, tmp_path: Path
) -> None:
    report = train_head("engagement", planted(noise=0.2), out=tmp_path / "out", **QUICK)
    assert report.metrics["ccc"].mean > 0.8
    assert report.n == 160
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {
        "report.json",
        "report.md",
        "predictions.csv",
        "predictions.png",
        "learning_curves.png",
        "head.json",
        "head.safetensors",
    }
    content = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert content["inputs"] == {"video": "i3d.k400+mean", "audio": "hubert-tiny.random-0@last"}
    with FeatureStore.open(tmp_path / "features.zarr") as store:
        assert content["fingerprints"] == {n: store.spec(n).fingerprint for n in content["inputs"].values()}
    assert content["parameters"] == (12 + 10) * 32 + 32 + 33 * 32 + 33
    assert content["training"]["loss"] == "ccc"
    assert len(content["runs"]) == 5
    assert all(len(run["train_loss"]) <= 12 for run in content["runs"])
    rows = rows_of(tmp_path / "out")
    assert sorted(row["clip_id"] for row in rows) == [f"clip{i:04d}" for i in range(160)]
    by_fold = [
        metric("ccc")(
            [float(r["prediction"]) for r in rows if r["fold"] == name],
            [float(r["label"]) for r in rows if r["fold"] == name],
        )
        for name in "01234"
    ]
    np.testing.assert_allclose(by_fold, report.metrics["ccc"].per_fold, atol=1e-6)


def test_shuffled_labels_score_about_nothing(planted: Planted) -> None:
    shuffled = np.random.default_rng(1).permutation(160)
    labels = np.random.default_rng(2).uniform(-0.4, 0.4, 160)
    store = planted(label=lambda i, score: float(labels[shuffled[i]]))
    assert abs(train_head("engagement", store, **QUICK).metrics["ccc"].mean) < 0.2


def test_no_group_is_on_two_sides_of_any_split(planted: Planted) -> None:
    report = train_head("engagement", planted(groups=7), **{**QUICK, "epochs": 1})
    groups = report.predictions.groups
    fold_of = {}
    for code, fold in zip(groups.codes.tolist(), report.predictions.folds.tolist(), strict=True):
        assert fold_of.setdefault(code, fold) == fold
    for split in report.splits:
        assert sum(split["groups"].values()) == 7
        assert sum(split["rows"].values()) == 160
        assert split["rows"]["validation"] > 0


def test_a_leak_between_groups_cannot_be_learnt(planted: Planted) -> None:
    """Labels are noise per group, and features name the group: only a split group could help."""
    offsets = np.random.default_rng(0).uniform(-0.4, 0.4, 8)
    store = planted(label=lambda i, score: float(offsets[i % 8]))
    with FeatureStore.open(store, "a") as opened:
        opened.create(module_spec("i3d.leak", 8))
        for i in range(160):
            opened.write("i3d.leak", f"clip{i:04d}", None, np.eye(8)[[i % 8]], [0.0], [True])
        opened.commit()
    report = train_head("engagement", store, inputs={"video": "i3d.leak"}, folds=8, **QUICK)
    assert report.metrics["ccc"].pooled < 0.2


def module_spec(name: str, dim: int) -> Any:
    from cuebank.store import FeatureSpec, Recipe

    return FeatureSpec(name, "numeric", dim, "float32", Recipe(name.split(".")[0], {"source": "synthetic"}))


@pytest.mark.parametrize(
    ("fields", "protocol", "used", "folds"),
    [
        (lambda i: {}, "default", "group-k-fold", ["0", "1", "2", "3", "4"]),
        (lambda i: {"fold": i % 8 // 3}, "default", "table-folds", ["0", "1", "2"]),
        (lambda i: {"fold": i % 8 // 3}, "group-k-fold", "group-k-fold", ["0", "1", "2", "3", "4"]),
        (lambda i: {"split": ("train", "train", "val", "test")[i % 8 // 2]}, "default", "table-split", ["test"]),
        (lambda i: {}, "leave-one-group-out", "leave-one-group-out", [f"m{i}" for i in range(8)]),
    ],
)
def test_folds_come_from_the_table_where_it_has_them_unless_told_otherwise(
    planted: Planted, fields: Any, protocol: str, used: str, folds: list[str]
) -> None:
    report = train_head("engagement", planted(fields=fields), protocol=protocol, **{**QUICK, "epochs": 1})
    assert report.protocol == used
    assert [split["name"] for split in report.splits] == folds
    assert report.selection == "inner"


def test_the_test_part_has_no_influence_on_training_or_selection(planted: Planted) -> None:
    """Spoiling the labels of what is tested changes no prediction of it."""
    tested = [i for i in range(160) if i % 8 >= 6]
    store = planted("a.zarr", fields=lambda i: {"split": "test" if i in tested else "train"})
    spoilt = planted(
        "b.zarr",
        fields=lambda i: {"split": "test" if i in tested else "train"},
        label=lambda i, score: -score if i in tested else score,
    )
    one, other = (train_head("engagement", path, **QUICK) for path in (store, spoilt))
    assert one.predictions.clip_ids == other.predictions.clip_ids
    assert np.array_equal(one.predictions.preds, other.predictions.preds)
    assert other.metrics["ccc"].mean < -0.5 < 0.5 < one.metrics["ccc"].mean


def test_scalings_are_fitted_on_training_rows_only(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    from cuebank.trainers import prepared

    for name in ("standard", "min_max"):
        real = getattr(prepared, name)
        monkeypatch.setattr(
            prepared, name, lambda rows, name=name, real=real: fitted.append((name, rows.shape)) or real(rows)
        )
    store = planted(roles=("audio", "openface"))
    report = train_head("engagement", store, normalise="standard", **{**QUICK, "epochs": 1})
    sizes = [split["rows"]["train"] for split in report.splits]
    assert fitted == [pair for n in sizes for pair in (("standard", (n, 10)), ("min_max", (n, 329)))]
    assert report.training["openface_norm"] == "fitted"


def test_fixed_openface_vectors_are_used_and_named(planted: Planted, tmp_path: Path) -> None:
    store = planted(roles=("openface",))
    np.savez(tmp_path / "norm.npz", min_vec=np.full(329, -4.0), max_vec=np.full(329, 4.0))
    options = {**QUICK, "epochs": 2}
    fixed = train_head("engagement", store, openface_norm=tmp_path / "norm.npz", **options)
    assert fixed.training["openface_norm"] == "norm.npz"
    fitted, none = (train_head("engagement", store, openface_norm=how, **options) for how in (None, "none"))
    preds = [report.predictions.preds for report in (fixed, fitted, none)]
    assert not np.allclose(preds[0], preds[1])
    assert not np.allclose(preds[1], preds[2])


def test_the_published_protocol_selects_on_the_test_part_and_says_so(planted: Planted) -> None:
    report = train_head("engagement", planted(groups=7), protocol="sempi", folds=3, **QUICK)
    assert report.selection == "test"
    assert [split["rows"]["validation"] for split in report.splits] == [s["rows"]["test"] for s in report.splits]
    assert [split["tested_groups"] for split in report.splits] == [["m0", "m1"], ["m2", "m3"], ["m4", "m5"]]
    assert report.training["sampler"] == "balanced"
    assert report.training["upstream"] is True
    warnings = " ".join(report.all_warnings())
    assert "best-epoch" in warnings
    assert "last 1 groups are never tested" in warnings
    best = [max(curve.validation_score) for curve in report.curves]
    np.testing.assert_allclose(report.metrics["ccc"].per_fold, best, atol=1e-6)


def test_the_published_protocol_reports_honestly_where_the_original_would_fail(planted: Planted) -> None:
    labels = np.random.default_rng(3).uniform(-0.4, 0.4, 160)
    report = train_head(
        "engagement",
        planted(label=lambda i, score: float(labels[i])),
        protocol="sempi",
        epochs=1,
        lr=1e-9,
        folds=8,
    )
    never = [curve for curve in report.curves if curve.best_epoch == 0]
    assert 0 < len(never) < 8
    assert all(curve.validation_score[0] <= 0 for curve in never)
    assert any("never exceeded 0" in text and "the original saves no head" in text for text in report.all_warnings())
    assert all(score is not None for score in report.metrics["ccc"].per_fold)


def test_clips_without_features_or_label_are_left_out_and_counted(planted: Planted) -> None:
    store = planted(
        skip=lambda i, role: i in (3, 4) and role == "audio",
        label=lambda i, score: None if i in (7, 8, 9) else score,
    )
    report = train_head("engagement", store, **{**QUICK, "epochs": 1})
    assert report.n == 155
    counts = report.to_json()["left_out"]
    assert counts == {"not in `hubert-tiny.random-0@last`": 2, "no label in `engagement`": 3}
    warnings = " ".join(report.all_warnings())
    assert "2 clips were left out" in warnings
    assert "'clip0007', 'clip0008', 'clip0009'" in warnings
    assert not {"clip0003", "clip0007"} & set(report.predictions.clip_ids)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bits(planted: Planted, threads: int) -> None:
    store = planted()
    found = [train_head("engagement", store, threads=threads, **{**QUICK, "epochs": 3}) for _ in range(2)]
    assert np.array_equal(found[0].predictions.preds, found[1].predictions.preds)
    assert [curve.train_loss for curve in found[0].curves] == [curve.train_loss for curve in found[1].curves]
    assert found[0].environment["threads"] == threads


def test_seeds_are_trained_on_the_same_folds_and_do_not_change_each_other(planted: Planted) -> None:
    store = planted()
    options = {**QUICK, "epochs": 3}
    both = train_head("engagement", store, seeds=(4, 0), **options)
    zero = train_head("engagement", store, seeds=(0,), **options)
    assert both.predictions.preds.shape == (2, 160)
    np.testing.assert_allclose(both.predictions.preds[1], zero.predictions.preds[0], atol=1e-4)
    assert not np.allclose(both.predictions.preds[0], zero.predictions.preds[0], atol=1e-2)
    assert [(c.seed, c.fold) for c in both.curves[:6]] == [*((4, f) for f in "01234"), (0, "0")]


def test_the_plain_loop_and_the_batched_program_give_the_same_predictions(planted: Planted) -> None:
    store = planted()
    plain, fused = (
        train_head("engagement", store, fused=how, batch_size=64, **{**QUICK, "epochs": 3}) for how in (False, True)
    )
    np.testing.assert_allclose(plain.predictions.preds, fused.predictions.preds, atol=1e-5)


def test_classes_are_derived_trained_and_written_by_name(planted: Planted, tmp_path: Path) -> None:
    report = train_head("engagement-class", planted(noise=0.2), classes=3, out=tmp_path / "out", **QUICK)
    assert report.metrics["macro_f1"].mean > 0.6
    assert report.metric == "macro_f1"
    assert list(report.metrics) == ["macro_f1", "balanced_accuracy", "accuracy"]
    assert report.head_config["dropout_on_output"] is False
    row = rows_of(tmp_path / "out")[0]
    assert row["label"] in ("low", "middle", "high")
    assert sum(float(row[f"probability_{name}"]) for name in ("low", "middle", "high")) == pytest.approx(1, abs=1e-6)
    assert (tmp_path / "out" / "confusion.png").is_file()


def test_text_classes_and_the_focal_loss_work(planted: Planted) -> None:
    store = planted(noise=0.2, kind="text", label=lambda i, score: "awake" if score > 0 else "bored")
    report = train_head("engagement-class", store, loss="focal", **QUICK)
    assert report.predictions.classes == ("awake", "bored")
    assert report.metrics["balanced_accuracy"].mean > 0.7


def test_any_role_and_any_label_column_may_be_named(planted: Planted) -> None:
    store = planted(column="interest")
    report = train_head(
        "engagement", store, target="interest", inputs={"gait": "i3d.k400+mean"}, **{**QUICK, "epochs": 1}
    )
    assert report.inputs == {"gait": "i3d.k400+mean"}
    assert report.target == "interest"


def test_constant_labels_end_in_a_report_without_nan(planted: Planted, tmp_path: Path) -> None:
    store = planted(label=lambda i, score: 0.25)
    report = train_head("engagement", store, out=tmp_path / "out", **{**QUICK, "epochs": 2})
    text = (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert report.metrics["ccc"].mean in (None, 0.0)
    assert report.all_warnings()


def test_progress_is_told_of_every_epoch_also_of_those_that_were_not_needed(planted: Planted) -> None:
    class Recorder:
        total, steps, closed, notes = 0, 0, 0, []

        def start(self, total: int, unit: str, what: str) -> None:
            self.total = total
            assert unit == "epoch"

        def advance(self, note: str = "", steps: int = 1) -> None:
            self.steps += steps
            self.notes.append(note)

        def close(self) -> None:
            self.closed += 1

    progress = Recorder()
    train_head("engagement", planted(), epochs=30, lr=0.05, patience=1, progress=progress)
    assert progress.total == 150 == progress.steps
    assert progress.closed == 1
    assert "seed0.fold0, epoch 1" in progress.notes
    assert len(progress.notes) < 150


@pytest.mark.parametrize(
    ("task", "options", "error", "said"),
    [
        ("engagment", {}, NotFound, "Did you mean `engagement`"),
        ("engagement", {"head": "mlpp"}, NotFound, "Did you mean `mlp`"),
        ("engagement", {"settings": {"hiden_size": "4"}}, NotFound, "Did you mean `hidden_size`"),
        ("engagement", {"settings": {"hidden_size": "many"}}, BadInput, "a whole number"),
        ("engagement", {"loss": "ce"}, BadInput, "The loss is for classes"),
        ("engagement", {"loss": "rmse"}, NotFound, "Did you mean `mse`"),
        ("engagement", {"target": "engagment"}, NotFound, "Did you mean `engagement`"),
        ("engagement", {"protocol": "semp"}, NotFound, "Did you mean `sempi`"),
        ("engagement", {"normalise": "standart"}, NotFound, "Did you mean `standard`"),
        ("engagement", {"inputs": {"audio": "hubert-tiny.random-1@last"}}, NotFound, "Did you mean"),
        ("engagement", {"inputs": {}}, BadInput, "--input ROLE=FEATURE_SET"),
        ("engagement", {"inputs": {"a/b": "i3d.k400+mean"}}, BadInput, "small letters"),
        ("engagement", {"seeds": (0, 0)}, BadInput, "different"),
        ("engagement", {"seeds": ()}, BadInput, "none"),
        ("engagement", {"seeds": (-1,)}, BadInput, "whole numbers"),
        ("engagement", {"folds": 9}, BadInput, "There are 8 groups"),
        ("engagement", {"device": "cudaa"}, BadInput, "--device cpu"),
        ("engagement", {"validation_fraction": 1.5}, BadInput, "between 0 and 1"),
        ("engagement", {"openface_norm": "absent.npz", "inputs": {"openface": "i3d.k400+mean"}}, NotFound, "absent"),
        (
            "engagement",
            {"settings": {"openface_columns": "AU"}, "inputs": {"openface": "i3d.k400+mean"}},
            BadInput,
            "12 c",
        ),
        ("engagement-class", {}, BadInput, "--classes"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy_and_nothing_is_written(
    planted: Planted, tmp_path: Path, task: str, options: dict[str, Any], error: type[CuebankError], said: str
) -> None:
    with pytest.raises(error, match=said):
        train_head(task, planted(n=16), out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_store_without_anything_to_train_on_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cuebank extract"):
        train_head("engagement", tmp_path / "absent.zarr")
    FeatureStore.open(tmp_path / "empty.zarr", "a").close()
    with pytest.raises(NotFound, match=r"cuebank extract --backbone hubert --clips clips.csv --store"):
        train_head("engagement", tmp_path / "empty.zarr")


def test_training_gives_the_callers_threads_and_generators_back(planted: Planted) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    train_head("engagement", planted(n=24), epochs=1, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), wanted)
