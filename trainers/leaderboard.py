"""Who does best: the entries of a benchmark in order, each with its interval and a paired test against the best.

An entry is a head on a feature mix, over all its seeds together: scores are averaged over seeds, intervals resample
groups (see `intervals`). The tests (see `paired`) look at the rows and seeds that an entry and the best have in common.
Their p-values are those of the permutation, also adjusted for the number of entries by Holm's method. The best is
chosen on the very rows that it is then tested on: its own score is optimistic, the more so the more entries there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..store.errors import CuebankError
from .atomic import make_folder, write_atomic
from .benchmark_cells import Ended
from .groups import Groups
from .intervals import RESAMPLES, Score, interval_note
from .leaderboard_text import document, page, table, terminal
from .metrics import metric
from .paired import Paired, compare
from .predictions import Predictions
from .report import plain_json
from .tasks import Task

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Entry:
    """A head on a feature mix.

    Args:
        head, inputs: which.
        seeds: that were trained.
        scores: name -> score, over all seeds.
        predictions: of all seeds.
        seconds: wall time of all its cells; parameters: of one head.
        warnings: of its cells, each once.
        control: how many cells' controls scored like chance, and how many there were.
        versus: the test against the best; None for the best itself, and where there is none.
        p_holm: its p adjusted for the number of tests.
        reason: why there is no test.
    """

    head: str
    inputs: Mapping[str, str]
    seeds: tuple[int, ...]
    scores: Mapping[str, Score]
    predictions: Predictions
    seconds: float
    parameters: int
    warnings: tuple[str, ...] = ()
    control: tuple[int, int] = (0, 0)
    versus: Paired | None = None
    p_holm: float | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """The result of a benchmark.

    Args:
        task, task_version, metric: what was done, and by what it is judged.
        entries: the best first; those without a score last.
        failed: cells that could not be trained: head, inputs, seed, reason.
        notes: what a reader must not miss.
        names: of all metrics.
    """

    task: str
    task_version: int
    metric: str
    entries: Sequence[Entry]
    failed: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    names: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, undefined as null."""
        content = {
            "format": FORMAT,
            "task": self.task,
            "task_version": self.task_version,
            "metric": self.metric,
            "metrics": list(self.names),
            "entries": [self._entry(i, one) for i, one in enumerate(self.entries)],
            "failed": [dict(one) for one in self.failed],
            "notes": list(self.notes),
        }
        nulls: list[str] = []
        return {name: plain_json(value, name, nulls) for name, value in content.items()}

    def _entry(self, place: int, one: Entry) -> dict[str, Any]:
        return {
            "rank": place + 1,
            "head": one.head,
            "inputs": dict(one.inputs),
            "seeds": list(one.seeds),
            "n": len(one.predictions.clip_ids),
            "groups": one.predictions.tested_groups(),
            "metrics": {name: score.to_json() for name, score in one.scores.items()},
            "versus_best": None if one.versus is None else {**one.versus.to_json(), "p_holm": one.p_holm},
            "no_test": one.reason,
            "seconds": round(one.seconds, 3),
            "parameters": one.parameters,
            "control": {"ok": one.control[0], "of": one.control[1]},
            "warnings": list(one.warnings),
        }

    def to_text(self) -> str:
        """Return the leaderboard as aligned columns for a terminal."""
        return terminal(self.to_json())

    def write(self, folder: Path) -> None:
        """Write leaderboard.json, .md, .csv and .html; each file appears whole or not at all.

        Raises:
            BadInput: the folder's name belongs to a file.
        """
        make_folder(folder)
        content = self.to_json()
        write_atomic(folder / "leaderboard.md", document(content))
        write_atomic(folder / "leaderboard.csv", table(content))
        write_atomic(folder / "leaderboard.html", page(content))
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / "leaderboard.json", text + "\n")


def leaderboard(task: Task, ended: Sequence[Ended], resamples: int = RESAMPLES) -> Leaderboard:
    """Put the cells of a grid in order.

    Args:
        task: whose metrics judge.
        ended: all cells.
        resamples: of intervals and tests.
    """
    cells: dict[tuple[str, tuple[tuple[str, str], ...]], list[Ended]] = {}
    for one in ended:
        if one.predictions is not None:
            cells.setdefault((one.cell.head, tuple(one.cell.inputs.items())), []).append(one)
    one_metric = metric(task.metric)
    entries = [_entry(task, some, resamples) for some in cells.values()]
    ranked = sorted(entries, key=lambda entry: _rank(entry, task.metric, one_metric.higher_is_better))
    failed = [
        {"head": one.cell.head, "inputs": dict(one.cell.inputs), "seed": one.cell.seed, "reason": one.reason}
        for one in ended
        if one.predictions is None
    ]
    return Leaderboard(
        task=task.name,
        task_version=task.version,
        metric=task.metric,
        entries=_tested(ranked, task.metric, resamples),
        failed=failed,
        notes=_notes(ranked),
        names=task.metrics,
    )


