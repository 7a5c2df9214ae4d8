"""Rows of a predictions file matched with their truth: what was predicted for which row, under which seed and fold.

The file may be cuebank's own `predictions.csv` or any other CSV with a header. Every row of it counts or is a typed
error with its line; rows of the truth that nobody predicted are counted and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .csv_table import Table, read_header, read_table
from .groups import Groups, Ints, resolve_groups
from .scored_columns import Columns, id_columns, is_chance, prediction_columns, target_columns

SPLIT = ("split", "Split")
SHORT = 3


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Predictions of S seeds for N rows, as text.

    Args:
        predictions: the file; `row_of` points into it.
        truth: where the targets are; the same table if there is no other file.
        keys: ids of each row and the name of its fold, N of them.
        row_of: the row of the predictions file for each seed and row, (S, N).
        truth_of: the row of the truth, (N,).
        seeds: as text, (S,); `("",)` where there is no such column.
        folds: number of the fold of each row, (N,), into `fold_names`.
        groups: of each row.
        grouped: the column that the groups come from; None where each row, or each id, is one.
        prediction_columns, target_columns: one for each output.
        outputs: their names; empty for a single one.
        positive: see `Columns`.
        notes: sentences that a reader must not miss.
    """

    predictions: Table
    truth: Table
    keys: list[tuple[str, ...]]
    row_of: Ints
    truth_of: Ints
    seeds: tuple[str, ...]
    folds: Ints
    fold_names: tuple[str, ...]
    groups: Groups
    grouped: str | None
    prediction_columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    outputs: tuple[str, ...]
    positive: str | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, rows: Ints) -> ScoredRows:
        """Return some rows, in this order."""
        changed = {
            "keys": [self.keys[row] for row in rows],
            "row_of": self.row_of[:, rows],
            "truth_of": self.truth_of[rows],
            "folds": self.folds[rows],
            "groups": Groups(self.groups.codes[rows], self.groups.names, self.groups.notes),
        }
        return ScoredRows(**{**vars(self), **changed})

    def texts(self) -> tuple[list[list[str]], list[str]]:
        """Return predictions (S, N) and targets (N,) of a single output as they stand."""
        cells = self.predictions.columns[self.prediction_columns[0]]
        truth = self.truth.columns[self.target_columns[0]]
        return [[cells[row] for row in rows] for rows in self.row_of], [truth[row] for row in self.truth_of]


def read_scored_rows(path: Path, truth: Path | None, columns: Columns) -> ScoredRows:
    """Read predictions, and the truth from the same or another file, and match them.

    Args:
        path: of the predictions.
        truth: CSV with the same id columns and the targets; None: the predictions file has them.
        columns: which to read.

    Raises:
        NotFound: a file or a column is not there.
        BadInput: rows are repeated, without truth or malformed, or seeds do not have the same rows.
    """
    header = read_header(path)
    known_header = header if truth is None else read_header(truth)
    names, outputs = prediction_columns(path, header, columns)
    targets = target_columns(path, truth, known_header, names, outputs, columns)
    ids = id_columns(path, header, known_header, truth, columns)
    wanted = {*names, *ids, "fold", "seed", "seen", "group_id", columns.group or ""}
    wanted |= {name for name in header if is_chance(name)}
    known_wanted = {*targets, *ids, *SPLIT, "group_id", columns.group or ""}
    found = read_table(path, wanted | (known_wanted if truth is None else set()))
    known = found if truth is None else read_table(truth, known_wanted)
    for name in names:
        found.need(name, "What was predicted")
    for name in targets:
        known.need(name, "What is true")
    for name in ids:
        found.need(name, "The id of each row")
    notes: list[str] = []
    truth_rows = _truth_rows(found, known, ids, targets, columns, notes)
    kept = [row for row, place in enumerate(truth_rows) if place is not None]
    if not kept:
        raise BadInput(
            f"`{path}` was to be scored.", "No row of it has a truth to be scored against.", "Check the ids."
        )
    empty = [f"line {found.lines[row]}" for row in kept if _blank(found, names, row)]
    if empty:
        found.refuse(f"the prediction {', '.join(names)} must not be empty", empty)
    keys, row_of, seeds = _by_seed(found, ids, kept, columns)
    of_truth = np.array([truth_rows[row] for row in row_of[0]], dtype=np.int64)
    _refuse_other_labels(found, known, row_of, targets)
    seen = sum(found.columns["seen"][row] == "1" for row in row_of[0]) if "seen" in found.columns else 0
    if seen:
        notes.append(f"{seen} of {len(keys)} rows were used to train or select the head: they score too well.")
    fold_names = tuple(dict.fromkeys(key[-1] for key in keys))
    fold_number = {name: i for i, name in enumerate(fold_names)}
    groups, grouped = _groups(found, known, row_of[0], of_truth, keys, ids, columns)
    if columns.split is not None or truth is not None:
        _note_unpredicted(known, of_truth, targets, columns, notes)
    return ScoredRows(
        predictions=found,
        truth=known,
        keys=keys,
        row_of=row_of,
        truth_of=of_truth,
        seeds=seeds,
        folds=np.array([fold_number[key[-1]] for key in keys], dtype=np.int64),
        fold_names=fold_names if fold_names != ("",) else ("all",),
        groups=groups,
        grouped=grouped,
        prediction_columns=names,
        target_columns=targets,
        outputs=outputs,
        positive=columns.positive,
        notes=notes,
    )


