"""Reading one CSV file of AVA or UniTalk: a row per face box, as ground truth or as predictions.

Columns `video_id, frame_timestamp, entity_box_x1, entity_box_y1, entity_box_x2, entity_box_y2, label, entity_id`, for
predictions also `score`; more are ignored, and the order is free. AVA's own files have no header: then the columns are
these, in this order.

With pyarrow (`pip install "cuebank[table]"`) four million rows take about a second. Without it, and wherever pyarrow
finds a value that it cannot use, Python's csv module reads the file, some ten times slower, and knows the line of
everything that is wrong.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .csv_table import SHOWN, Reader, number, read_header
from .metrics._arrays import Floats

SPEAKING = "SPEAKING_AUDIBLE"
BOX = ("entity_box_x1", "entity_box_y1", "entity_box_x2", "entity_box_y2")
COLUMNS = ("video_id", "frame_timestamp", *BOX, "label", "entity_id")
# Bytes that pyarrow converts at once: each block brings its own list of entities, so many small ones take longer.
BLOCK = 8 << 20


@dataclass(frozen=True, eq=False)
class AvaFile:
    """The rows of one file, in its order.

    Args:
        path: of the file.
        videos: number of the video of each row, (N,), into `video_names`.
        entities: number of the entity of each row, (N,), into `entity_names`.
        stamps: seconds in the video, (N,).
        boxes: x1, y1, x2, y2 relative to the frame, each (N,).
        speaking: whether the label is SPEAKING_AUDIBLE, (N,).
        scores: of predictions, (N,); None for ground truth.
    """

    path: Path
    videos: npt.NDArray[np.int32]
    video_names: tuple[str, ...]
    entities: npt.NDArray[np.int32]
    entity_names: tuple[str, ...]
    stamps: Floats
    boxes: tuple[Floats, ...]
    speaking: npt.NDArray[np.bool_]
    scores: Floats | None

    def __len__(self) -> int:
        return int(self.stamps.size)

    def uid(self, row: int) -> str:
        """Return what identifies a row in the official tool: the time as text, a colon, the entity."""
        return f"{float(self.stamps[row])!r}:{self.entity_names[self.entities[row]]}"

    def line(self, row: int) -> int:
        """Return the line of the file on which a row ends, counted from 1."""
        header, _ = _header(self.path, self.scores is not None)
        for place, (line, _) in enumerate(_records(self.path, header)):
            if place == row:
                return line
        raise BadInput(f"Row {row + 1} of `{self.path}` was looked up.", "It is gone.", "Do not change it meanwhile.")

    def has_integer_stamps(self) -> bool:
        """Return whether every time is written as an integer, so that the official tool takes it for one.

        Its text is then `1`, which matches no `1.0`.
        """
        if not np.array_equal(self.stamps, np.floor(self.stamps)):
            return False
        header, columns = _header(self.path, self.scores is not None)
        place = columns.index("frame_timestamp")
        return all(cells[place].strip().lstrip("+-").isdigit() for _, cells in _records(self.path, header))


def read_ava(path: Path, predictions: bool) -> AvaFile:
    """Read a file of ground truth or of predictions.

    Args:
        path: of the CSV file, UTF-8.
        predictions: whether it must have the column `score`, and no label but SPEAKING_AUDIBLE, as the official tool
            asks.

    Raises:
        NotFound: there is no such file.
        BadInput: columns are missing, or rows are not as they must be; with line numbers.
    """
    header, columns = _header(path, predictions)
    wanted = [*COLUMNS, "score"] if predictions else list(COLUMNS)
    found = _with_arrow(path, header, columns, wanted)
    if found is None or (predictions and not found.speaking.all()):
        found = _plainly(path, header, columns, predictions)
    if len(found) == 0:
        raise BadInput(f"`{path}` was read.", "It has no rows.", "Give a file with a row for each face box.")
    return found


def _records(path: Path, header: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row."""
    with Reader(path) as reader:
        if header:
            next(reader)
        yield from reader


