"""Labels on their own clock in a CSV file: read as arrays, and every problem in the file found, with its line.

One row is one label: `clip_id`, `entity_id` (may be empty or left out: the whole clip), `time_s` (seconds from the
start of the clip), and one column for each label. A column of numbers is kept as numbers, one of names as class ids,
whose names the recipe keeps; names are numbered in code-point order, unless classes are given or the label set exists.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from .errors import BadInput, NotFound, nearest
from .keys import Key

FIXED = ("clip_id", "entity_id", "time_s")
SHOWN = 50  # problems
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
_EXACT = 2**24  # larger whole numbers are none in float32
MOST_CLASSES = 4096


@dataclass
class Problems:
    """What is wrong, with its lines; the first `SHOWN` are said, all are counted."""

    path: Path
    found: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, text: str) -> None:
        self.count += 1
        if len(self.found) < SHOWN:
            self.found.append((line, text))

    def raise_if_any(self) -> None:
        if not self.count:
            return
        lines = [f"  line {line}: {text}" for line, text in sorted(self.found)]
        if self.count > len(lines):
            lines.append(f"  … and {self.count - len(lines)} more")
        count = f"{self.count} problem{'s' if self.count > 1 else ''}"
        raise BadInput(
            f"The labels in {self.path} were read.", f"It has {count}:\n" + "\n".join(lines) + "\n", "Mend it."
        )


@dataclass
class _Column:
    """Values of one label column, as numbers; names get the numbers in which they are met, nan where empty.

    A column is one of names if classes were given for it, or its first value that is not empty is no number.
    """

    name: str
    known: dict[str, int] | None
    given: bool
    values: array[float] = field(default_factory=lambda: array("d"))
    decided: bool = False

    def add(self, cell: str, line: int, problems: Problems) -> bool:
        """Take a cell; return whether there is a label in it."""
        if not cell.strip():
            self.values.append(math.nan)
            return False
        number = bool(_NUMBER.fullmatch(cell))
        if not self.decided:
            self.decided = True
            if not self.given and not number and cell.strip().lower() not in ("nan", "inf", "-inf", "+inf"):
                self.known = {}
        if self.known is not None:
            self.values.append(self._class(cell.strip(), line, problems))
            return True
        value = float(cell) if number else math.nan
        if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
            problems.add(line, f"`{self.name}` is {cell[:60]!r}, which is not a finite number")
        elif value.is_integer() and abs(value) > _EXACT:
            problems.add(line, f"`{self.name}` is {cell[:60]!r}: labels are kept as float32, exact up to {_EXACT}")
        self.values.append(value)
        return True

    def _class(self, name: str, line: int, problems: Problems) -> float:
        known = self.known or {}
        if name in known:
            return float(known[name])
        if self.given:
            problems.add(line, f"`{self.name}` is {name[:60]!r}. {nearest(name, list(known))}")
        elif len(known) >= MOST_CLASSES:
            problems.add(line, f"`{self.name}` has more than {MOST_CLASSES} different names; is it a label?")
        else:
            known[name] = len(known)
            self.known = known
            return float(known[name])
        return math.nan

    def finished(self) -> tuple[np.ndarray, list[str] | None]:
        """Return the values (R,), and the names of classes by id, sorted unless they were given."""
        values = np.frombuffer(self.values, dtype=np.float64) if self.values else np.empty(0)
        if self.known is None:
            return values, None
        if self.given:
            return values, list(self.known)
        names = sorted(self.known)
        place = np.array([names.index(name) for name in self.known], dtype=np.float64)
        there = ~np.isnan(values)
        ids = np.full(values.shape, math.nan)
        ids[there] = place[values[there].astype(np.int64)]
        return ids, names


@dataclass(frozen=True, eq=False)
class Labels:
    """A file of R rows and S series.

    Args:
        names: of the label columns. values: (R, columns). classes: of columns of names.
        keys: of the series, (S,), in order of their first rows. first_lines: of these.
        codes: series of each row, (R,). times: (R,). lines: (R,).
        labelled: (R,) bool.
    """

    names: Sequence[str]
    values: np.ndarray
    classes: Mapping[str, list[str]]
    keys: list[Key]
    first_lines: list[int]
    codes: np.ndarray
    times: np.ndarray
    lines: np.ndarray
    labelled: np.ndarray
    notes: tuple[str, ...]


def read_labels(
    file: TextIO,
    chosen: Sequence[str] | None,
    given: Mapping[str, Sequence[str]] | None,
    known: Mapping[str, Sequence[str]],
    problems: Problems,
) -> Labels:
    """Read a file.

    Args:
        file: opened as text, with its line ends.
        chosen: label columns to take; None: all.
        given: classes of columns by id; None: those that are known, else all names that occur.
        known: likewise, of columns that may not be in the file.
        problems: gets what is wrong.

    Raises:
        NotFound: if there is no such column.
        BadInput: if there are problems.
    """
    records = _records(file, problems)
    header_line, header = next(records, (1, []))
    _check_header(header_line, header, problems)
    problems.raise_if_any()  # every row would only repeat it
    labels = [name for name in header if name not in FIXED]
    for option, asked in (("--column", chosen or ()), ("--classes", given or ())):
        for name in asked:
            if name not in labels:
                raise NotFound(
                    f"The label column `{name}` of {problems.path} was asked for.",
                    f"There is none. {nearest(name, labels)}",
                    f"Mend {option}.",
                )
    labels = labels if chosen is None else list(chosen)
    classes = known if given is None else given
    columns = [
        _Column(name, {one: i for i, one in enumerate(classes[name])} if name in classes else None, name in classes)
        for name in labels
    ]
    places = [header.index(name) for name in labels]
    clip_at, time_at = header.index("clip_id"), header.index("time_s")
    entity_at = header.index("entity_id") if "entity_id" in header else None
    keys: dict[tuple[str, str], int] = {}
    first_lines: list[int] = []
    codes, times, lines, labelled = array("q"), array("d"), array("q"), array("b")
    for line, row in records:
        if len(row) != len(header):
            problems.add(line, f"{len(row)} cells where the header has {len(header)}")
            continue
        key = row[clip_at], row[entity_at] if entity_at is not None else ""
        code = keys.get(key)
        if code is None:
            if not key[0].strip() or (key[1] and not key[1].strip()):
                problems.add(line, "`clip_id` is empty" if not key[0].strip() else "`entity_id` is white space")
            code = keys[key] = len(keys)
            first_lines.append(line)
        there = [column.add(row[place], line, problems) for column, place in zip(columns, places, strict=True)]
        if any(there) and not all(there):
            full, empty = labels[there.index(True)], labels[there.index(False)]
            problems.add(line, f"`{empty}` is empty where `{full}` is not; import such columns one by one (--column)")
        codes.append(code)
        times.append(_time(row[time_at], line, problems))
        lines.append(line)
        labelled.append(all(there))
    if not codes and not problems.count:
        problems.add(header_line, "there are no labels below the header")
    problems.raise_if_any()
    finished = [column.finished() for column in columns]
    found = np.frombuffer(labelled, dtype=np.int8) > 0
    notes = () if found.any() else ("No row has a label.",)
    return Labels(
        names=labels,
        values=np.stack([values for values, _ in finished], axis=1),
        classes={name: names for name, (_, names) in zip(labels, finished, strict=True) if names is not None},
        keys=[Key(clip, entity or None) for clip, entity in keys],
        first_lines=first_lines,
        codes=np.frombuffer(codes, dtype=np.int64),
        times=np.frombuffer(times, dtype=np.float64),
        lines=np.frombuffer(lines, dtype=np.int64),
        labelled=found,
        notes=notes,
    )


def _records(file: Iterable[str], problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each record that is not blank."""
    reader = csv.reader(file, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, f"this is not CSV: {error}; what follows was not read")
            return
        if row:
            yield line, row


