"""Matching the rows of AVA predictions with those of the ground truth, and what the official tool asks of both.

The official tool joins texts made of time and entity. Here both are numbers: entities are numbered while reading, times
become integers where they are written with few decimals, and a table with a place for each time between the first and
the last of each entity takes the place of a join, so that four million rows need no sorting.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .ava_csv import AvaFile
from .csv_table import SHOWN
from .groups import Ints
from .metrics._arrays import Floats

LARGEST_BOX_DIFFERENCE = 1e-9
# Times are tried as whole numbers of these parts of a second; others are numbered by sorting them.
PARTS = (100, 1000)
# Places of the table for each row that it holds; beyond that, pairs of entity and time are numbered by sorting.
SPARSE = 16


def match(known: AvaFile, found: AvaFile) -> tuple[Ints, Ints]:
    """Return the matched rows: of the ground truth, in its order, and of the predictions, both (M,).

    Args:
        known: the ground truth.
        found: the predictions.

    Raises:
        BadInput: a row is there twice, the numbers of rows differ, nothing matches, or boxes differ.
    """
    asked = f"The predictions `{found.path}` were to be matched with the ground truth `{known.path}`."
    key, sought = row_keys(
        known.entities, known.entity_names, known.stamps, found.entities, found.entity_names, found.stamps
    )
    _refuse_twice(known, key, asked)
    _refuse_twice(found, sought, asked)
    place = np.full(int(max(key.max(), sought.max())) + 1, -1, dtype=np.int64)
    place[sought] = np.arange(sought.size)
    prediction = place[key]  # of each row of the truth, -1 for none
    rows = np.flatnonzero(prediction >= 0)
    if len(known) != len(found):
        lost = np.flatnonzero(prediction < 0)
        first = f", the first {known.uid(int(lost[0]))} (line {known.line(int(lost[0]))})" if lost.size else ""
        raise BadInput(
            asked,
            f"They have {len(found)} rows and it has {len(known)}; {lost.size} of its rows have no prediction{first}.",
            "Both must have the same number of unique rows: predict each face box of the ground truth once.",
        )
    if known.has_integer_stamps() != found.has_integer_stamps():
        raise BadInput(
            asked,
            "In one of them all times are written as integers, in the other with decimals, so that the official tool "
            f"would match no row (it compares the texts `1` and `1.0`); by number {rows.size} rows match.",
            "Write the times alike in both.",
        )
    if rows.size == 0:
        raise BadInput(
            asked,
            f"No row has a partner: the truth has {known.uid(0)}, the predictions {found.uid(0)}.",
            "Time and entity must be the same in both.",
        )
    _check_boxes(known, found, rows, prediction[rows], asked)
    return rows, prediction[rows]


def row_keys(
    known: npt.NDArray[np.int32],
    known_names: Sequence[str],
    known_stamps: Floats,
    found: npt.NDArray[np.int32],
    found_names: Sequence[str],
    found_stamps: Floats,
) -> tuple[Ints, Ints]:
    """Return a number from 0 for each row of two files, equal where and only where entity and time are equal.

    Args:
        known, found: number of the entity of each row, (N,) and (M,).
        known_names, found_names: of the entities.
        known_stamps, found_stamps: seconds, (N,) and (M,).
    """
    number = {name: i for i, name in enumerate(known_names)}
    # An entity that the first file does not know gets a number of its own.
    renumbered = [number.setdefault(name, len(number)) for name in found_names]
    entities = known.astype(np.int64), np.array(renumbered, dtype=np.int64)[found]
    stamps = _whole(known_stamps, found_stamps)
    first = np.full(len(number), np.iinfo(np.int64).max)
    last = np.full(len(number), np.iinfo(np.int64).min)
    for entity, stamp in zip(entities, stamps, strict=True):
        np.minimum.at(first, entity, stamp)
        np.maximum.at(last, entity, stamp)
    starts = np.concatenate([[0], np.cumsum(last - first + 1)])
    if starts[-1] <= SPARSE * (known.size + found.size):
        starts = starts[:-1] - first
        return starts[entities[0]] + stamps[0], starts[entities[1]] + stamps[1]
    entity, stamp = np.concatenate(entities), np.concatenate(stamps)
    order = np.lexsort((stamp, entity))
    new = (np.diff(entity[order], prepend=-1) != 0) | (np.diff(stamp[order], prepend=0) != 0)
    keys = np.empty(entity.size, dtype=np.int64)
    keys[order] = np.cumsum(new) - 1
    return keys[: known.size], keys[known.size :]


def _whole(known: Floats, found: Floats) -> tuple[Ints, Ints]:
    """Return an integer for each time of both files, equal where and only where the times are equal."""
    for parts in PARTS:
        whole = np.rint(known * parts), np.rint(found * parts)
        # A decimal number and the quotient of integers are the same float, both being correctly rounded.
        fit = all(
            np.abs(codes).max() < 2**40 and np.array_equal(codes / parts, times)
            for codes, times in zip(whole, (known, found), strict=True)
        )
        if fit:
            return whole[0].astype(np.int64), whole[1].astype(np.int64)
    codes = np.unique(np.concatenate([known, found]), return_inverse=True)[1]
    return codes[: known.size], codes[known.size :]


def _refuse_twice(file: AvaFile, keys: Ints, asked: str) -> None:
    """Refuse a file in which two rows have one key."""
    place = np.empty(int(keys.max()) + 1, dtype=np.int64)
    place[keys] = np.arange(keys.size)
    again = np.flatnonzero(place[keys] != np.arange(keys.size))
    if again.size:
        row, other = int(again[0]), int(place[keys[again[0]]])
        raise BadInput(
            asked,
            f"In `{file.path}` {again.size} rows are there twice, the first {file.uid(row)} "
            f"(lines {file.line(row)} and {file.line(other)}): merge keys must be unique.",
            "Keep one row for each time and entity.",
        )


def _check_boxes(known: AvaFile, found: AvaFile, rows: Ints, predictions: Ints, asked: str) -> None:
    """Refuse boxes that differ by more than 1e-9 in any coordinate."""
    wrong = np.zeros(rows.size, dtype=bool)
    for one, other in zip(known.boxes, found.boxes, strict=True):
        wrong |= np.abs(one[rows] - other[predictions]) > LARGEST_BOX_DIFFERENCE
    if wrong.any():
        places = np.flatnonzero(wrong)
        uids = ", ".join(known.uid(int(row)) for row in rows[places[:SHOWN]])
        more = f" and {places.size - SHOWN} more" if places.size > SHOWN else ""
        raise BadInput(
            asked,
            f"The bounding boxes differ by more than 1e-9 at {uids}{more} "
            f"(lines {known.line(int(rows[places[0]]))} and {found.line(int(predictions[places[0]]))}).",
            "Copy the boxes of the ground truth into the predictions.",
        )
