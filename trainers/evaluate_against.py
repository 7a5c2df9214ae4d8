"""Paired tests of two predictions files, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..store.errors import BadInput
from .paired import Paired, compare
from .scored_columns import Columns
from .scored_rows import ScoredRows, read_scored_rows
from .scored_values import Values, values_of


def compare_rows(
    rows: ScoredRows,
    values: Values,
    kind: str,
    names: Sequence[str],
    other: Path,
    truth: Path | None,
    columns: Columns,
    resamples: int,
    seed: int,
    notes: list[str],
) -> dict[str, Paired]:
    """Test whether these predictions score differently from those of another file.

    Args:
        rows, values: of the first file, as arrays for metrics of `kind`.
        names: of metrics of that kind.
        other: the other file.
        truth, columns: as the first file was read with.
        resamples, seed: of the tests.
        notes: gets what a reader must not miss.

    Raises:
        BadInput: the files do not have the same rows, targets or number of seeds.
    """
    theirs = read_scored_rows(other, truth, columns)
    order, folds = _same_order(rows, theirs)
    if not folds and len(rows.fold_names) > 1:
        notes.append(f"`{other}` has other folds: the two are compared by their scores over all rows.")
    theirs = theirs.select(order)
    theirs_values = values_of(theirs, kind)
    preds, target = theirs_values.preds, theirs_values.target
    if kind == "classes" and theirs_values.classes != values.classes:
        # Classes that occur in one file only shift the numbers; put both on the names of both.
        names_of_both = tuple(dict.fromkeys([*values.classes, *theirs_values.classes]))
        code = np.array([names_of_both.index(name) for name in theirs_values.classes])
        preds, target = code[preds], code[target]
    wrong = np.flatnonzero(np.any((target != values.target).reshape(len(rows), -1), axis=1))
    if wrong.size:
        first = int(wrong[0])
        raise BadInput(
            f"`{rows.predictions.path}` and `{other}` were to be compared.",
            f"Their targets differ in {wrong.size} of {len(rows)} rows, first in {_named(rows.keys[first])}.",
            "Both must have been scored against the same truth; name it: --truth CSV",
        )
    if len(rows.seeds) != len(theirs.seeds):
        raise BadInput(
            f"`{rows.predictions.path}` and `{other}` were to be compared.",
            f"They have {len(rows.seeds)} and {len(theirs.seeds)} seeds.",
            "Compare equally many: seeds are paired in their order.",
        )
    numbers = rows.folds if folds else np.zeros(len(rows), dtype=np.int64)
    return compare(values.preds, preds, values.target, numbers, rows.groups, names, resamples=resamples, seed=seed)


def _same_order(rows: ScoredRows, theirs: ScoredRows) -> tuple[np.ndarray, bool]:
    """Return the places of `rows` among `theirs`, and whether folds are the same.

    Raises:
        BadInput: one has rows that the other has not.
    """
    place = {key: i for i, key in enumerate(theirs.keys)}
    if place.keys() == set(rows.keys):
        return np.array([place[key] for key in rows.keys], dtype=np.int64), True
    # Without the fold, which is last; of rows that were tested in several folds it is not known which is which.
    place = {key[:-1]: i for i, key in enumerate(theirs.keys)}
    own = [key[:-1] for key in rows.keys]
    if len(set(own)) == len(own) == len(place) == len(theirs) and place.keys() == set(own):
        return np.array([place[key] for key in own], dtype=np.int64), False
    odd = [key for key in own if key not in place] + [key for key in place if key not in set(own)]
    raise BadInput(
        f"`{rows.predictions.path}` and `{theirs.predictions.path}` were to be compared row by row.",
        f"They have {len(rows)} and {len(theirs)} rows"
        + (f"; {len(odd)} are in one of them only, first {_named(odd[0])}." if odd else " in other folds."),
        "Both must predict the same rows.",
    )


def _named(key: Sequence[str]) -> str:
    return ", ".join(part for part in key if part)
