"""Predictions in the forms that challenges take: the CSV of MuSe-Reaction, and that of AVA and UniTalk.

Source: MuSe 2022 Reaction sub-challenge (label file of Hume-Reaction); the evaluation tool of AVA ActiveSpeaker.
Numbers are written with the digits that bring them back: rounding scores would make ties, and the official
active-speaker figure depends on their order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..store.errors import BadInput, Conflict
from .atomic import make_folder, write_atomic
from .ava_csv import COLUMNS, SPEAKING, read_ava
from .ava_match import row_keys
from .csv_table import SHOWN, Reader

FILE_ID = "File_ID"
# Always in this order.
EMOTIONS = ("Adoration", "Amusement", "Anxiety", "Disgust", "Empathic-Pain", "Fear", "Surprise")


def bare_id(file_id: str) -> str:
    """Return a MuSe id without the brackets that its label files put around it.

    Example:
        >>> bare_id("[00001]"), bare_id("00001")
        ('00001', '00001')
    """
    return file_id[1:-1] if len(file_id) > 2 and file_id[0] == "[" and file_id[-1] == "]" else file_id


def write_reaction(path: Path, clip_ids: Sequence[str], preds: Any) -> None:
    """Write predicted intensities of the seven emotions as MuSe-Reaction takes them.

    Args:
        path: of the CSV file, replaced in one step: `File_ID`, in brackets as in the label file, and the emotions.
        clip_ids: (N,), with or without brackets.
        preds: (N, 7), in the order of `EMOTIONS`.

    Raises:
        BadInput: the shapes do not fit, an id is there twice, or values are not finite.
    """
    values = np.asarray(preds)
    names = [bare_id(name) for name in clip_ids]
    _check(values, (len(names), len(EMOTIONS)), "MuSe-Reaction")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise BadInput(
            f"{len(names)} predictions for MuSe-Reaction were to be written.",
            f"{len(twice)} ids are there twice, the first {twice[0]!r}.",
            "Give one prediction for each clip, e.g. the mean over seeds.",
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([FILE_ID, *EMOTIONS])
    for name, row in zip(names, values, strict=True):
        writer.writerow([f"[{name}]", *map(str, row)])
    _write(path, text)


def write_ava(path: Path, truth: Path, entity_ids: Sequence[str], times: Any, scores: Any) -> None:
    """Write active-speaker scores as the official tool takes them: the rows of the ground truth with a score each.

    Rows are found by entity and time, whatever order the scores have. Cells of the ground truth are written as they
    stand; its label becomes SPEAKING_AUDIBLE, and columns that are not asked for (label_id, instance_id) are left out.

    Args:
        path: of the CSV file, replaced in one step.
        truth: CSV of the ground truth.
        entity_ids: (N,), e.g. `<video id>:<number>`.
        times: seconds in the video as in the ground truth, (N,).
        scores: (N,), higher means rather speaking.

    Raises:
        NotFound: there is no such ground truth.
        BadInput: the shapes do not fit, values are not finite, a row is scored twice or there is no such row.
        Conflict: rows of the ground truth have no score.
    """
    values, stamps = np.asarray(scores), np.asarray(times, dtype=np.float64)
    _check(values, (len(entity_ids),), "active speakers")
    _check(stamps, (len(entity_ids),), "active speakers")
    known = read_ava(truth, predictions=False)
    names = tuple(dict.fromkeys(entity_ids))
    number = {name: i for i, name in enumerate(names)}
    entities = np.array([number[name] for name in entity_ids], dtype=np.int32)
    key, sought = row_keys(known.entities, known.entity_names, known.stamps, entities, names, stamps)
    asked = f"{len(entity_ids)} scores were to be written for the rows of `{truth}`."
    place = np.full(int(max(key.max(), sought.max(initial=0))) + 1, -1, dtype=np.int64)
    place[sought] = np.arange(sought.size)
    used = np.zeros(place.size, dtype=bool)
    used[key] = True
    strangers, again = np.flatnonzero(~used[sought]), np.flatnonzero(place[sought] != np.arange(sought.size))
    for rows, what in ((strangers, "are of no row of it"), (again, "are there twice")):
        if rows.size:
            shown = ", ".join(f"{entity_ids[row]} at {float(stamps[row])!r} s" for row in rows[:SHOWN])
            raise BadInput(asked, f"{rows.size} {what}: {shown}.", "Give one score for each row.")
    scored = place[key]
    lost = np.flatnonzero(scored < 0)
    if lost.size:
        raise Conflict(
            asked,
            f"{lost.size} of its {len(known)} rows have no score, the first {known.uid(int(lost[0]))} "
            f"(line {known.line(int(lost[0]))}); the official tool would refuse the file.",
            "Predict every face box; rows that a model skipped have to be filled on purpose.",
        )
    _write(path, _with_scores(truth, values[scored]))


def _with_scores(truth: Path, scores: Any) -> io.StringIO:
    """Return the rows of the ground truth with a score each (N,), as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "score"])
    label = COLUMNS.index("label")
    with Reader(truth) as reader:
        names = [name.strip() for name in next(reader)[1]]
        places = [names.index(name) for name in COLUMNS] if "frame_timestamp" in names else range(len(COLUMNS))
    with Reader(truth) as reader:
        if "frame_timestamp" in names:
            next(reader)
        for (_, cells), score in zip(reader, scores, strict=True):
            row = [cells[place] for place in places]
            row[label] = SPEAKING
            writer.writerow([*row, str(score)])
    return text


def _check(values: Any, shape: tuple[int, ...], what: str) -> None:
    """Refuse numbers of another shape, and what is not finite."""
    if values.shape != shape or not np.issubdtype(values.dtype, np.number) or not np.isfinite(values).all():
        bad = "" if values.shape != shape else ", with values that are no finite numbers"
        raise BadInput(
            f"Predictions for {what} were to be written: numbers of shape {shape}.",
            f"Found {values.shape}{bad}.",
            "Give one finite number for each row and output.",
        )


def _write(path: Path, text: io.StringIO) -> None:
    make_folder(path.parent)
    write_atomic(path, text.getvalue())
