"""predictions.csv: every row under every seed, ids as they are, numbers with all digits."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.groups import resolve_groups
from cuebank.trainers.predictions import Predictions

IDS = ["plain", 'a,"b"', "two\nlines", "cr\rlf\r\n", "=1+1", "../x", "ünï ", " blank ", "x" * 300]


def predictions(ids=IDS, seeds=(0, 7), classes=(), **changes) -> Predictions:
    n, s = len(ids), len(seeds)
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(len(classes)), (s, n)) if classes else None
    arguments = {
        "clip_ids": ids,
        "entity_ids": [None if i % 2 else f"face {i}\n" for i in range(n)],
        "groups": resolve_groups([f"g{i % 3}" for i in range(n)], ids),
        "folds": np.arange(n) % 3,
        "fold_names": ["first", "a|b", "2"],
        "labels": rng.integers(0, 2, n) if classes else rng.normal(size=n),
        "preds": chances.argmax(-1) if classes else rng.normal(size=(s, n)).astype("float32"),
        "seeds": seeds,
        "classes": classes,
        "probabilities": chances,
    }
    return Predictions(**(arguments | changes))


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_ids_of_any_content_come_back_from_the_csv():
    made = predictions()
    rows = read(made.to_csv())
    assert [row["clip_id"] for row in rows] == IDS * 2
    assert [row["entity_id"] or None for row in rows] == list(made.entity_ids) * 2
    assert [row["fold"] for row in rows[:3]] == ["first", "a|b", "2"]


def test_numbers_come_back_with_all_digits_seed_by_seed():
    made = predictions()
    rows = read(made.to_csv())
    assert list(rows[0]) == ["clip_id", "entity_id", "fold", "seed", "label", "prediction"]
    assert [int(row["seed"]) for row in rows] == [0] * 9 + [7] * 9
    # In their own precision: these are float32.
    np.testing.assert_array_equal(np.array([row["prediction"] for row in rows], "float32"), made.preds.ravel())
    np.testing.assert_array_equal([float(row["label"]) for row in rows], np.tile(made.labels, 2))


def test_classes_are_named_and_have_their_probabilities():
    made = predictions(classes=("low", "high, or so"))
    rows = read(made.to_csv())
    assert list(rows[0])[-2:] == ["probability_low", "probability_high, or so"]
    for row, label, pred, chances in zip(rows, made.labels, made.preds[0], made.probabilities[0], strict=False):
        assert (row["label"], row["prediction"]) == (made.classes[label], made.classes[pred])
        np.testing.assert_array_equal([float(row["probability_low"]), float(row["probability_high, or so"])], chances)


def test_scores_use_all_seeds_and_the_names_of_folds():
    made = predictions()
    score = made.score(["mae"], resamples=10)["mae"]
    assert len(score.per_seed) == 2
    assert len(score.per_fold) == 3
    assert score.pooled == pytest.approx(np.abs(made.preds - made.labels).mean(), rel=1e-6)
    assert made.tested_groups() == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("entity_ids", [None]),
        ("folds", np.zeros(3, int)),
        ("labels", np.zeros((9, 1))),
        ("preds", np.zeros(9)),
        ("probabilities", np.zeros((2, 9, 3))),
    ],
)
def test_columns_of_other_lengths_are_refused_by_name(name, value):
    with pytest.raises(BadInput, match=name):
        predictions(**{name: value})


def test_no_predictions_at_all_are_refused():
    with pytest.raises(BadInput):
        predictions(seeds=(), preds=np.zeros((0, 9)))


def test_a_label_of_single_precision_is_written_as_the_table_had_it():
    one = Predictions(
        clip_ids=["a", "b"],
        entity_ids=[None, None],
        groups=resolve_groups(["x", "y"], ["a", "b"]),
        folds=np.array([0, 0]),
        fold_names=["0"],
        labels=np.array([-0.042, 0.1], np.float32),
        preds=np.array([[0.3, -0.2]], np.float32),
        seeds=[0],
    )
    rows = one.to_csv().splitlines()[1:]
    assert [row.split(",")[4:] for row in rows] == [["-0.042", "0.3"], ["0.1", "-0.2"]]
