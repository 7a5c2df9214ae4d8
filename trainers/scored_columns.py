"""Which columns of a predictions file and of its truth hold what: by name, or as they are usually called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..store.errors import BadInput

# Columns that name a row, where the caller names none; those that are there.
IDS = ("clip_id", "entity_id", "time_s")
OTHER_IDS = ("File_ID", "file_id", "id", "filename")


@dataclass(frozen=True)
class Columns:
    """Which columns to read; empty or None for what is found by its usual name.

    Args:
        ids: together they name a row: by default those of clip_id, entity_id, time_s that there are, else File_ID, id.
        predictions: by default `prediction`, or `prediction_<output>` for several outputs.
        targets: by default `label`, or `label_<output>`; with a truth file also what is named like the predictions.
        group: by default `group_id`, else the first id column.
        split: only rows of the truth with this value in the column `split` count, and each must be predicted.
        positive: the class that counts as positive for metrics of scores.
        tidy: what to make of an id before ids are compared.
    """

    ids: Sequence[str] = ()
    predictions: Sequence[str] = ()
    targets: Sequence[str] = ()
    group: str | None = None
    split: str | None = None
    positive: str | None = None
    tidy: Callable[[str], str] | None = None


def is_chance(name: str) -> bool:
    return name.startswith("probability_") or name == "score"


def prediction_columns(path: Path, header: list[str], columns: Columns) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns with predictions, and the names of the outputs (none for a single one)."""
    start = "prediction_"
    if columns.predictions:
        names = tuple(columns.predictions)
    elif "prediction" in header:
        names = ("prediction",)
    else:
        names = tuple(name for name in header if name.startswith(start)) or tuple(n for n in header if n == "score")
    if not names:
        raise BadInput(
            f"Predictions were to be read from `{path}`.",
            f"It has no column `prediction` or `prediction_…`, but {', '.join(f'`{name}`' for name in header[:12])}.",
            "Name the column: --prediction COLUMN (again for each of several outputs).",
        )
    return names, tuple(name.removeprefix(start) for name in names) if len(names) > 1 else ()


def target_columns(
    path: Path, truth: Path | None, header: list[str], names: Sequence[str], outputs: Sequence[str], columns: Columns
) -> tuple[str, ...]:
    """Return the columns with the truth, one for each output."""
    targets = tuple(columns.targets)
    if not targets and outputs:
        candidates = [tuple(f"label_{output}" for output in outputs), tuple(outputs)]
        targets = next((one for one in candidates if set(one) <= set(header) and one != tuple(names)), ())
    elif not targets:
        targets = ("label",) if "label" in header else ()
    if len(targets) != len(names):
        named = f" ({','.join(targets)})" if targets else ""
        raise BadInput(
            f"What is true was to be read from `{truth or path}`.",
            f"There are {len(names)} columns of predictions ({', '.join(names)}) and {len(targets)} of targets{named}; "
            "its columns are "
            f"{', '.join(f'`{name}`' for name in header[:12])}.",
            "Name the column, once for each output: --target COLUMN"
            + ("" if truth else "; or the file that has it: --truth CSV"),
        )
    return targets


def id_columns(
    path: Path, header: list[str], known: list[str], truth: Path | None, columns: Columns
) -> tuple[str, ...]:
    """Return the columns that name a row; none where there is no truth file and no such column."""
    if columns.ids:
        return tuple(columns.ids)
    both = [name for name in header if name in known]
    ids = tuple(name for name in IDS if name in both) or tuple(name for name in OTHER_IDS if name in both)[:1]
    if truth is not None and not ids:
        raise BadInput(
            f"The predictions `{path}` were to be matched with `{truth}`.",
            f"No column of both is called {', '.join((*IDS, *OTHER_IDS[:1]))}; both have {', '.join(both) or 'none'}.",
            "Name the column of the ids: --id COLUMN",
        )
    return ids
