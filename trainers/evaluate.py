"""Score a predictions file, cuebank's own or any other, and write what came out.

Forms: `csv` (any CSV with named columns; `predictions.csv` of a training run or of `predict`), `ava` (active speakers,
two files, official protocol), `muse-reaction` (File_ID and seven emotions). Metrics of a file are those of its task, of
its kind, or the ones that are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..store.errors import BadInput
from .csv_table import SHOWN, number, read_header
from .evaluate_against import compare_rows
from .evaluate_ava import evaluate_ava
from .evaluation import Evaluation
from .intervals import RESAMPLES, Score, score_with_intervals
from .metrics import metric
from .metrics.confusion import confusion
from .metrics.confusion_bins import confusion_bins
from .paired import Paired
from .scored_columns import Columns
from .scored_rows import ScoredRows, read_scored_rows
from .scored_values import Values, kind_of, values_of
from .submission import EMOTIONS, FILE_ID, bare_id
from .tasks import task as find_task

FORMS = ("auto", "csv", "ava", "muse-reaction")
METRICS = {
    "regression": ("ccc", "pearson", "r2", "mse", "mae"),
    "classes": ("macro_f1", "f1_weighted", "balanced_accuracy", "accuracy"),
    "scores": ("average_precision", "roc_auc"),
}
# Resamples x rows that ranked scores are resampled for without being asked: some seconds.
AFFORDABLE = 200_000_000


def evaluate(
    predictions: str | Path,
    truth: str | Path | None = None,
    *,
    form: str = "auto",
    task: str | None = None,
    metrics: Sequence[str] = (),
    columns: Columns | None = None,
    against: str | Path | None = None,
    parts: Mapping[str, Sequence[str]] | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Score a predictions file.

    Args:
        predictions: CSV.
        truth: CSV with the targets, matched by id; None where the predictions file has them.
        form: one of `FORMS`; `auto` goes by the columns.
        task: name (or TOML file) of a task, whose metrics and target are taken; None: by what is in the file.
        metrics: names, in place of the task's.
        columns: which columns to read; None for those with the usual names.
        against: other predictions for the same rows, which paired tests compare with.
        parts: for `ava`: name -> ids of videos to be scored by themselves; None for UniTalk's sub-categories.
        resamples: of intervals and tests; 0 for none; None for 1000, or none where that would take minutes.
        seed: of the resamples.

    Raises:
        NotFound: a file, a column, a metric or a task is not there.
        BadInput: rows are malformed, repeated or without truth, or values do not fit the metrics.
    """
    path, known = Path(predictions), None if truth is None else Path(truth)
    other = None if against is None else Path(against)
    if form not in FORMS:
        raise BadInput(f"Predictions in the form `{form}` were asked for.", "There is none.", f"Known: {FORMS}.")
    form = _form(path) if form == "auto" else form
    usual = "reaction" if form == "muse-reaction" else None
    chosen = None if task is None and usual is None else find_task(task or usual or "")
    if form == "ava":
        known = _check_ava(path, known, metrics, columns)
        return evaluate_ava(path, known, metrics or ("map_ava",), other, parts, _affordable(resamples), seed, task)
    if parts is not None:
        raise BadInput(f"`{path}` was to be scored by lists of videos.", f"It is {form}.", "They are for ava.")
    columns = _columns(columns or Columns(), path, form, chosen, known is not None)
    rows = read_scored_rows(path, known, columns)
    if chosen is not None and rows.positive is None and chosen.positive in set(rows.texts()[1]):
        rows = replace(rows, positive=chosen.positive)
    names = tuple(metrics) or (chosen.metrics if chosen is not None else METRICS[kind_of(rows)])
    wanted = _by_kind(names)
    values = {kind: values_of(rows, kind) for kind in wanted}
    notes = [*rows.notes, *rows.groups.notes, *(note for one in values.values() for note in one.notes)]
    by_output, by_group = _per_output(rows, values, wanted), _per_group(rows, values, wanted)
    notes += [*_undefined(by_output, "outputs"), *_undefined(by_group, "groups")]
    scores: dict[str, Score] = {}
    paired: dict[str, Paired] = {}
    for kind, of_kind in wanted.items():
        count = resamples if resamples is not None else RESAMPLES
        if kind == "scores":
            count = _affordable(resamples)(len(rows) * len(rows.seeds), notes)
        scores |= _score(rows, values[kind], of_kind, count, seed)
        if other is not None:
            paired |= compare_rows(rows, values[kind], kind, of_kind, other, known, columns, count, seed, notes)
    return Evaluation(
        predictions=str(path),
        truth=None if known is None else str(known),
        form=form,
        task=task,
        n=len(rows),
        groups=int(np.unique(rows.groups.codes).size),
        grouped=rows.grouped,
        seeds=rows.seeds,
        fold_names=rows.fold_names,
        metrics={name: scores[name] for name in names},
        per_output=by_output,
        per_group=by_group,
        tables=_tables(rows, values),
        against=None if other is None else str(other),
        paired={name: paired[name] for name in names if name in paired},
        notes=notes,
        pictures=_pictures(rows, values),
    )