def _row_ids(table: Table, ids: Sequence[str], columns: Columns) -> list[tuple[str, ...]]:
    """Return what names each row; times by number, so that 0.5 is 0.50."""
    if not ids:
        return [(f"line {line}",) for line in table.lines]
    parts = []
    for name in ids:
        cells = table.columns[name]
        if name == "time_s":
            cells = [repr(float(value)) for value in table.numbers(name)]
        elif columns.tidy is not None:
            cells = [columns.tidy(cell) for cell in cells]
        parts.append(cells)
    named = list(zip(*parts, strict=True))
    wrong = [f"line {table.lines[row]}" for row, one in enumerate(named) if not one[0]]
    if wrong:
        table.refuse(f"the id column `{ids[0]}` must not be empty", wrong)
    return named


def _truth_rows(
    found: Table, known: Table, ids: Sequence[str], targets: Sequence[str], columns: Columns, notes: list[str]
) -> list[int | None]:
    """Return the row of the truth for each row of the predictions; None for one that has nothing to be scored on."""
    if known is found:
        blank = [f"line {line}" for row, line in enumerate(found.lines) if _blank(found, targets, row)]
        if blank:
            found.refuse(f"the target {', '.join(targets)} must not be empty", blank)
        return list(range(len(found)))
    for name in ids:
        known.need(name, "The id of each row")
    place: dict[tuple[str, ...], int] = {}
    twice = []
    for row, one in enumerate(_row_ids(known, ids, columns)):
        if place.setdefault(one, row) != row:
            twice.append(f"lines {known.lines[place[one]]} and {known.lines[row]} ({_shown(one)})")
    if twice:
        known.refuse(f"each row must have an id of its own ({', '.join(ids)})", twice)
    rows = [place.get(one) for one in _row_ids(found, ids, columns)]
    lost = [f"line {found.lines[row]}" for row, one in enumerate(rows) if one is None]
    if lost:
        found.refuse(f"each row must be in `{known.path}` (by {', '.join(ids)})", lost)
    split = _split_column(known, columns)
    outside = blank_count = 0
    for row, true in enumerate(rows):
        if true is not None and split is not None and known.columns[split][true] != columns.split:
            rows[row], outside = None, outside + 1
        elif true is not None and _blank(known, targets, true):
            rows[row], blank_count = None, blank_count + 1
    if outside:
        notes.append(f"{outside} predictions are of other splits than {columns.split} and are not scored.")
    if blank_count:
        notes.append(f"{blank_count} predictions are of rows whose {', '.join(targets)} is empty; they are not scored.")
    return rows


def _split_column(known: Table, columns: Columns) -> str | None:
    if columns.split is None:
        return None
    name = next((one for one in SPLIT if one in known.columns), None)
    if name is None or columns.split not in known.columns[name]:
        values = ",".join(sorted(set(known.columns[name]))[:8]) if name else ""
        raise BadInput(
            f"Rows of the split {columns.split} were to be scored.",
            f"`{known.path}` has {f'the splits {values}' if name else 'no column `split`'}.",
            "Name a split that is there, or leave --split out.",
        )
    return name


def _blank(table: Table, targets: Sequence[str], row: int) -> bool:
    return any(not table.columns[name][row].strip() for name in targets)


