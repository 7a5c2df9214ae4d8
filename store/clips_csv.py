"""Reading a clips table from CSV: every problem in it is found, and all are reported together."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from .clips_table import COLUMNS, REQUIRED, Clip
from .errors import BadInput, NotFound

SHOWN = 50  # problems; more do not help and would scroll the first ones away
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
_NOT_FINITE = re.compile(r"\s*[+-]?(nan|inf|infinity)\s*", re.IGNORECASE)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_ALIASES = {"clip": "clip_id", "entity": "entity_id", "group": "group_id", "filepath": "path", "filename": "path"} | {
    alias + unit: column
    for alias, column in (("start", "start"), ("end", "end"), ("starttime", "start"), ("endtime", "end"))
    for unit in ("", "s", "sec", "seconds")
}


class _Problems:
    """Collects what is wrong, with the lines where it is."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []

    def add(self, line: int, text: str) -> None:
        self.found.append((line, text))

    def raise_if_any(self, path: Path) -> None:
        if not self.found:
            return
        self.found.sort(key=lambda problem: problem[0])
        lines = [f"  line {line}: {text}" for line, text in self.found[:SHOWN]]
        if len(self.found) > SHOWN:
            lines.append(f"  … and {len(self.found) - SHOWN} more")
        count = f"{len(self.found)} problem{'s' if len(self.found) > 1 else ''}"
        raise BadInput(f"The clips table {path} was read.", f"It has {count}:\n" + "\n".join(lines) + "\n", "Mend it.")


def read_rows(path: Path, check_media: bool) -> tuple[list[Clip], dict[str, str]]:
    """Return the clips of a CSV file and the kinds of its label columns; see `ClipsTable.read_csv`.

    Raises:
        NotFound: if there is no such file.
        BadInput: with all its problems.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound(f"The clips table {path} was read.", "There is no such file.", "Check the path.") from error
    problems = _Problems()
    text, unreadable = _decoded(data, problems)
    if 1 in unreadable:  # without a header nothing else can be said
        problems.raise_if_any(path)
    rows = list(_records(text, unreadable, problems))
    if not rows:
        problems.add(1, "the table is empty; its first line must name the columns")
        problems.raise_if_any(path)
    header_line, header = rows[0]
    _check_header(header_line, header, problems)
    if len(rows) == 1:
        problems.add(header_line, "there are no clips below the header")
    if problems.found and any(column not in header for column in REQUIRED):
        problems.raise_if_any(path)  # every row would only repeat it
    cells = [(line, row) for line, row in rows[1:] if _check_width(line, row, header, problems)]
    columns = {name: [(line, row[i]) for line, row in cells] for i, name in enumerate(header) if name}
    label_columns = {name: _label_kind(columns[name]) for name in columns if name not in COLUMNS}
    clips = _checked_clips(cells, header, columns, label_columns, path, check_media, problems)
    problems.raise_if_any(path)
    return clips, label_columns


def _decoded(data: bytes, problems: _Problems) -> tuple[str, set[int]]:
    """Return the text, and the numbers of those lines that are not UTF-8."""
    unreadable = set()
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.add(number, f"byte {error.object[error.start]:#04x} is not UTF-8; save the table as UTF-8")
            unreadable.add(number)
    return data.decode("utf-8-sig", "replace"), unreadable


def _records(text: str, unreadable: set[int], problems: _Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each record that is neither blank nor unreadable."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, f"this is not CSV: {error}; what follows was not read")
            return
        if row and unreadable.isdisjoint(range(line, reader.line_num + 1)):
            yield line, row


def _check_header(line: int, header: list[str], problems: _Problems) -> None:
    for name in REQUIRED:
        if name not in header:
            problems.add(line, f"the column `{name}` is missing")
    for i, name in enumerate(header):
        if not name.strip():
            problems.add(line, f"column {i + 1} has no name")
        elif name in header[:i]:
            problems.add(line, f"the column `{name}` is there twice")
        elif name not in COLUMNS and (meant := _near_miss(name, header)):
            problems.add(line, f"unknown column {name!r}; did you mean `{meant}`?")


def _near_miss(name: str, header: list[str]) -> str | None:
    """Return the known column that a label column's name looks like by mistake, if any."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    known = {column.replace("_", ""): column for column in COLUMNS}
    if plain in known:
        return known[plain]
    # `end` is too short to guess at: `trend` and `bend` may well be labels.
    close = difflib.get_close_matches(plain, [word for word in known if len(word) > 3], n=1, cutoff=0.85)
    meant = _ALIASES.get(plain) or (known[close[0]] if close else None)
    return None if meant in header else meant  # beside the true column, a similar one is a label


