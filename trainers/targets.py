"""What is to be predicted: a label column of the clips table as numbers, or as class ids.

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
        column: of the clips table.
        clips: (N,).
        values: (N,) float32, or int64 class ids.
        classes: names of the classes by id; empty for regression.
        unlabelled: clips without a label.
        notes: sentences for the report.
    """

    column: str
    clips: tuple[Clip, ...]
    values: npt.NDArray[Any]
    classes: tuple[str, ...] = ()
    unlabelled: tuple[Clip, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """How many outputs a head needs."""
        return len(self.classes) or 1


def read_target(task: Task, table: ClipsTable, column: str | None = None, classes: int | None = None) -> Target:
    """Read the labels of a task.

    Args:
        task: says the default column and the kind.
        table: the clips.
        column: another label column.
        classes: for classes: derive so many from a score. None: the column holds class numbers 0, 1, … or
            names.

    Raises:
        NotFound: if there is no such column.
        BadInput: if no clip has a label, or the labels do not fit the task.
    """
    column = column or task.target
    asked = f"Task `{task.name}` takes its labels from the column `{column}`."
    if column not in table.label_columns:
        raise NotFound(asked, "The clips table has no such label column.", nearest(column, list(table.label_columns)))
    clips = tuple(clip for clip in table if clip.labels.get(column) is not None)
    unlabelled = tuple(clip for clip in table if clip.labels.get(column) is None)
    if not clips:
        raise BadInput(asked, f"None of {len(table)} clips has a label there.", "Name another with --target.")
    labels = [clip.labels[column] for clip in clips]
    if task.kind == "classes":
        values, names, notes = _class_labels(task, labels, table.label_columns[column], classes, asked)
        return Target(column, clips, values, names, unlabelled, notes)
    if classes is not None:
        raise BadInput(
            asked, f"{classes} classes were asked for.", f"Use another task: `{task.name}` predicts numbers."
        )
    if table.label_columns[column] != "number":
        raise BadInput(asked, f"It holds text, such as {labels[0]!r}.", "Name a column of numbers with --target.")
    numbers = np.array(labels, dtype=np.float64)
    _check_numbers(numbers, clips, asked)
    return Target(column, clips, numbers.astype(np.float32), (), unlabelled)


def _check_numbers(numbers: npt.NDArray[np.float64], clips: Sequence[Clip], asked: str) -> None:
    bad = np.flatnonzero(~np.isfinite(numbers) | (np.abs(numbers) > np.finfo(np.float32).max))
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
    allowed = " or ".join(map(str, task.classes))
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
