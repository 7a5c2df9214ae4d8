"""Submission files: as the specifications have them, read back and scored, refusals."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from cuebank.store.errors import BadInput, Conflict, NotFound
from cuebank.trainers.ava import match_ava
from cuebank.trainers.submission import EMOTIONS, bare_id, write_ava, write_reaction

BOX = "entity_box_x1,entity_box_y1,entity_box_x2,entity_box_y2"
TRUTH = f"""video_id,frame_timestamp,{BOX},label,entity_id,label_id,instance_id
v,1.00,0.1,0.2,0.3,0.40,SPEAKING_AUDIBLE,v:0,1,v:0:0
v,1.04,0.1,0.2,0.3,0.4,NOT_SPEAKING,v:0,0,v:0:1
v,1.00,0.5,0.2,0.7,0.4,SPEAKING_NOT_AUDIBLE,v:1,2,v:1:0
"""


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH)
    return path


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_reaction_is_an_id_in_brackets_and_seven_emotions_in_order(tmp_path):
    preds = np.random.default_rng(0).normal(size=(3, 7)).astype("float32")
    write_reaction(tmp_path / "new" / "submission.csv", ["00001", "[00002]", "3"], preds)
    header, *rows = rows_of(tmp_path / "new" / "submission.csv")
    assert header == ["File_ID", *EMOTIONS]
    assert EMOTIONS == ("Adoration", "Amusement", "Anxiety", "Disgust", "Empathic-Pain", "Fear", "Surprise")
    assert [row[0] for row in rows] == ["[00001]", "[00002]", "[3]"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype="float32"), preds)


def test_only_a_pair_of_brackets_is_taken_off_an_id():
    assert [bare_id(name) for name in ("[a]", "a", "[a", "[]", "")] == ["a", "a", "[a", "[]", ""]


@pytest.mark.parametrize(
    ("ids", "preds", "said"),
    [
        (["a"], np.zeros((1, 6)), r"shape \(1, 7\).*\(1, 6\)"),
        (["a", "b"], np.zeros((1, 7)), r"\(2, 7\)"),
        (["a"], np.full((1, 7), np.nan), "no finite numbers"),
        (["a", "[a]"], np.zeros((2, 7)), "1 ids are there twice, the first 'a'"),
    ],
)
def test_reaction_refuses_what_is_no_submission(tmp_path, ids, preds, said):
    with pytest.raises(BadInput, match=said):
        write_reaction(tmp_path / "s.csv", ids, preds)
    assert not (tmp_path / "s.csv").exists()


def test_active_speaker_rows_are_those_of_the_truth_with_scores_by_entity_and_time(tmp_path, truth):
    scores = np.array([0.1, 1 / 3, 0.25], dtype="float32")
    write_ava(tmp_path / "val_res.csv", truth, ["v:1", "v:0", "v:0"], [1.0, 1.04, 1.0], scores)
    header, *rows = rows_of(tmp_path / "val_res.csv")
    assert header[-2:] == ["entity_id", "score"]
    assert "label_id" not in header
    assert [row[1] for row in rows] == ["1.00", "1.04", "1.00"]
    assert rows[0][5] == "0.40"
    assert {row[6] for row in rows} == {"SPEAKING_AUDIBLE"}
    assert [np.float32(row[-1]) for row in rows] == [np.float32(0.25), np.float32(1 / 3), np.float32(0.1)]
    found = match_ava(tmp_path / "val_res.csv", truth)
    np.testing.assert_array_equal(found.scores.astype("float32"), scores[[2, 1, 0]])
    assert found.unmatched == 0
    assert found.score().score == 0.5


def test_a_truth_without_header_gives_the_same_file(tmp_path, truth):
    arguments = (["v:0", "v:1", "v:0"], [1.04, 1, 1], [0.5, 0.25, 0.75])
    write_ava(tmp_path / "a.csv", truth, *arguments)
    bare = tmp_path / "bare.csv"
    bare.write_text(TRUTH.split("\n", 1)[1])
    write_ava(tmp_path / "b.csv", bare, *arguments)
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


@pytest.mark.parametrize(
    ("entities", "times", "scores", "error", "said"),
    [
        (
            ["v:0", "v:1"],
            [1, 1],
            [0.1, 0.2],
            Conflict,
            r"1 of its 3 rows have no score, the first 1\.04:v:0 \(line 3\)",
        ),
        (["v:0", "v:0", "v:2"], [1, 1.04, 1], [0.1] * 3, BadInput, "1 are of no row of it: v:2 at 1.0 s"),
        (["v:0", "v:0", "v:1", "v:1"], [1, 1.04, 1, 1], [0.1] * 4, BadInput, "1 are there twice: v:1 at 1.0 s"),
        (["v:0"], [1], [np.nan], BadInput, "no finite numbers"),
        (["v:0"], [1, 2], [0.1], BadInput, r"shape \(1,\).*\(2,\)"),
    ],
)
def test_scores_that_are_not_one_for_each_row_are_refused(tmp_path, truth, entities, times, scores, error, said):
    with pytest.raises(error, match=said):
        write_ava(tmp_path / "out.csv", truth, entities, times, scores)
    assert not (tmp_path / "out.csv").exists()


def test_a_missing_truth_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        write_ava(tmp_path / "out.csv", tmp_path / "none.csv", ["v:0"], [1], [0.1])
