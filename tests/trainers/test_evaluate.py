"""Scoring a predictions file: every form, the metrics alone, comparison, and what is said of what is missing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers import evaluate as module
from cuebank.trainers.evaluate import evaluate
from cuebank.trainers.groups import resolve_groups
from cuebank.trainers.metrics import metric
from cuebank.trainers.predictions import Predictions
from cuebank.trainers.scored_columns import Columns
from cuebank.trainers.submission import EMOTIONS, write_ava, write_reaction


def run_of(n: int = 40, seeds: int = 2, classes: tuple[str, ...] = (), outputs: tuple[str, ...] = (), seed: int = 0):
    """What a training run would write as predictions.csv."""
    rng = np.random.default_rng(seed)
    shape = (n, len(outputs)) if outputs else (n,)
    labels = np.random.default_rng(9).random(shape)
    preds = np.stack([labels * 0.5 + rng.random(shape) * 0.5 for _ in range(seeds)])
    chances = None
    if classes:
        chances = np.stack([1 - preds, preds], axis=-1)
        labels, preds = (labels > 0.5).astype(int), (preds > 0.5).astype(int)
    names = [f'c{i}, "{i % 7}"' for i in range(n)]
    return Predictions(
        names,
        [None] * n,
        resolve_groups([f"g{i % 8}" for i in range(n)], names),
        np.arange(n) % 8 % 4,
        ["a", "b", "c", "d"],
        labels,
        preds,
        list(range(seeds)),
        classes,
        chances,
        names=outputs,
    )


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a text under a name and returns the path."""

    def put(name: str, text: str):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return put


@pytest.fixture
def truth(write):
    """A table with the groups that predictions.csv does not have."""
    run = run_of()
    lines = [
        f'"{name.replace(chr(34), chr(34) * 2)}",{run.labels[i]!r},g{i % 8}' for i, name in enumerate(run.clip_ids)
    ]
    return write("truth.csv", "\n".join(["clip_id,label,group_id", *lines]))


def test_a_runs_own_predictions_score_as_the_run_itself(write, truth):
    run = run_of()
    expected = run.score(["ccc", "pearson", "r2", "mse", "mae"], resamples=200)
    found = evaluate(write("p.csv", run.to_csv()), truth, resamples=200)
    assert list(found.metrics) == list(expected)
    for name, one in expected.items():
        for value, other in zip(one.to_json().values(), found.metrics[name].to_json().values(), strict=True):
            assert value == pytest.approx(other, rel=1e-9), name
    assert (found.n, found.groups, found.grouped, list(found.fold_names)) == (40, 8, "group_id", ["a", "b", "c", "d"])
    assert (found.form, list(found.seeds), found.notes) == ("csv", ["0", "1"], [])


def test_without_groups_each_clip_is_one_and_scores_are_the_same(write):
    run = run_of()
    found = evaluate(write("p.csv", run.to_csv()), resamples=0)
    assert found.metrics["ccc"].mean == pytest.approx(run.score(["ccc"], resamples=0)["ccc"].mean, rel=1e-12)
    assert found.groups == 40
    assert any("its own group" in note for note in found.all_notes())


def test_a_task_names_metrics_and_target(write):
    path = write("p.csv", "clip_id,prediction\na,0.1\nb,0.5\nc,0.2\n")
    known = write("t.csv", "clip_id,engagement,label\na,0.2,9\nb,0.4,9\nc,0.3,8\n")
    found = evaluate(path, known, task="engagement", resamples=0)
    assert found.metrics["mae"].pooled == pytest.approx(0.1)
    assert list(found.metrics) == ["ccc", "pearson", "r2", "mse", "mae"]
    with pytest.raises(NotFound, match="engagement"):
        evaluate(path, known, task="engagment")


def test_classes_are_scored_with_the_matrix_and_with_ranked_scores_beside(write):
    run = run_of(classes=("no", "yes"))
    path = write("p.csv", run.to_csv())
    found = evaluate(path, metrics=["macro_f1", "roc_auc", "accuracy"], resamples=50)
    assert list(found.metrics) == ["macro_f1", "roc_auc", "accuracy"]
    expected = run.score(["macro_f1", "roc_auc", "accuracy"], resamples=0)
    for name, one in found.metrics.items():
        assert one.mean == pytest.approx(expected[name].mean, rel=1e-12)
        assert one.pooled_low < one.pooled < one.pooled_high
    counts = np.array(found.tables["confusion"]["counts"])
    assert found.tables["confusion"]["classes"] == ["no", "yes"]
    assert counts.sum() == 80
    assert counts[1].sum() == 2 * run.labels.sum()
    assert list(evaluate(path, resamples=0).metrics) == ["macro_f1", "f1_weighted", "balanced_accuracy", "accuracy"]