def _check_header(line: int, header: Sequence[str], problems: Problems) -> None:
    for name in ("clip_id", "time_s"):
        if name not in header:
            problems.add(line, f"the column `{name}` is missing")
    for i, name in enumerate(header):
        if not name.strip():
            problems.add(line, f"column {i + 1} has no name")
        elif name in header[:i]:
            problems.add(line, f"the column `{name}` is there twice")
    if header and not [name for name in header if name not in FIXED]:
        problems.add(line, "there is no label column")


def _time(cell: str, line: int, problems: Problems) -> float:
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(value):
        problems.add(line, f"`time_s` is {cell[:60]!r}, which is not a finite number")
    return value


def by_series(read: Labels, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of the rows by series and time, and where each series starts, (S + 1,)."""
    order = np.lexsort((read.times, read.codes))
    codes, times = read.codes[order], read.times[order]
    for row in np.flatnonzero((codes[1:] == codes[:-1]) & (times[1:] == times[:-1])).tolist():
        first, second = sorted(read.lines[order[row : row + 2]].tolist())
        key = read.keys[int(codes[row])]
        who = repr(key.clip_id) + (f", entity {key.entity_id!r}," if key.entity_id is not None else "")
        problems.add(second, f"clip {who} has a label at {times[row]:g} s also in line {first}")
    return order, np.searchsorted(codes, np.arange(len(read.keys) + 1))