def _form(path: Path) -> str:
    """Tell the form of a file by its columns."""
    header = read_header(path)
    if "frame_timestamp" in header and "score" in header:
        return "ava"
    if len(header) >= 9 and all(number(cell) is not None for cell in header[1:6]):
        return "ava"  # AVA's own files have no header
    return "muse-reaction" if {FILE_ID, *EMOTIONS} <= set(header) else "csv"


def _check_ava(path: Path, truth: Path | None, metrics: Sequence[str], columns: Columns | None) -> Path:
    """Return the ground truth; refuse what has no meaning for active speakers."""
    asked = f"The active-speaker predictions `{path}` were to be scored."
    if truth is None:
        raise BadInput(asked, "There is no ground truth beside them.", "Name it: --truth CSV")
    for name in metrics:
        if metric(name).kind != "scores":
            raise BadInput(asked, f"`{name}` is no metric of scores.", "Try map_ava.")
    if columns is not None and columns != Columns():
        raise BadInput(
            asked,
            "Columns, groups, a class or a split were named: the official protocol has its own, and groups are videos.",
            "Leave these options out, or score one file with --format csv.",
        )
    return truth


def _columns(columns: Columns, path: Path, form: str, chosen: Any, has_truth: bool) -> Columns:
    """Fill in what the form or the task says about columns that were not named."""
    if form == "muse-reaction":
        if not has_truth:
            raise BadInput(
                f"The MuSe-Reaction predictions `{path}` were to be scored.",
                "There is no label file beside them.",
                "Name it: --truth CSV",
            )
        filled = replace(columns, ids=columns.ids or (FILE_ID,), tidy=bare_id)
        return replace(filled, predictions=columns.predictions or EMOTIONS, targets=columns.targets or EMOTIONS)
    if chosen is not None and has_truth and not columns.targets:
        return replace(columns, targets=chosen.targets)
    return columns


def _affordable(resamples: int | None) -> Any:
    """Return `(rows, notes) -> resamples`: what was asked for, or 1000 if that is a matter of seconds."""

    def count(rows: int, notes: list[str]) -> int:
        if resamples is not None:
            return resamples
        if rows * RESAMPLES <= AFFORDABLE:
            return RESAMPLES
        notes.append(
            f"No intervals: {RESAMPLES} resamples of {rows} ranked rows would take minutes. Ask for them: "
            f"--resamples {RESAMPLES}"
        )
        return 0

    return count


def _by_kind(names: Sequence[str]) -> dict[str, list[str]]:
    """Sort metrics by their kind; a table is no score."""
    wanted: dict[str, list[str]] = {}
    for name in names:
        one = metric(name)
        if one.higher_is_better is None:
            raise BadInput(
                f"A score by `{name}` was asked for.",
                "That is a table.",
                "It is in the result of class metrics anyway.",
            )
        wanted.setdefault(one.kind, []).append(name)
    return wanted


def _score(rows: ScoredRows, values: Values, names: Sequence[str], resamples: int, seed: int) -> dict[str, Score]:
    return score_with_intervals(
        values.preds,
        values.target,
        rows.folds,
        rows.groups,
        names,
        fold_names=rows.fold_names,
        resamples=resamples,
        seed=seed,
    )