def test_several_outputs_are_scored_as_their_mean_and_each(write):
    run = run_of(outputs=EMOTIONS)
    found = evaluate(write("p.csv", run.to_csv()), task="reaction", resamples=0)
    by_hand = [[metric("pearson")(p[:, k], run.labels[:, k]) for k in range(7)] for p in run.preds]
    assert found.metrics["pearson"].pooled == pytest.approx(np.mean(by_hand), rel=1e-12)
    each = [found.per_output[emotion]["pearson"] for emotion in EMOTIONS]
    np.testing.assert_allclose(each, np.mean(by_hand, axis=0), rtol=1e-12)


@pytest.mark.golden("viper_metrics")
def test_a_submission_for_muse_reaction_has_the_recorded_scores_tables_and_pictures(golden_case, write, tmp_path):
    arrays = golden_case.arrays
    pred, label = arrays["pred"], arrays["label"]
    lines = [f"[{i:05d}],{','.join(map(repr, row.tolist()))},Val" for i, row in enumerate(label)]
    known = write("data_info.csv", "\n".join([f"File_ID,{','.join(EMOTIONS)},Split", *lines, f"[99999]{',' * 8}Test"]))
    order = np.random.default_rng(0).permutation(len(pred))
    write_reaction(tmp_path / "s.csv", [f"{i:05d}" for i in order], pred[order])
    found = evaluate(tmp_path / "s.csv", known, columns=Columns(split="Val"), resamples=0)
    assert (found.form, found.n, next(iter(found.metrics))) == ("muse-reaction", len(pred), "pearson")
    assert found.metrics["pearson"].pooled == pytest.approx(float(arrays["mean_pearson"]), abs=1e-6)
    each = [found.per_output[emotion]["pearson"] for emotion in EMOTIONS]
    np.testing.assert_allclose(each, arrays["pearson_per_emotion"], atol=1e-6)
    assert found.metrics["mse"].pooled == pytest.approx(float(arrays["mse_loss"]), abs=1e-6)
    for i, emotion in enumerate(EMOTIONS):
        matrix, rows = np.zeros((10, 10), int), np.clip(arrays[f"bins_present_{i}"], 0, 9)
        np.add.at(matrix, (rows[:, None], rows[None]), arrays[f"counts_{i}"])
        assert found.tables["confusion_bins"][emotion] == matrix.tolist()
    present = arrays["argmax_classes_present"]
    strongest = np.array(found.tables["strongest"]["counts"])
    np.testing.assert_array_equal(strongest[np.ix_(present, present)], arrays["argmax_counts"])
    found.write(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.json", "evaluation.md", *(f"heatmap_{emotion}.png" for emotion in EMOTIONS)}


@pytest.mark.golden("asd_map")
def test_the_recorded_active_speaker_files_have_their_scores_and_bounds(golden_case):
    for name, expected in golden_case.json()["cases"].items():
        stem = golden_case.path.parent / f"{golden_case.name}_{name}_{golden_case.letter}"
        found = evaluate(f"{stem}_pred.csv", f"{stem}_gt.csv", resamples=20)
        whole = found.to_json()["ava"]["all"]
        assert whole["percent"] == pytest.approx(expected["stable_order_value"], abs=1e-9)
        assert found.metrics["map_ava"].pooled == pytest.approx(whole["map_ava"], abs=1e-12)
        assert 100 * whole["lowest_tie_order"] == pytest.approx(expected["lower_bound_over_tie_orders"], abs=1e-9)
        assert 100 * whole["highest_tie_order"] == pytest.approx(expected["upper_bound_over_tie_orders"], abs=1e-9)
        assert found.to_text().splitlines()[0] == f"average precision: {expected['stable_order_value']:.2f}%"
        tied = whole["lowest_tie_order"] != whole["highest_tie_order"]
        assert tied == any("Scores are tied" in note for note in found.all_notes())


@pytest.fixture
def speakers(tmp_path, write):
    """Ground truth of four videos, and a function that writes predictions of some noise for it."""
    rng = np.random.default_rng(3)
    entities = [f"v{i % 4}:{i % 8 // 4}" for i in range(160)]
    times = [1 + i // 8 * 0.04 for i in range(160)]
    speaking = (rng.random(160) < 0.4) & (np.arange(160) % 4 != 3)
    head = "video_id,frame_timestamp,entity_box_x1,entity_box_y1,entity_box_x2,entity_box_y2,label,entity_id"
    lines = [
        f"{entity[:2]},{time:.2f},0,0,1,1,{'' if on else 'NOT_'}SPEAKING{'_AUDIBLE' if on else ''},{entity}"
        for entity, time, on in zip(entities, times, speaking, strict=True)
    ]
    known = write("gt.csv", "\n".join([head, *lines]))
    stamps = [round(time, 2) for time in times]

    def predict(name: str, noise: float):
        scores = speaking + np.random.default_rng(int(noise * 100)).normal(size=160) * noise
        write_ava(tmp_path / name, known, entities, stamps, scores)
        return tmp_path / name

    return known, predict


def test_active_speakers_are_scored_by_video_part_and_against_others(speakers, tmp_path):
    known, predict = speakers
    found = evaluate(predict("good.csv", 0.3), known, against=predict("bad.csv", 3.0), parts={"two": ["v0", "v1"]})
    content = found.to_json()
    assert found.metrics["map_ava"].pooled_low < found.metrics["map_ava"].pooled
    assert list(content["ava"]["videos"]) == ["v0", "v1", "v2", "v3"]
    assert content["ava"]["videos"]["v3"]["map_ava"] is None
    assert any("Undefined for 1 of 4 videos without SPEAKING_AUDIBLE: v3" in note for note in content["notes"])
    assert content["ava"]["parts"]["two"]["rows"] == 80
    test = content["against"]["metrics"]["map_ava"]
    assert test["better"] == "first"
    assert test["difference"] == pytest.approx(test["first"] - test["second"])
    assert test["swaps"] == "all 16"
    with pytest.raises(BadInput, match="No row is of a video of none"):
        evaluate(tmp_path / "good.csv", known, parts={"two": ["v0"], "none": ["w"]})
    both = evaluate(tmp_path / "good.csv", known, metrics=["roc_auc"], resamples=0)
    assert list(both.metrics) == ["roc_auc", "map_ava"]
    with pytest.raises(BadInput, match="`ccc` is no metric of scores"):
        evaluate(tmp_path / "good.csv", known, metrics=["ccc"])
    with pytest.raises(BadInput, match="no ground truth"):
        evaluate(tmp_path / "good.csv")
    with pytest.raises(BadInput, match="groups are videos"):
        evaluate(tmp_path / "good.csv", known, columns=Columns(group="entity_id"))
    with pytest.raises(NotFound, match="asdf"):
        evaluate(tmp_path / "good.csv", known, task="asdf")


def test_resamples_that_would_take_minutes_are_left_out_with_a_word(speakers, write, monkeypatch):
    known, predict = speakers
    path = predict("p.csv", 0.5)
    monkeypatch.setattr(module, "AFFORDABLE", 159_000)
    found = evaluate(path, known)
    assert found.metrics["map_ava"].pooled_low is None
    assert any("No intervals: 1000 resamples of 160 ranked rows" in note for note in found.all_notes())
    assert evaluate(path, known, resamples=1000).metrics["map_ava"].pooled_low is not None
    table = write("c.csv", run_of(seeds=4, classes=("no", "yes")).to_csv())
    found = evaluate(table, metrics=["roc_auc", "accuracy"])
    assert found.metrics["roc_auc"].pooled_low is None
    assert found.metrics["accuracy"].pooled_low is not None


def test_two_files_are_compared_row_by_row_whatever_their_order(write, truth):
    one, other = run_of(), run_of(seed=1)
    lines = other.to_csv().splitlines()
    shuffled = [lines[0], *(lines[i] for i in np.random.default_rng(0).permutation(np.arange(1, len(lines))))]
    shuffled = [lines[0], *sorted(shuffled[1:], key=lambda line: line.split(",")[-3])]  # seed 0 first
    expected = evaluate(write("a.csv", one.to_csv()), truth, against=write("b.csv", other.to_csv()), resamples=99)
    found = evaluate(write("a.csv", one.to_csv()), truth, against=write("c.csv", "\n".join(shuffled)), resamples=99)
    assert found.paired == expected.paired
    test = found.paired["ccc"]
    assert test.first == pytest.approx(found.metrics["ccc"].mean)
    assert test.second == pytest.approx(other.score(["ccc"], resamples=0)["ccc"].mean, rel=1e-9)
    assert test.swaps == "99 random"


def test_files_with_other_folds_are_compared_over_all_rows_and_that_is_said(write, truth):
    one, other = run_of().to_csv(), run_of(seed=1).to_csv().replace(',"a",', ',"z",').replace(',"b",', ',"z",')
    found = evaluate(write("a.csv", one), truth, against=write("b.csv", other), resamples=20)
    assert any("other folds" in note for note in found.notes)
    assert found.paired["mae"].first == pytest.approx(found.metrics["mae"].pooled)


def test_files_with_other_rows_labels_or_seeds_are_not_compared(write):
    text = "clip_id,seed,label,prediction\na,0,1,1\nb,0,2,3\nc,0,3,3\n"
    path = write("a.csv", text)
    for other, said in (
        (text.replace("c,0,3,3\n", ""), r"3 and 2 rows; 1 are in one of them only, first c\."),
        (text.replace("c,0", "d,0"), r"3 and 3 rows; 2 are in one of them only, first c\."),
        (text.replace("c,0,3", "c,0,4"), r"targets differ in 1 of 3 rows, first in c\."),
        (text + text.split("\n", 1)[1].replace(",0,", ",1,"), "1 and 2 seeds"),
    ):
        with pytest.raises(BadInput, match=said):
            evaluate(path, against=write("b.csv", other))


def test_classes_that_only_one_of_two_files_predicts_keep_their_meaning(write):
    first = write("a.csv", "clip_id,label,prediction\na,x,x\nb,z,z\nc,x,z\nd,z,z\n")
    second = write("b.csv", "clip_id,label,prediction\na,x,y\nb,z,z\nc,x,x\nd,z,y\n")
    test = evaluate(first, against=second, metrics=["accuracy"]).paired["accuracy"]
    assert (test.first, test.second, test.difference) == (0.75, 0.5, 0.25)


def test_every_undefined_number_is_null_with_a_reason(write):
    path = write("p.csv", "clip_id,who,label,prediction\na,g,1,0.5\nb,g,2,0.5\nc,h,3,0.5\nd,h,3,0.5\n")
    content = evaluate(path, columns=Columns(group="who")).to_json()
    json.dumps(content, allow_nan=False)
    assert content["metrics"]["pearson"]["pooled"] is None
    assert content["per_group"]["h"] == {"n": 2, "ccc": 0.0, "pearson": None, "r2": None, "mse": 6.25, "mae": 2.5}
    notes = " ".join(content["notes"])
    assert "Pearson r is undefined in 2 of 2 groups (g, h): predictions or target are constant." in notes
    assert "R² is undefined in 1 of 2 groups (h): the target is constant." in notes
    assert "Pearson r: The pooled score is undefined: predictions or target are constant." in notes


def test_text_and_markdown_say_the_scores_and_escape_what_is_data(write, tmp_path):
    run = run_of()
    table = run.to_csv().splitlines()
    table = "\n".join([f"{table[0]},who", *(f'{line},"<b>|{i % 5}\x1b[2J"' for i, line in enumerate(table[1:]))])
    found = evaluate(write("p.csv", table), columns=Columns(group="who"), resamples=30)
    text = found.to_text()
    assert f"{found.metrics['ccc'].pooled:.3f}" in text
    assert "\x1b" not in text
    found.write(tmp_path / "out")
    markdown = (tmp_path / "out" / "evaluation.md").read_text()
    assert "&lt;b&gt;\\|0" in markdown
    assert "<b>" not in markdown
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.json", "evaluation.md", "predictions.png"}
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content == json.loads(json.dumps(found.to_json()))
    assert not any(isinstance(value, float) and math.isnan(value) for value in content["metrics"]["ccc"].values())


def test_tables_are_no_scores_and_forms_have_names(write):
    path = write("p.csv", "clip_id,label,prediction\na,1,1\nb,2,3\n")
    with pytest.raises(BadInput, match=r"`confusion` was asked for\. That is a table"):
        evaluate(path, metrics=["confusion"])
    with pytest.raises(BadInput, match="form `xml`"):
        evaluate(path, form="xml")
    with pytest.raises(BadInput, match="lists of videos"):
        evaluate(path, parts={"a": ["b"]})
    with pytest.raises(BadInput, match="no label file"):
        evaluate(path, form="muse-reaction")
    with pytest.raises(NotFound, match="`ccc`"):
        evaluate(path, metrics=["cccc"])
