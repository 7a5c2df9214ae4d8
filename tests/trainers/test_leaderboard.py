"""The order of entries, their tests against the best, and what is undefined."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cuebank.trainers import tasks
from cuebank.trainers.benchmark_cells import Cell, Ended, read_done, write_done, write_failed
from cuebank.trainers.groups import resolve_groups
from cuebank.trainers.leaderboard import holm, leaderboard
from cuebank.trainers.leaderboard_text import page, table
from cuebank.trainers.paired import compare
from cuebank.trainers.predictions import Predictions

N, TASK = 120, tasks.task("engagement")
LABELS = np.random.default_rng(0).normal(size=N)


def found(noise: float, seed: int = 0, rows: int = N, constant: bool = False) -> Predictions:
    """Predictions of 12 groups in 3 folds."""
    clips = [f"clip{i}" for i in range(rows)]
    labels = LABELS[:rows] if not constant else np.full(rows, 0.5)
    guesses = labels + noise * np.random.default_rng([seed, int(noise * 10)]).normal(size=rows)
    return Predictions(
        clip_ids=clips,
        entity_ids=[None] * rows,
        groups=resolve_groups([f"g{i % 12}" for i in range(rows)], clips),
        folds=np.arange(rows) % 12 // 4,
        fold_names=["0", "1", "2"],
        labels=labels,
        preds=guesses[None],
        seeds=[seed],
    )


def ended(head: str, predictions: Predictions | None, seed: int = 0, reason: str = "", **report: Any) -> Ended:
    short = {"seconds": 1.5, "parameters": 7, "warnings": [], "intervals_widened": 1.0, **report}
    return Ended(Cell(head, {"audio": "a.x"}, seed, "key"), short, predictions, reason)


GRID = [
    ended("middling", found(1.0), warnings=["Weights are random."]),
    ended("good", found(0.2), control={"ok": True}),
    ended("bad", found(3.0), control={"ok": False}),
    ended("broken", None, reason="No."),
]


def test_the_best_is_first_also_where_less_is_better() -> None:
    for task in (TASK, replace(TASK, metric="mse")):
        board = leaderboard(task, GRID, resamples=50)
        assert [one.head for one in board.entries] == ["good", "middling", "bad"]
        assert board.failed == [{"head": "broken", "inputs": {"audio": "a.x"}, "seed": 0, "reason": "No."}]


def test_tests_are_the_paired_ones_adjusted_by_holm() -> None:
    board = leaderboard(TASK, GRID, resamples=200)
    best, *others = board.entries
    assert best.versus is None
    for one in others:
        own, theirs = one.predictions, best.predictions
        alone = compare(own.preds, theirs.preds, own.labels, own.folds, own.groups, ["ccc"], resamples=200)["ccc"]
        assert one.versus == alone
        assert one.versus.better == "second"
    assert [one.p_holm for one in others] == holm([one.versus.p_permutation for one in others])
    assert others[1].p_holm < 0.05


def test_holm_is_monotone_and_never_above_1() -> None:
    assert holm([0.5, 0.9, 0.02, None]) == [1.0, 1.0, pytest.approx(0.06), None]
    assert holm([]) == []


def test_intervals_are_widened_as_those_of_the_cells() -> None:
    plain = leaderboard(TASK, GRID[:1]).entries[0].scores["ccc"]
    wide = leaderboard(TASK, [ended("middling", found(1.0), intervals_widened=1.5)]).entries[0].scores["ccc"]
    assert wide.mean == plain.mean
    assert wide.mean - wide.low == pytest.approx(1.5 * (plain.mean - plain.low))


def test_seeds_are_averaged_and_tests_take_those_in_common() -> None:
    grid = [
        *(ended("good", found(0.2, s), s) for s in (0, 1)),
        ended("bad", found(2.0, 1), 1),
        ended("bad", None, 0, "No."),
    ]
    board = leaderboard(TASK, grid, resamples=50)
    assert [one.seeds for one in board.entries] == [(0, 1), (1,)]
    assert board.entries[0].seconds == 3.0
    each = board.entries[0].scores["ccc"].per_seed
    assert board.entries[0].scores["ccc"].mean == pytest.approx(np.mean(each))
    assert board.entries[1].versus.second == pytest.approx(each[1])
    assert any("different seeds" in note for note in board.notes)


def test_an_entry_without_a_score_is_last_and_says_so_everywhere() -> None:
    task = replace(TASK, metric="r2")
    board = leaderboard(task, [ended("flat", found(0.0, constant=True)), *GRID], resamples=20)
    assert board.entries[-1].head == "flat"
    content = board.to_json()
    assert content["entries"][-1]["metrics"]["r2"]["mean"] is None
    assert content["entries"][-1]["no_test"] == "Its score, or the best one, is undefined."
    json.dumps(content, allow_nan=False)
    assert "undefined" in board.to_text()
    assert "nan" not in (board.to_text() + page(content)).lower()
    rows = list(csv.DictReader(io.StringIO(table(content))))
    assert [row["r2"] for row in rows if row["head"] == "flat"] == [""]
    assert [row["failed"] for row in rows if row["head"] == "broken"] == ["No."]


def test_alarms_of_controls_and_warnings_are_told_with_their_entry() -> None:
    text = leaderboard(TASK, GRID, resamples=20).to_text()
    assert "Control: bad on a.x: in 1 of 1 cells shuffled labels were predicted better than chance" in text
    assert "Warning: middling on a.x: Weights are random." in text
    assert "Failed: broken on a.x, seed 0: No." in text
    assert "The best of 3 entries" in text


def test_predictions_of_a_cell_come_back_whole(tmp_path) -> None:
    class Report:
        predictions = replace(
            found(0.5, rows=24),
            clip_ids=[f"a\0b,'{i}'\n" for i in range(24)],
            entity_ids=[None, "P"] * 12,
            times=np.arange(24) / 4,
        )

        def to_json(self) -> dict[str, Any]:
            return {"seconds": 2.0, "warnings": ["é"], "n": 24, "runs": "left out"}

    cell = Cell("mlp", {"audio": "a/b.x"}, 3, "k1")
    write_done(tmp_path, cell, Report())
    back = read_done(tmp_path, cell)
    assert back is not None
    assert back.report == {"seconds": 2.0, "warnings": ["é"], "n": 24}
    for name, value in vars(Report.predictions).items():
        if name != "groups":
            np.testing.assert_array_equal(np.asarray(getattr(back.predictions, name)), np.asarray(value))
    assert read_done(tmp_path, replace(cell, key="k2")) is None
    write_failed(tmp_path, cell, "No.")
    assert read_done(tmp_path, cell) is None
