"""A CSV table from anywhere, by named columns; whatever is wrong in it is told with its lines."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..store.errors import BadInput, NotFound, nearest
from .metrics._arrays import LARGEST, Floats

# Problems shown in one message; more do not help and would scroll the first ones away.
SHOWN = 5


def number(text: str) -> float | None:
    """Return a finite number of at most 1e100, or None; Python's `1_000` is none.

    Example:
        >>> number(" 0.5"), number("nan"), number("1_000")
        (0.5, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= LARGEST and "_" not in text else None


@dataclass(frozen=True, eq=False)
class Table:
    """Some columns of a CSV file.

    Args:
        path: of the file.
        header: names of all its columns.
        lines: on which each row ends, counted from 1, (N,).
        columns: name -> cells, (N,), as they stand: ids may begin or end with a space.
    """

    path: Path
    header: tuple[str, ...]
    lines: Sequence[int]
    columns: dict[str, list[str]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, name: str, rows: Iterable[int] | None = None) -> Floats:
        """Return a column as numbers, of some rows or all.

        Raises:
            BadInput: a cell is no finite number, with its line.
        """
        cells = self.columns[name]
        chosen = range(len(cells)) if rows is None else rows
        values = [(row, number(cells[row])) for row in chosen]
        wrong = [f"line {self.lines[row]}: {cells[row]!r}" for row, value in values if value is None]
        if wrong:
            self.refuse(f"`{name}` must be a finite number", wrong)
        return np.array([value for _, value in values], dtype=np.float64)

    def refuse(self, rule: str, wrong: Sequence[str]) -> None:
        """Raise what is wrong with some rows.

        Args:
            rule: that they break, as a clause.
            wrong: one phrase for each, with the line.

        Raises:
            BadInput: always.
        """
        more = f" … and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise BadInput(f"`{self.path}` was read: {rule}.", f"{'; '.join(wrong[:SHOWN])}{more}.", "Mend these rows.")

    def need(self, name: str, what: str) -> str:
        """Return the name of a column if the file has it.

        Raises:
            NotFound: it has none of this name; the nearest names are said.
        """
        if name not in self.header:
            raise NotFound(
                f"{what} was to be read from the column `{name}` of `{self.path}`.",
                "It has no such column.",
                nearest(name, list(self.header)),
            )
        return name


def read_header(path: Path) -> list[str]:
    """Return the cells of the first line that is not blank, without spaces around them.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no CSV in UTF-8, or is empty.
    """
    with Reader(path) as reader:
        for _, cells in reader:
            return [cell.strip() for cell in cells]
    raise BadInput(f"`{path}` was read.", "It is empty.", "Give a CSV file with a header.")


def read_table(path: Path, wanted: Iterable[str] | None = None) -> Table:
    """Read a CSV file with a header.

    Args:
        path: of the file, UTF-8, comma-separated.
        wanted: names of columns to keep, where the file has them; None for all.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no CSV in UTF-8, has no rows, names a column twice, or a row has more or fewer cells.
    """
    header = read_header(path)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadInput(f"`{path}` was read.", f"Its header names {', '.join(twice)} twice.", "Name each column once.")
    names = [name for name in header if wanted is None or name in set(wanted)]
    kept: list[tuple[int, list[str]]] = [(header.index(name), []) for name in names]
    lines, wrong = array("q"), []
    shared: dict[str, str] = {}  # equal cells are one object: ids repeat a lot
    with Reader(path) as reader:
        next(reader)
        for line, cells in reader:
            if len(cells) != len(header):
                wrong.append(f"line {line}: {len(cells)}")
                continue
            lines.append(line)
            for place, column in kept:
                column.append(shared.setdefault(cells[place], cells[place]))
    table = Table(path, tuple(header), lines, {name: column for name, (_, column) in zip(names, kept, strict=True)})
    if wrong:
        table.refuse(f"each row must have {len(header)} cells, as the header has", wrong)
    if not len(table):
        raise BadInput(f"`{path}` was read.", "It has a header and no rows.", "Give a file with rows.")
    return table


class Reader:
    """Yields line number and cells of each row of a file; blank lines are passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Reader:
        try:
            self._file = self.path.open(encoding="utf-8-sig", newline="")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound(f"`{self.path}` was to be read.", "There is no such file.", "Check the path.") from error
        self._reader = csv.reader(self._file, strict=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        try:
            cells = next(self._reader)
            while not cells:
                cells = next(self._reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadInput(
                f"`{self.path}` was read.",
                f"After line {self._reader.line_num} it is no CSV in UTF-8: {error}.",
                "Mend the file.",
            ) from error
        return self._reader.line_num, cells