def _value(name: str, preds: Any, target: Any) -> float | None:
    """Score some rows of all seeds (S, n, …) and average; None if undefined."""
    value = float(np.mean([metric(name)(one, target) for one in preds]))
    return None if np.isnan(value) else value


def _per_output(
    rows: ScoredRows, values: Mapping[str, Values], wanted: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float | None]]:
    if not rows.outputs:
        return {}
    one = values["regression"]
    return {
        output: {name: _value(name, one.preds[..., k], one.target[:, k]) for name in wanted["regression"]}
        for k, output in enumerate(rows.outputs)
    }


def _per_group(
    rows: ScoredRows, values: Mapping[str, Values], wanted: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float | None]]:
    """Score the rows of each group by themselves, where there is a column of groups."""
    if rows.grouped is None:
        return {}
    order = np.argsort(rows.groups.codes, kind="stable")
    codes, starts = np.unique(rows.groups.codes[order], return_index=True)
    found = {}
    for code, members in zip(codes, np.split(order, starts[1:]), strict=True):
        found[rows.groups.names[code]] = {
            "n": int(members.size),
            **{
                name: _value(name, values[kind].preds[:, members], values[kind].target[members])
                for kind, names in wanted.items()
                for name in names
            },
        }
    return found


def _undefined(parts: Mapping[str, Mapping[str, float | None]], what: str) -> list[str]:
    """Say which scores of which parts do not exist."""
    notes = []
    for name in next(iter(parts.values()), {}):
        lost = [part for part, scores in parts.items() if scores[name] is None]
        if lost:
            named = ", ".join(lost[:SHOWN]) + (", …" if len(lost) > SHOWN else "")
            notes.append(
                f"{metric(name).title} is undefined in {len(lost)} of {len(parts)} {what} ({named}): "
                f"{metric(name).undefined}."
            )
    return notes


def _is_reaction(rows: ScoredRows) -> bool:
    return rows.outputs == EMOTIONS


def _tables(rows: ScoredRows, values: Mapping[str, Values]) -> dict[str, Any]:
    """Confusion matrices, rows truth, counts added over seeds."""
    tables: dict[str, Any] = {}
    if "classes" in values:
        one = values["classes"]
        counts = np.sum([confusion(preds, one.target, len(one.classes)) for preds in one.preds], axis=0)
        tables["confusion"] = {"classes": list(one.classes), "counts": counts.tolist()}
    if _is_reaction(rows):
        one = values["regression"]
        bins = [
            np.sum([confusion_bins(preds[:, k], one.target[:, k]) for preds in one.preds], axis=0).tolist()
            for k in range(len(EMOTIONS))
        ]
        tables["confusion_bins"] = dict(zip(EMOTIONS, bins, strict=True))
        strongest = [confusion(preds.argmax(axis=1), one.target.argmax(axis=1), len(EMOTIONS)) for preds in one.preds]
        tables["strongest"] = {"classes": list(EMOTIONS), "counts": np.sum(strongest, axis=0).tolist()}
    return tables


def _pictures(rows: ScoredRows, values: Mapping[str, Values]) -> dict[str, Any]:
    """Return what draws each picture, by file name."""
    from .heatmaps import heat_map
    from .plots import confusion_picture, scatter

    drawn: dict[str, Any] = {}
    title = rows.target_columns[0]
    if "classes" in values:
        one = values["classes"]
        drawn["confusion.png"] = partial(confusion_picture, one.preds, one.target, one.classes, title)
    if "regression" in values and not rows.outputs:
        one = values["regression"]
        drawn["predictions.png"] = partial(
            scatter, one.preds[0], one.target, rows.folds, rows.fold_names, title, _first_seed(rows)
        )
    if _is_reaction(rows):
        one = values["regression"]
        for k, emotion in enumerate(EMOTIONS):
            drawn[f"heatmap_{emotion}.png"] = partial(heat_map, one.preds[..., k], one.target[:, k], emotion)
    return drawn


def _first_seed(rows: ScoredRows) -> str:
    """Which of several seeds a picture shows; empty if there is one."""
    return f"seed {rows.seeds[0]}, the first of {len(rows.seeds)}" if len(rows.seeds) > 1 else ""
