"""Predictions matched with their truth: by id, seed and fold; nothing left out without a word."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers.scored_columns import Columns
from cuebank.trainers.scored_rows import read_scored_rows
from cuebank.trainers.scored_values import kind_of, values_of


@pytest.fixture
def read(tmp_path):
    """Return a function that writes predictions and truth and matches them."""

    def match(predictions: str, truth: str | None = None, /, **columns):
        (tmp_path / "p.csv").write_text(predictions)
        if truth is not None:
            (tmp_path / "t.csv").write_text(truth)
        return read_scored_rows(tmp_path / "p.csv", None if truth is None else tmp_path / "t.csv", Columns(**columns))

    return match


def test_seeds_are_put_side_by_side_whatever_the_order_of_lines(read):
    rows = read("clip_id,fold,seed,label,prediction\na,0,7,1,0.1\nb,1,7,2,0.2\nb,1,8,2,0.4\na,0,8,1,0.3\n")
    assert rows.seeds == ("7", "8")
    assert rows.keys == [("a", "0"), ("b", "1")]
    assert (rows.fold_names, rows.folds.tolist()) == (("0", "1"), [0, 1])
    values = values_of(rows, "regression")
    np.testing.assert_array_equal(values.preds, [[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_array_equal(values.target, [1, 2])


def test_truth_is_matched_by_id_and_not_by_line(read):
    rows = read(
        "name,guess\nb,2.5\na,1.5\n", "score,name\n1,a\n2,b\n", ids=["name"], predictions=["guess"], targets=["score"]
    )
    values = values_of(rows, "regression")
    np.testing.assert_array_equal(values.preds - values.target, [[0.5, 0.5]])
    assert rows.notes == []


def test_entities_and_times_are_part_of_the_id_where_both_files_have_them(read):
    truth = "clip_id,entity_id,time_s,label\nc,x,0.50,1\nc,y,0.5,2\nc,x,1,3\n"
    rows = read("clip_id,entity_id,time_s,prediction\nc,x,1.0,30\nc,y,0.5,20\nc,x,.5,10\n", truth)
    np.testing.assert_array_equal(values_of(rows, "regression").target, [3, 2, 1])
    with pytest.raises(BadInput, match=r"each row must be there once.*lines 2 and 4"):
        read("clip_id,prediction\nc,1\nd,2\nc,3\n", "clip_id,label\nc,1\nd,2\n")


def test_rows_of_the_truth_without_prediction_or_label_are_counted_and_said(read):
    rows = read("clip_id,prediction\na,1\nb,2\n", "clip_id,label\na,1\nb, \nc,3\nd,\n")
    assert rows.keys == [("a", "")]
    assert any("1 predictions are of rows whose label is empty" in note for note in rows.notes)
    assert any("1 rows of the truth have no prediction and are not scored (lines 4)" in note for note in rows.notes)


def test_a_split_must_be_predicted_as_a_whole(read):
    truth = "clip_id,label,split\na,1,val\nb,2,val\nc,3,test\nd,,val\n"
    rows = read("clip_id,prediction\na,1\nb,2\nc,3\n", truth, split="val")
    assert [key[0] for key in rows.keys] == ["a", "b"]
    assert "1 predictions are of other splits than val and are not scored." in rows.notes
    with pytest.raises(BadInput, match=r"every row of the split val must be predicted. line 3"):
        read("clip_id,prediction\na,1\nc,3\n", truth, split="val")
    with pytest.raises(BadInput, match="has the splits test,val"):
        read("clip_id,prediction\na,1\n", truth, split="dev")


@pytest.mark.parametrize(
    ("predictions", "truth", "said"),
    [
        ("clip_id,label,prediction\na,1,1\nb,,2\n", None, "target label must not be empty. line 3"),
        ("clip_id,label,prediction\na,x,x\nb,y, \n", None, "prediction prediction must not be empty. line 3"),
        ("clip_id,label,prediction\na,1,1\na,1,2\n", None, r"there once \(by clip_id\). lines 2 and 3 \(a\)"),
        ("clip_id,label,prediction\na,1,1\n,1,2\n", None, "`clip_id` must not be empty. line 3"),
        ("clip_id,prediction\na,1\nz,2\n", "clip_id,label\na,1\n", r"must be in `.*t.csv` \(by clip_id\). line 3"),
        ("clip_id,prediction\na,1\n", "clip_id,label\na,1\nb,2\na,3\n", r"id of its own \(clip_id\). lines 2 and 4"),
        ("clip_id,prediction\na,1\n", "clip_id,label\na,\n", "No row of it has a truth"),
        ("x,prediction\na,1\n", "y,label\na,1\n", "No column of both"),
        ("clip_id,guess,label\na,1,1\n", None, "no column `prediction`.*`guess`.*--prediction COLUMN"),
        ("clip_id,prediction\na,1\n", None, "1 columns of predictions .* and 0 of targets.*--truth CSV"),
        (
            "clip_id,seed,label,prediction\na,0,1,1\nb,0,1,1\na,1,1,1\n",
            None,
            "Seed 1 has 1 rows and seed 0 has 2; .* b",
        ),
        (
            "clip_id,seed,label,prediction\na,0,1,1\na,1,2,1\n",
            None,
            r"same under every seed. lines 2 and 3: '1' and '2'",
        ),
    ],
)
def test_rows_that_cannot_be_matched_are_told_with_their_lines(read, predictions, truth, said):
    with pytest.raises(BadInput, match=said):
        read(predictions, truth)


def test_named_columns_that_are_not_there_are_not_found(read):
    for columns in ({"predictions": ["guess"]}, {"targets": ["labels"]}, {"ids": ["clip"]}, {"group": "who"}):
        with pytest.raises(NotFound):
            read("clip_id,label,prediction\na,1,1\n", **columns)


def test_groups_come_from_the_column_or_each_id_is_one_and_that_is_said(read):
    truth = "clip_id,label,group_id,who\na,1,g,x\nb,2,g,y\nc,3,h,y\n"
    predictions = "clip_id,prediction\na,1\nb,2\nc,3\n"
    rows = read(predictions, truth)
    assert (rows.grouped, [rows.groups.names[code] for code in rows.groups.codes]) == ("group_id", ["g", "g", "h"])
    rows = read(predictions, truth, group="who")
    assert (rows.grouped, rows.groups.names) == ("who", ("x", "y"))
    rows = read("clip_id,fold,label,prediction\na,0,1,1\na,1,1,1\nb,0,1,1\n")
    assert (rows.grouped, rows.groups.codes.tolist()) == (None, [0, 0, 1])
    assert "each clip_id is its own group" in rows.groups.notes[0]
    with pytest.raises(BadInput, match="1 of 3 rows have no group_id"):
        read(predictions, truth.replace("3,h", "3,"))


def test_rows_that_a_head_has_seen_are_said(read):
    rows = read("clip_id,prediction,seen\na,1,1\nb,2,0\n", "clip_id,label\na,1\nb,2\n")
    assert "1 of 2 rows were used to train or select the head: they score too well." in rows.notes


def test_several_outputs_are_read_by_their_names(read):
    own = read("clip_id,label_x,label_y,prediction_x,prediction_y\na,1,2,3,4\nb,5,6,7,8\n")
    named = read(
        "clip_id,x,y\na,3,4\nb,7,8\n", "clip_id,y,x\nb,6,5\na,2,1\n", predictions=["x", "y"], targets=["x", "y"]
    )
    for rows in (own, named):
        assert rows.outputs == ("x", "y")
        values = values_of(rows, "regression")
        np.testing.assert_array_equal(values.preds, [[[3, 4], [7, 8]]])
        np.testing.assert_array_equal(values.target, [[1, 2], [5, 6]])
    with pytest.raises(BadInput, match="There are 2 outputs: x, y"):
        values_of(own, "classes")


def test_the_kind_is_told_by_probabilities_and_by_what_is_no_number(read):
    assert kind_of(read("id,label,prediction\n1,1,0.5\n")) == "regression"
    assert kind_of(read("id,label,prediction\n1,sad,sad\n")) == "classes"
    assert kind_of(read("id,label,prediction,probability_0,probability_1\n1,1,0,1,0\n")) == "classes"


def test_classes_keep_the_order_of_probabilities_and_numbers_are_one_class_however_written(read):
    rows = read("id,label,prediction,probability_sad,probability_glad\n1,glad,sad,1,0\n2,odd,glad,0,1\n")
    values = values_of(rows, "classes")
    assert values.classes == ("sad", "glad", "odd")
    assert (values.preds.tolist(), values.target.tolist()) == ([[0, 1]], [1, 2])
    values = values_of(read("id,label,prediction\n1,1.0,1\n2,10,2\n"), "classes")
    assert values.classes == ("1", "2", "10")
    assert values.target.tolist() == [0, 2]


def test_classes_that_have_nothing_in_common_are_said(read):
    values = values_of(read("id,label,prediction\n1,a,A\n2,b,B\n"), "classes")
    assert "No predicted class (such as 'A') occurs among the true ones (such as 'a')" in values.notes[0]


def test_scores_take_the_probability_of_the_positive_class_and_say_so(read):
    table = "id,label,prediction,probability_no,probability_yes\n1,yes,no,0.6,0.4\n2,no,no,0.9,0.1\n"
    values = values_of(read(table), "scores")
    assert (values.preds.tolist(), values.target.tolist()) == ([[0.4, 0.1]], [1, 0])
    assert "Positive is 'yes'" in values.notes[0]
    values = values_of(read(table, positive="no"), "scores")
    assert (values.preds.tolist(), values.target.tolist()) == ([[0.6, 0.9]], [0, 1])


def test_scores_take_numbers_against_zero_and_one_or_a_named_class(read):
    values = values_of(read("id,label,score\n1,1,0.4\n2,0.0,-3\n"), "scores")
    assert (values.preds.tolist(), values.target.tolist()) == ([[0.4, -3]], [1, 0])
    assert values_of(read("id,label,score\n1,0,0.4\n2,0,-3\n"), "scores").target.tolist() == [0, 0]
    several = "id,label,score\n1,SPEAKING_AUDIBLE,0.4\n2,NOT_SPEAKING,0.1\n3,SPEAKING_NOT_AUDIBLE,0.2\n"
    assert values_of(read(several, positive="SPEAKING_AUDIBLE"), "scores").target.tolist() == [1, 0, 0]
    with pytest.raises(BadInput, match=r"No class was named; the target has .*--positive CLASS"):
        values_of(read(several), "scores")
    with pytest.raises(BadInput, match="'SPEAKING' was named"):
        values_of(read(several, positive="SPEAKING"), "scores")
    with pytest.raises(BadInput, match=r"`score` must be a finite number. line 3: 'high'"):
        values_of(read("id,label,score\n1,1,0.4\n2,0,high\n"), "scores")