def _check_width(line: int, row: list[str], header: list[str], problems: _Problems) -> bool:
    if len(row) != len(header):
        problems.add(line, f"{len(row)} cells where the header has {len(header)}")
    return len(row) == len(header)


def _label_kind(cells: list[tuple[int, str]]) -> str:
    """Return `number` if most cells that are not blank look like numbers; NaN and inf do, and are refused later."""
    filled = [cell for _, cell in cells if cell.strip()]
    numbers = sum(bool(_NUMBER.fullmatch(cell) or _NOT_FINITE.fullmatch(cell)) for cell in filled)
    return "number" if 2 * numbers > len(filled) else "text"


def _number(line: int, column: str, cell: str, problems: _Problems) -> float | None:
    if not cell.strip():
        return None
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if math.isfinite(value):
        return value
    problems.add(line, f"`{column}` is {cell[:60]!r}, which is not a finite number")
    return None


def _checked_clips(
    cells: list[tuple[int, list[str]]],
    header: list[str],
    columns: dict[str, list[tuple[int, str]]],
    label_columns: dict[str, str],
    path: Path,
    check_media: bool,
    problems: _Problems,
) -> list[Clip]:
    whole_folds = all(_INTEGER.fullmatch(cell) for _, cell in columns.get("fold", []) if cell.strip())
    lines: dict[tuple[str, str | None], int] = {}
    folds: dict[str, dict[str, int]] = defaultdict(dict)
    clips = []
    for line, row in cells:
        cell = dict(zip(header, row, strict=True))
        clip_id, entity_id = cell["clip_id"], cell.get("entity_id") or None
        for name, value in (("clip_id", clip_id), ("entity_id", entity_id)):
            if value is not None and not value.strip():
                problems.add(line, f"`{name}` is empty" if not value else f"`{name}` is nothing but white space")
        first = lines.setdefault((clip_id, entity_id), line)
        if first != line:
            same = f"clip_id {clip_id!r}" + (f" and entity_id {entity_id!r}" if entity_id else "")
            problems.add(line, f"{same} is also in line {first}")
        start, end = (_number(line, name, cell.get(name, ""), problems) for name in ("start", "end"))
        _check_span(line, start, end, problems)
        media = _media(line, cell["path"], path, check_media, problems)
        group, fold = _text(cell, "group_id"), _text(cell, "fold")
        if group and fold:
            seen = folds[group]
            if seen and fold not in seen:
                other, there = next(iter(seen.items()))
                problems.add(line, f"group {group!r} is in fold {fold!r} here, in fold {other!r} in line {there}")
            seen.setdefault(fold, line)
        labels = {
            name: _number(line, name, cell[name], problems) if kind == "number" else _text(cell, name)
            for name, kind in label_columns.items()
        }
        number = int(fold) if fold and whole_folds else fold
        clips.append(Clip(clip_id, media, entity_id, start, end, group, _text(cell, "split"), number, labels))
    return clips


def _text(cell: dict[str, str], name: str) -> str | None:
    """Return a cell as text; blank and absent ones mean there is none."""
    value = cell.get(name, "")
    return value if value.strip() else None


def _check_span(line: int, start: float | None, end: float | None, problems: _Problems) -> None:
    if start is not None and start < 0:
        problems.add(line, f"`start` is {start:g}, before the media begin")
    elif end is not None and (start or 0.0) >= end:
        problems.add(line, f"`start` {start or 0:g} is not before `end` {end:g}")


def _media(line: int, cell: str, table: Path, check_media: bool, problems: _Problems) -> Path:
    if not cell.strip():
        problems.add(line, "`path` is empty")
        return Path()
    media = Path(os.path.abspath(table.parent / cell))  # noqa: PTH100 (resolves `..`, keeps links)
    try:
        str(media).encode("utf-8")
    except UnicodeEncodeError:
        problems.add(line, "the path, or that of the folder around the table, is not UTF-8 text; rename the folder")
        return media
    if check_media:
        try:
            there = media.is_file()
        except OSError:  # a name that is too long, or a folder that may not be entered
            there = False
        if not there:
            problems.add(line, f"there is no file {cell[:200]!r}")
    return media
