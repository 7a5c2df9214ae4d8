"""What is to be predicted: label columns of the clips table as numbers, or one as class ids.

Source for classes derived from a score: SEMPI's label builder (3 equally wide classes of its range, or the
sign). Its class labels were made from each annotator's answer; ours from the final score, which is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store import BadInput, Clip, ClipsTable, NotFound
from ..store.errors import nearest
from .tasks import Task

# Labels are often decimal fractions with rounding in their last digit.
SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class Target:
    """The labels of those clips that have one.

    Args:
        names: of the columns of the clips table.
        clips: (N,).
        values: (N,) float32, (N, K) for K columns, or (N,) int64 class ids.
        classes: names of the classes by id; empty for regression.
        unlabelled: clips without a label.
        notes: sentences for the report.
    """

    names: tuple[str, ...]
    clips: tuple[Clip, ...]
    values: npt.NDArray[Any]
    classes: tuple[str, ...] = ()
    unlabelled: tuple[Clip, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def column(self) -> str:
        """The columns in words."""
        return ", ".join(self.names)

    @property
    def outputs(self) -> int:
        """How many outputs a head needs."""
        return len(self.classes) or len(self.names)


def read_target(
    task: Task, table: ClipsTable, column: str | Sequence[str] | None = None, classes: int | None = None
) -> Target:
    """Read the labels of a task.

    Args:
        task: says the default columns and the kind.
        table: the clips.
        column: another label column, or several. A clip counts as labelled if it has a label in each.
        classes: for classes: derive so many from a score. None: the column holds class numbers 0, 1, … or
            names.

    Raises:
        NotFound: if there is no such column.
        BadInput: if no clip has a label, or the labels do not fit the task.
    """
    columns = (column,) if isinstance(column, str) else tuple(column or task.targets)
    asked = f"Task `{task.name}` takes its labels from the column{'s'[: len(columns) - 1]} `{', '.join(columns)}`."
    absent = next((name for name in columns if name not in table.label_columns), None)
    if absent is not None:
        named = f" `{absent}`" if len(columns) > 1 else ""
        raise NotFound(
            asked, f"The clips table has no such label column{named}.", nearest(absent, list(table.label_columns))
        )
    clips = tuple(clip for clip in table if all(clip.labels.get(name) is not None for name in columns))
    unlabelled = tuple(clip for clip in table if any(clip.labels.get(name) is None for name in columns))
    if not clips:
        raise BadInput(asked, f"None of {len(table)} clips has a label there.", "Name another with --target.")
    if task.kind == "classes":
        if len(columns) > 1:
            raise BadInput(asked, "Classes can be predicted for one column only.", "Name one with --target.")
        labels = [clip.labels[columns[0]] for clip in clips]
        values, names, notes = _class_labels(task, labels, table.label_columns[columns[0]], classes, asked)
        return Target(columns, clips, values, names, unlabelled, notes)
    if classes is not None:
        raise BadInput(
            asked, f"{classes} classes were asked for.", f"Use another task: `{task.name}` predicts numbers."
        )
    for name in columns:
        if table.label_columns[name] != "number":
            found = f"It holds text, such as {clips[0].labels[name]!r}."
            raise BadInput(asked, found, "Name a column of numbers with --target.")
    numbers = np.array([[clip.labels[name] for name in columns] for clip in clips], dtype=np.float64)
    _check_numbers(numbers, clips, asked)
    return Target(columns, clips, (numbers if len(columns) > 1 else numbers[:, 0]).astype(np.float32), (), unlabelled)


def _check_numbers(numbers: npt.NDArray[np.float64], clips: Sequence[Clip], asked: str) -> None:
    bad = np.flatnonzero((~np.isfinite(numbers) | (np.abs(numbers) > np.finfo(np.float32).max)).any(1))
    if bad.size:
        first = clips[int(bad[0])]
        raise BadInput(
            asked,
            f"{bad.size} labels are NaN, infinite or too large, the first for clip {first.clip_id!r}.",
            "Mend them; leave a cell empty if there is no label.",
        )


def _class_labels(
    task: Task, labels: Sequence[Any], kind: str, classes: int | None, asked: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...], tuple[str, ...]]:
    """Return class ids (N,), names of the classes, and notes."""
    allowed = task.allowed
    if classes is not None and classes not in task.classes:
        raise BadInput(asked, f"{classes} classes were asked for.", f"It knows {allowed}.")
    if kind == "text":
        names = tuple(sorted({str(label) for label in labels}))
        if classes not in (None, len(names)) or len(names) not in task.classes:
            shown = ", ".join(repr(name) for name in names[:5])
            raise BadInput(
                asked, f"It has {len(names)} different texts: {shown} ….", f"Use a column with {allowed} classes."
            )
        return np.array([names.index(str(label)) for label in labels], dtype=np.int64), names, ()
    numbers = np.array(labels, dtype=np.float64)
    whole = bool((numbers == np.floor(numbers)).all()) and numbers.min() >= 0
    if whole and (classes is None or numbers.max() < classes):
        count = int(numbers.max()) + 1 if classes is None else classes
        if numbers.max() < max(task.classes) and count == 1:
            raise BadInput(asked, "All its labels are 0.", "Classes need at least two different labels.")
        if count in task.classes:
            return numbers.astype(np.int64), tuple(map(str, range(count))), ()
    if classes is None:
        raise BadInput(
            asked,
            f"It holds numbers that are not the classes 0, 1, …: {numbers.min():g} to {numbers.max():g}.",
            f"Derive {allowed} classes from a score with --classes, or name a column of classes with --target.",
        )
    ids = classes_of_score(numbers, classes, task.score_range or (0.0, 0.0), asked)
    note = f"{classes} classes were derived from the score `{asked.split('`')[3]}`."
    return ids, _names(classes), (note,)


def _names(classes: int) -> tuple[str, ...]:
    return ("low", "high") if classes == 2 else ("low", "middle", "high")


def classes_of_score(
    scores: npt.NDArray[np.float64],
    classes: int,
    score_range: tuple[float, float],
    asked: str = "A score was to be classed.",
) -> npt.NDArray[np.int64]:
    """Return the class of each score.

    Args:
        scores: (N,).
        classes: 2: below zero, or zero and above; 3: equal thirds of the range, a bound belonging to the lower
            class.
        score_range: lowest and highest score.
        asked: first sentence of an error.

    Returns:
        (N,) int64.

    Raises:
        BadInput: if a score is outside the range.

    Example:
        >>> classes_of_score(np.array([-0.4, -0.1, 0.0, 0.4]), 3, (-0.4, 0.4))
        array([0, 1, 1, 2])
        >>> classes_of_score(np.array([-0.4, -0.1, 0.0, 0.4]), 2, (-0.4, 0.4))
        array([0, 0, 1, 1])
    """
    low, high = score_range
    if not (scores.min() >= low - SLACK and scores.max() <= high + SLACK):
        raise BadInput(
            asked,
            f"Its scores go from {scores.min():g} to {scores.max():g}; classes are derived from {low:g} to {high:g}.",
            "Rescale the scores, or name a column of classes with --target.",
        )
    if classes == 2:
        return (scores >= 0).astype(np.int64)
    bounds = [low + (high - low) * i / classes for i in range(1, classes)]
    return np.searchsorted(np.array(bounds), scores, side="left").astype(np.int64)
