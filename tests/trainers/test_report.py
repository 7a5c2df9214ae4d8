"""The report: complete, strict JSON, safe Markdown, files that appear whole."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.groups import resolve_groups
from cuebank.trainers.metrics import metric
from cuebank.trainers.predictions import Predictions
from cuebank.trainers.protocol import plan_splits
from cuebank.trainers.report import Curve, Report, describe_splits, plain_json
from cuebank.trainers.report_text import escaped, interval, number, printable

NASTY = "a|b<script>alert(1)</script>\n# heading `x` \x1b[31m"


def report(n=60, groups=6, constant_fold=False, classes=(), seeds=(0,), **changes) -> Report:
    rng = np.random.default_rng(0)
    clips = [f"clip {i}" for i in range(n)]
    group_of_row = resolve_groups([f"meeting {i % groups}" for i in range(n)], clips)
    plan = plan_splits("group-k-fold", group_of_row, folds=3)
    rows = np.concatenate([fold.test for fold in plan.folds])
    folds = np.concatenate([np.full(fold.test.size, i) for i, fold in enumerate(plan.folds)])
    labels = rng.integers(0, len(classes), n) if classes else rng.normal(size=n)
    if constant_fold:
        labels[plan.folds[1].test] = 0.25
    preds = np.stack([labels if classes else labels + rng.normal(size=n) for _ in seeds])
    predictions = Predictions(
        clip_ids=[clips[row] for row in rows],
        entity_ids=[None] * n,
        groups=resolve_groups([f"meeting {row % groups}" for row in rows], [clips[row] for row in rows]),
        folds=folds,
        fold_names=[fold.name for fold in plan.folds],
        labels=labels[rows],
        preds=preds[:, rows],
        seeds=seeds,
        classes=classes,
    )
    names = ["macro_f1", "accuracy"] if classes else ["ccc", "r2", "mae"]
    epochs = tuple(np.linspace(0, 1, 4))
    arguments = {
        "task": "engagement",
        "task_version": 1,
        "target": "engagement",
        "head": "mlp",
        "head_config": {"hidden_size": np.int64(32), "dropout": 0.1},
        "training": {"loss": "ccc", "lr": 3e-4},
        "inputs": {"audio": "hubert-base.ls960@last"},
        "fingerprints": {"hubert-base.ls960@last": "f00d"},
        "metric": names[0],
        "metrics": predictions.score(names, resamples=50),
        "predictions": predictions,
        "protocol": plan.protocol,
        "selection": plan.selection,
        "splits": describe_splits(plan, group_of_row),
        "seconds": 1.23456,
        "environment": {"torch": "2.4", "device": "cpu"},
        "curves": [Curve(fold.name, seed, epochs, epochs, epochs, 2) for fold in plan.folds for seed in seeds],
        "warnings": ("Weights are random.",),
    }
    return Report(**(arguments | changes))


def strict(text: str):
    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_has_what_the_contract_promises():
    content = report(seeds=(0, 3)).to_json()
    assert (content["task"], content["head"], content["n"], content["groups"]) == ("engagement", "mlp", 60, 6)
    assert (content["seeds"], content["seconds"]) == ([0, 3], 1.235)
    assert content["fingerprints"] == {"hubert-base.ls960@last": "f00d"}
    assert content["head_config"] == {"hidden_size": 32, "dropout": 0.1}
    ccc = content["metrics"]["ccc"]
    assert {"mean", "low", "high", "per_fold", "pooled", "pooled_low", "pooled_high"} <= set(ccc)
    assert ccc["mean"] == pytest.approx(np.mean(ccc["per_fold"]))
    assert len(content["runs"]) == 6
    assert strict(json.dumps(content, allow_nan=False)) == content


def test_splits_say_rows_and_groups_of_each_part_and_which_groups_are_tested():
    splits = report().to_json()["splits"]
    assert sum(split["rows"]["test"] for split in splits) == 60
    assert sorted(name for split in splits for name in split["tested_groups"]) == [f"meeting {i}" for i in range(6)]
    for split in splits:
        assert sum(split["rows"].values()) == 60
        assert sum(split["groups"].values()) == 6


def test_an_undefined_score_is_null_in_json_undefined_in_text_and_explained_in_both():
    made = report(constant_fold=True)
    content = made.to_json()
    assert content["metrics"]["r2"]["mean"] is None
    assert content["metrics"]["r2"]["per_fold"][1] is None
    reason = "R²: Undefined in 1 of 3 folds (1): the target is constant. So is the mean."
    assert reason in content["warnings"]
    assert reason in made.to_text()
    assert "undefined" in made.to_markdown_row()
    for text in (made.to_text(), made.to_markdown_row()):
        assert "nan" not in text.lower()
        assert "None" not in text


def test_numbers_that_are_none_become_null_with_a_warning_that_says_where():
    curve = Curve("0", 0, (0.5, math.nan), (0.5, math.inf), (0.1, 0.2), 1)
    content = report(curves=[curve]).to_json()
    assert content["runs"][0]["train_loss"] == [0.5, None]
    assert any("runs[0].train_loss[1], runs[0].validation_loss[1]" in text for text in content["warnings"])


def test_few_groups_are_warned_about_once_and_given_warnings_come_first():
    warnings = report().to_json()["warnings"]
    assert warnings[0] == "Weights are random."
    assert sum("6 groups only" in text for text in warnings) == 1


def test_written_files_are_complete_and_agree(tmp_path):
    made = report(seeds=(0, 1))
    made.write(tmp_path / "new" / "folder", pictures=False)
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.csv", "report.json", "report.md"]
    assert strict((folder / "report.json").read_text(encoding="utf-8")) == made.to_json()
    assert (folder / "predictions.csv").read_text(encoding="utf-8").count("\n") == 1 + 2 * 60
    assert "# engagement: mlp" in (folder / "report.md").read_text(encoding="utf-8")


def test_several_outputs_have_a_score_each(tmp_path):
    rng = np.random.default_rng(0)
    made = report()
    several = np.stack([made.predictions.labels, np.full(60, 0.5)], 1)
    predictions = dataclasses.replace(
        made.predictions, labels=several, preds=several[None] + rng.normal(size=(1, 60, 2)), names=("a|b", "flat")
    )
    made = report(predictions=predictions, metrics=predictions.score(["pearson", "mse"], resamples=0), metric="pearson")
    content = made.to_json()
    assert content["outputs"] == ["a|b", "flat"]
    scores = content["per_output"]["pearson"]
    assert scores["a|b"] == pytest.approx(metric("pearson")(predictions.preds[0, :, 0], several[:, 0]))
    assert scores["flat"] is None
    assert any("per_output.pearson.flat" in text for text in content["warnings"])
    made.write(tmp_path)
    document = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Outputs" in document
    assert "| a\\|b | " in document
    assert "| flat | undefined |" in document


@pytest.mark.parametrize(("classes", "picture"), [((), "predictions.png"), (("a", "b"), "confusion.png")])
def test_pictures_are_drawn_and_linked(tmp_path, classes, picture):
    report(classes=classes).write(tmp_path)
    document = (tmp_path / "report.md").read_text(encoding="utf-8")
    for name in ("learning_curves.png", picture):
        assert f"]({name})" in document
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_writing_onto_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BadInput, match="in the way"):
        report().write(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_names_from_data_cannot_break_markdown_or_the_terminal():
    made = report(
        head=NASTY,
        target=NASTY,
        inputs={NASTY: NASTY},
        fingerprints={NASTY: NASTY},
        head_config={NASTY: NASTY},
        warnings=(NASTY,),
    )
    splits = [dict(split, name=NASTY) for split in made.splits]
    made = Report(**{name: getattr(made, name) for name in made.__dataclass_fields__} | {"splits": splits})
    from cuebank.trainers.report_text import document

    text = document(made.to_json())
    assert "<script" not in text
    assert "\x1b" not in text
    assert not any(line.startswith("# heading") for line in text.splitlines())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    pipes = [line.replace("\\|", "").count("|") for line in lines]
    assert pipes == [6] * 5 + [9] * 5
    assert made.to_markdown_row().replace("\\|", "").count("|") == made.markdown_header().splitlines()[0].count("|")
    assert len(made.to_markdown_row().splitlines()) == 1
    assert "\x1b" not in made.to_text()


def test_rows_of_several_reports_fit_under_one_header():
    header = report().markdown_header().splitlines()
    row = report(seeds=(0, 1)).to_markdown_row()
    assert header[0].count("|") == header[1].count("|") == row.count("|")
    assert metric("ccc").title in header[0]


def test_terminal_text_shows_all_metrics_aligned():
    lines = report().to_text().splitlines()
    assert lines[0] == "engagement: mlp on hubert-base.ls960@last"
    assert [line.split("  ")[0].strip() for line in lines[2:5]] == ["CCC", "R²", "MAE"]
    column = lines[1].index("95 % interval")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines[2:5])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.45444, "0.454"),
        (-12.5, "-12.500"),
        (0.0, "0.000"),
        (0.01234, "0.0123"),
        (1e-9, "1.00e-09"),
        (None, "undefined"),
    ],
)
def test_scores_are_shown_with_three_digits(value, shown):
    assert number(value) == shown


def test_small_texts():
    assert interval(None, 1.0) == "none"
    assert printable("a\tb\u202e\x00") == "a\\tb\\u202e\\x00"
    assert escaped("*a*_b_[c](d)&") == "\\*a\\*\\_b\\_\\[c\\](d)&amp;"


def test_plain_json_converts_numpy_and_notes_what_is_no_number():
    nulls: list[str] = []
    value = {
        "a": np.float32(0.5),
        "b": (np.int64(1), np.nan),
        "c": np.array([1.0, np.inf]),
        "d": None,
        "e": np.bool_(1),
    }
    assert plain_json(value, "x", nulls) == {"a": 0.5, "b": [1, None], "c": [1.0, None], "d": None, "e": True}
    assert nulls == ["x.b[1]", "x.c[1]"]