def _rank(entry: Entry, name: str, higher: bool | None) -> tuple[bool, float]:
    mean = entry.scores[name].mean
    return mean is None, 0.0 if mean is None else (-mean if higher else mean)


def _entry(task: Task, cells: Sequence[Ended], resamples: int) -> Entry:
    found = _together([one.predictions for one in cells if one.predictions is not None])
    controls = [one.report["control"] for one in cells if one.report.get("control")]
    return Entry(
        head=cells[0].cell.head,
        inputs=cells[0].cell.inputs,
        seeds=tuple(found.seeds),
        scores=found.score(
            task.metrics, resamples=resamples, widen=float(cells[0].report.get("intervals_widened", 1.0))
        ),
        predictions=found,
        seconds=sum(float(one.report["seconds"]) for one in cells),
        parameters=int(cells[0].report.get("parameters", 0)),
        warnings=tuple(dict.fromkeys(text for one in cells for text in one.report["warnings"])),
        control=(sum(bool(one["ok"]) for one in controls), len(controls)),
    )


def _together(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several seeds for the same rows as one."""
    first = parts[0]
    chances = [one.probabilities for one in parts if one.probabilities is not None]
    return replace(
        first,
        preds=np.concatenate([one.preds for one in parts]),
        seeds=[seed for one in parts for seed in one.seeds],
        probabilities=np.concatenate(chances) if len(chances) == len(parts) else None,
    )


def _tested(ranked: Sequence[Entry], name: str, resamples: int) -> list[Entry]:
    """Return the entries with their tests against the first."""
    if not ranked:
        return []
    best, tested = ranked[0], [ranked[0]]
    for one in ranked[1:]:
        if best.scores[name].mean is None or one.scores[name].mean is None:
            tested.append(replace(one, reason="Its score, or the best one, is undefined."))
            continue
        try:
            tested.append(replace(one, versus=_versus(one.predictions, best.predictions, name, resamples)))
        except CuebankError as error:
            tested.append(replace(one, reason=error.found))
    adjusted = holm([None if one.versus is None else one.versus.p_permutation for one in tested])
    return [replace(one, p_holm=p) for one, p in zip(tested, adjusted, strict=True)]


def _versus(entry: Predictions, best: Predictions, name: str, resamples: int) -> Paired:
    """Test an entry against the best, on the rows and seeds that both have."""
    one = metric(name)
    place = {key: i for i, key in enumerate(_row_keys(best))}
    pairs = [(i, place[key]) for i, key in enumerate(_row_keys(entry)) if key in place]
    seeds = [seed for seed in entry.seeds if seed in best.seeds]
    mine, theirs = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    scored = []
    for found, rows in ((entry, mine), (best, theirs)):
        which = [list(found.seeds).index(seed) for seed in seeds]
        scored.append(found.scored(one.kind, [name])[which][:, rows])
    labels = entry.labels[mine]
    groups = Groups(entry.groups.codes[mine], entry.groups.names)
    return compare(scored[0], scored[1], labels, entry.folds[mine], groups, [name], resamples=resamples)[name]


def _row_keys(found: Predictions) -> list[tuple[Any, ...]]:
    times = [None] * len(found.clip_ids) if found.times is None else found.times.tolist()
    names = [found.fold_names[fold] for fold in found.folds.tolist()]
    return list(zip(found.clip_ids, found.entity_ids, times, names, strict=True))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number by Holm's method; None stays None and does not count.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = highest
    return adjusted


def _notes(ranked: Sequence[Entry]) -> list[str]:
    notes = []
    if len(ranked) > 1:
        notes.append(
            f"The best of {len(ranked)} entries was chosen on these rows: its score is optimistic, and p-values "
            "against it are too; p (Holm) is adjusted for the number of tests."
        )
        if len({len(one.predictions.clip_ids) for one in ranked}) > 1:
            notes.append("Entries have different rows (inputs are missing for some); tests use those in common.")
        if len({one.seeds for one in ranked}) > 1:
            notes.append("Entries have different seeds (some cells failed); tests use those in common.")
    if ranked:
        few = interval_note(min(one.predictions.tested_groups() for one in ranked))
        notes += [few] if few else []
    return notes