def _header(path: Path, predictions: bool) -> tuple[bool, list[str]]:
    """Return whether there is a header, and the names of the columns."""
    names = read_header(path)
    wanted = [*COLUMNS, "score"] if predictions else list(COLUMNS)
    if "frame_timestamp" not in names and len(names) >= len(wanted) and number(names[1]) is not None:
        return False, [*wanted, *(f"column {i}" for i in range(len(wanted), len(names)))]
    missing = [name for name in wanted if name not in names]
    twice = [name for name in wanted if names.count(name) > 1]
    if missing or twice:
        raise BadInput(
            f"`{path}` was read as {'predictions' if predictions else 'ground truth'} in AVA's form.",
            f"These columns are missing: {', '.join(missing)}." if missing else f"Twice there: {', '.join(twice)}.",
            f"Its header must name once each of {', '.join(wanted)}.",
        )
    return True, names


def _plainly(path: Path, header: bool, columns: list[str], predictions: bool) -> AvaFile:
    """Read with the csv module; everything that is wrong is told with its line."""
    numbers = {name: array("d") for name in ("frame_timestamp", *BOX, *(["score"] if predictions else []))}
    codes = {name: array("i") for name in ("video_id", "entity_id")}
    names: dict[str, dict[str, int]] = {name: {} for name in codes}
    speaking = bytearray()
    problems: list[str] = []
    place = {name: columns.index(name) for name in (*numbers, *codes, "label")}
    for line, cells in _records(path, header):
        if len(cells) != len(columns):
            problems.append(f"line {line}: {len(cells)} cells in place of {len(columns)}")
            continue
        for name, values in numbers.items():
            value = number(cells[place[name]])
            if value is None:
                problems.append(f"line {line}: {name} is {cells[place[name]]!r}, no finite number")
            values.append(math.nan if value is None else value)
        for name, numbered in codes.items():
            text = cells[place[name]]
            if not text:
                problems.append(f"line {line}: {name} is empty")
            numbered.append(names[name].setdefault(text, len(names[name])))
        label = cells[place["label"]]
        if predictions and label != SPEAKING:
            problems.append(f"line {line}: the label is {label!r}, not {SPEAKING}")
        speaking.append(label == SPEAKING)
    if problems:
        more = f" … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise BadInput(
            f"`{path}` was read as {'predictions' if predictions else 'ground truth'} in AVA's form.",
            f"{'; '.join(problems[:SHOWN])}{more}.",
            "Mend these rows: a score, a box and a time for each, and in predictions no label but SPEAKING_AUDIBLE."
            if predictions
            else "Mend these rows: a box, a time and an entity for each.",
        )
    read = {name: np.array(one, dtype=np.float64) for name, one in numbers.items()}
    return AvaFile(
        path=path,
        videos=np.array(codes["video_id"], dtype=np.int32),
        video_names=tuple(names["video_id"]),
        entities=np.array(codes["entity_id"], dtype=np.int32),
        entity_names=tuple(names["entity_id"]),
        stamps=read["frame_timestamp"],
        boxes=tuple(read[name] for name in BOX),
        speaking=np.frombuffer(bytes(speaking), dtype=np.bool_),
        scores=read.get("score"),
    )


def _with_arrow(path: Path, header: bool, columns: list[str], wanted: Collection[str]) -> AvaFile | None:
    """Read with pyarrow; None if it is not installed, or finds anything that it cannot use."""
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
    except ImportError:
        return None
    text = {"video_id", "entity_id", "label"}
    types = {name: pa.dictionary(pa.int32(), pa.string()) if name in text else pa.float64() for name in wanted}
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(column_names=columns, skip_rows=int(header), block_size=BLOCK),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types, include_columns=list(wanted), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    numbers = {}
    for name in wanted:
        if name not in text:
            numbers[name] = table[name].to_numpy()
            table = table.drop_columns([name])
            if not np.isfinite(numbers[name]).all():
                return None
    codes, names = {}, {}
    for name in text:
        chunked = table[name].unify_dictionaries()
        names[name] = tuple(chunked.chunk(0).dictionary.to_pylist()) if chunked.num_chunks else ()
        codes[name] = np.concatenate([np.asarray(chunk.indices) for chunk in chunked.chunks] or [np.zeros(0, np.int32)])
        if name != "label" and "" in names[name]:
            return None
    return AvaFile(
        path=path,
        videos=codes["video_id"],
        video_names=names["video_id"],
        entities=codes["entity_id"],
        entity_names=names["entity_id"],
        stamps=numbers["frame_timestamp"],
        boxes=tuple(numbers[name] for name in BOX),
        speaking=np.array([name == SPEAKING for name in names["label"]], dtype=np.bool_)[codes["label"]],
        scores=numbers.get("score"),
    )