def _shown(one: Sequence[str]) -> str:
    return ", ".join(part for part in one if part)


def _note_unpredicted(known: Table, of_truth: Ints, targets: Sequence[str], columns: Columns, notes: list[str]) -> None:
    """Say how many rows of the truth nobody predicted; of a split that was asked for there must be none."""
    split = _split_column(known, columns)
    predicted = np.zeros(len(known), dtype=bool)
    predicted[of_truth] = True
    lost = [
        row
        for row in np.flatnonzero(~predicted).tolist()
        if not _blank(known, targets, row) and (split is None or known.columns[split][row] == columns.split)
    ]
    if lost and split is not None:
        known.refuse(
            f"every row of the split {columns.split} must be predicted", [f"line {known.lines[r]}" for r in lost]
        )
    if lost:
        lines = ", ".join(str(known.lines[row]) for row in lost[:SHORT]) + (", …" if len(lost) > SHORT else "")
        notes.append(f"{len(lost)} rows of the truth have no prediction and are not scored (lines {lines}).")


def _by_seed(
    found: Table, ids: Sequence[str], kept: Sequence[int], columns: Columns
) -> tuple[list[tuple[str, ...]], Ints, tuple[str, ...]]:
    """Return the keys of the rows, the row of the file for each seed and key (S, N), and the seeds."""
    named = _row_ids(found, ids, columns)
    folds, seeds = found.columns.get("fold"), found.columns.get("seed")
    by_seed: dict[str, dict[tuple[str, ...], int]] = {}
    twice = []
    for row in kept:
        key = (*named[row], folds[row] if folds else "")
        rows = by_seed.setdefault(seeds[row] if seeds else "", {})
        if rows.setdefault(key, row) != row:
            twice.append(f"lines {found.lines[rows[key]]} and {found.lines[row]} ({_shown(key)})")
    if twice:
        also = [name for name, cells in (("fold", folds), ("seed", seeds)) if cells]
        found.refuse(f"each row must be there once (by {', '.join((*ids, *also))})", twice)
    first, *others = by_seed.values()
    for seed, rows in zip(list(by_seed)[1:], others, strict=True):
        if rows.keys() != first.keys():
            odd = next(iter(rows.keys() ^ first.keys()))
            raise BadInput(
                f"`{found.path}` was read with {len(by_seed)} seeds.",
                f"Seed {seed} has {len(rows)} rows and seed {next(iter(by_seed))} has {len(first)}; only one of them "
                f"has {_shown(odd)}.",
                "Every seed must predict the same rows.",
            )
    keys = list(first)
    return keys, np.array([[rows[key] for key in keys] for rows in by_seed.values()], dtype=np.int64), tuple(by_seed)


def _refuse_other_labels(found: Table, known: Table, row_of: Ints, targets: Sequence[str]) -> None:
    """Refuse a predictions file with labels of its own that differ between seeds."""
    if known is not found:
        return
    for name in targets:
        cells = found.columns[name]
        wrong = [
            f"lines {found.lines[rows[0]]} and {found.lines[row]}: {cells[rows[0]]!r} and {cells[row]!r}"
            for rows in row_of.T.tolist()
            for row in rows[1:]
            if cells[row] != cells[rows[0]]
        ]
        if wrong:
            found.refuse(f"`{name}` of a row must be the same under every seed", wrong)


def _groups(
    found: Table,
    known: Table,
    rows: npt.NDArray[np.int64],
    of_truth: Ints,
    keys: Sequence[tuple[str, ...]],
    ids: Sequence[str],
    columns: Columns,
) -> tuple[Groups, str | None]:
    """Return the group of each row, and the column that they come from."""
    name = columns.group or "group_id"
    if name in known.columns:
        cells = [known.columns[name][row] for row in of_truth]
    elif name in found.columns:
        cells = [found.columns[name][row] for row in rows]
    elif columns.group is not None:
        known.need(name, "The group of each row")
        cells = []
    else:
        cells = []
    own = [key[0] for key in keys]
    if any(cells):
        return resolve_groups([cell or None for cell in cells], own), name
    groups = resolve_groups([None] * len(own), own)
    what = f"each {ids[0]}" if ids else "each row"
    note = (
        f"There is no column of groups: {what} is its own group, so intervals are too narrow if one person or "
        "recording is in several. Name it: --group COLUMN"
    )
    return Groups(groups.codes, groups.names, (note,)), None
