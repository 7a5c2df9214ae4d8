"""Scored rows as the arrays that metrics take: numbers, class ids, or real scores against 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .csv_table import number
from .scored_rows import ScoredRows

CHANCE = "probability_"


@dataclass(frozen=True, eq=False)
class Values:
    """What metrics of one kind take.

    Args:
        preds: (S, N), or (S, N, K) for K outputs.
        target: (N,) or (N, K).
        classes: names of the class ids; of scores, what 0 and 1 stand for; empty for regression.
        notes: sentences that a reader must not miss.
    """

    preds: npt.NDArray[Any]
    target: npt.NDArray[Any]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def kind_of(rows: ScoredRows) -> str:
    """Return `classes` if there are probabilities, or anything that is no number, else `regression`."""
    if rows.outputs:
        return "regression"
    if any(name.startswith(CHANCE) for name in rows.predictions.header):
        return "classes"
    predicted, true = rows.texts()
    plain = all(number(cell) is not None for cells in (*predicted, true) for cell in cells)
    return "regression" if plain else "classes"


def values_of(rows: ScoredRows, kind: str) -> Values:
    """Return the arrays for metrics of a kind.

    Args:
        rows: see `read_scored_rows`.
        kind: `regression`, `classes` or `scores`.

    Raises:
        BadInput: cells that are no numbers, with their lines; several outputs where there can be one; it is not known
            which class is the positive one.
    """
    if kind == "regression":
        return _numbers(rows)
    if rows.outputs:
        raise BadInput(
            f"Metrics of {kind} were asked for.",
            f"There are {len(rows.outputs)} outputs: {', '.join(rows.outputs[:8])}.",
            "Name one column of predictions and one of targets.",
        )
    return _classes(rows) if kind == "classes" else _scores(rows)


def _numbers(rows: ScoredRows) -> Values:
    preds = [
        [rows.predictions.numbers(name, chosen) for name in rows.prediction_columns] for chosen in rows.row_of.tolist()
    ]
    target = [rows.truth.numbers(name, rows.truth_of.tolist()) for name in rows.target_columns]
    if rows.outputs:
        return Values(np.moveaxis(np.array(preds), 1, 2), np.stack(target, axis=-1))
    return Values(np.array(preds)[:, 0], target[0])


def _classes(rows: ScoredRows) -> Values:
    predicted, true = rows.texts()
    chances = [name.removeprefix(CHANCE) for name in rows.predictions.header if name.startswith(CHANCE)]
    spell, names = _names(chances, [cell for cells in (*predicted, true) for cell in cells])
    code = {name: i for i, name in enumerate(names)}
    preds = np.array([[code[spell(cell)] for cell in cells] for cells in predicted], dtype=np.int64)
    target = np.array([code[spell(cell)] for cell in true], dtype=np.int64)
    notes: tuple[str, ...] = ()
    if not np.intersect1d(preds, target).size:
        first = [names[codes.ravel()[0]] for codes in (preds, target)]
        notes = (
            f"No predicted class (such as {first[0]!r}) occurs among the true ones (such as {first[1]!r}): every row "
            "is wrong, or classes are called differently.",
        )
    return Values(preds, target, names, notes)


def _scores(rows: ScoredRows) -> Values:
    _, true = rows.texts()
    chances = [name for name in rows.predictions.header if name.startswith(CHANCE)]
    spell, names = _names([name.removeprefix(CHANCE) for name in chances], true)
    wanted = None if rows.positive is None else spell(rows.positive)
    if wanted is None and set(names) <= {"0", "1"}:
        wanted = "1"
    elif wanted is None and len(names) == 2:
        wanted = names[1]
    if wanted is None or (wanted not in names and wanted != "1"):
        raise BadInput(
            "Scores were to be compared with a positive class and all others.",
            f"{'No class was named' if wanted is None else f'The class {wanted!r} was named'}; the target has "
            f"{', '.join(map(repr, names[:8]))}.",
            "Name the positive one: --positive CLASS",
        )
    column = rows.prediction_columns[0]
    if column == "prediction":
        fitting = [name for name in chances if spell(name.removeprefix(CHANCE)) == wanted]
        column = next(iter([*fitting, *(["score"] if "score" in rows.predictions.header else [])]), column)
    preds = np.array([rows.predictions.numbers(column, chosen) for chosen in rows.row_of.tolist()])
    target = np.array([spell(cell) == wanted for cell in true], dtype=np.int64)
    note = f"Positive is {wanted!r}, everything else negative; the score is the column `{column}`."
    return Values(preds, target, (f"not {wanted}", wanted), (note,))


def _names(first: Sequence[str], cells: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """Return how a cell is spelled as a class, and the names of all classes.

    Where all are numbers, 1 and 1.0 are one class, and classes are in the order of the numbers; else in code-point
    order. Names in `first` (those of probabilities) come first, in their order.
    """
    every = dict.fromkeys([*first, *cells])
    if None not in map(number, every):
        spelled = {name: _spelled(name) for name in every}
        return lambda cell: spelled.get(cell) or _spelled(cell), tuple(sorted(set(spelled.values()), key=float))
    given = dict.fromkeys(first)
    return str, (*given, *sorted(every.keys() - given.keys()))


def _spelled(cell: str) -> str:
    """Return a number in one spelling, anything else as it stands."""
    value = number(cell)
    return cell if value is None else f"{value:.17g}"
