"""Read the CSV files that OpenFace 2 writes: a row for each face and frame, columns found by their names.

Stock builds put a blank after each comma of the header, some tools take it away: names are stripped. A row is valid
where OpenFace says `success`, or in files without that column, where its confidence is 0.5 or more; a row with a number
that is not finite (a tracker that ran away) is not valid either, whatever OpenFace says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ..store.errors import nearest
from .errors import MediaError

MIN_CONFIDENCE = 0.5  # only where the file has no column `success`
BLOCK_ROWS = 2048  # lines that are numbers of 8 bytes at the same time
MAX_HEADER = 1 << 16  # characters; OpenFace's own has about 6000

_INTENSITIES = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
_PRESENCES = (*_INTENSITIES[:-1], "28", "45")
_GAZE = (*(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"), "gaze_angle_x", "gaze_angle_y")
_EYES = tuple(f"eye_lmk_{axis}_{i}" for axis in "xyXYZ" for i in range(56))
_POSE = tuple(f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz")
_LANDMARKS_2D = tuple(f"{axis}_{i}" for axis in "xy" for i in range(68))
_LANDMARKS_3D = tuple(f"{axis}_{i}" for axis in "XYZ" for i in range(68))
_PDM = ("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *(f"p_{i}" for i in range(34)))
_AU_R = tuple(f"AU{unit}_r" for unit in _INTENSITIES)
_AU_C = tuple(f"AU{unit}_c" for unit in _PRESENCES)

GROUPS: dict[str, tuple[str, ...]] = {
    "gaze": _GAZE,
    "eyes": _EYES,
    "pose": _POSE,
    "landmarks2d": _LANDMARKS_2D,
    "landmarks3d": _LANDMARKS_3D,
    "pdm": _PDM,
    "AU_r": _AU_R,
    "AU_c": _AU_C,
    "AU": (*_AU_R, *_AU_C),
    "all": (*_GAZE, *_EYES, *_POSE, *_AU_R, *_AU_C),  # SEMPI's 329 columns, in its order
    "full": (*_GAZE, *_EYES, *_POSE, *_LANDMARKS_2D, *_LANDMARKS_3D, *_PDM, *_AU_R, *_AU_C),
}


@dataclass(frozen=True, eq=False)
class OpenfaceTable:
    """The rows of one file, or of one face in it, in the order of the file.

    Args:
        path: of the file.
        columns: names of the columns of `values`.
        values: (T, D) float32; 0 where the file has no finite number.
        times: (T,) float64, OpenFace's time stamps, seconds from the start of the medium.
        faces: (T,) text, which face.
        finite: (T,) bool, rows of which every number is finite.
        valid: (T,) bool, rows that are finite and in which OpenFace found the face.
    """

    path: Path
    columns: tuple[str, ...]
    values: np.ndarray
    times: np.ndarray
    faces: np.ndarray
    finite: np.ndarray
    valid: np.ndarray

    def face_ids(self) -> list[str]:
        """Return the faces in order of appearance."""
        return list(dict.fromkeys(self.faces.tolist()))

    def take(self, chosen: np.ndarray) -> OpenfaceTable:
        """Return the rows where `chosen` (T,) is True."""
        parts = (self.values, self.times, self.faces, self.finite, self.valid)
        return OpenfaceTable(self.path, self.columns, *(part[chosen] for part in parts))

    def between(self, start_s: float | None, end_s: float | None) -> OpenfaceTable:
        """Return the rows of a clip, start_s <= time < end_s (None: all), with times from its start."""
        if start_s is None and end_s is None:
            return self
        low, high = start_s or 0.0, np.inf if end_s is None else end_s
        part = self.take((self.times >= low) & (self.times < high))
        return OpenfaceTable(
            part.path, part.columns, part.values, part.times - low, part.faces, part.finite, part.valid
        )

    def values_of(self, columns: Sequence[str]) -> np.ndarray:
        """Return (T, len(columns)) float32; the columns must have been read."""
        place = {name: i for i, name in enumerate(self.columns)}
        return self.values[:, [place[name] for name in columns]]


def read_openface(path: Path, columns: Sequence[str] = GROUPS["all"]) -> OpenfaceTable:
    """Read some columns of a file.

    Args:
        path: the CSV.
        columns: their names, without blanks.

    Raises:
        MediaError: if there is no such file, it lacks one of the columns, `timestamp`, or both `success` and
            `confidence`, has no rows, or a line that has too few or too many cells or something that is no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline=None) as file:
            return _read(path, file, tuple(columns))
    except OSError as error:
        raise _refused(path, f"It cannot be opened: {error.strerror or error}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise _refused(path, "It is no text in UTF-8.", "Give the CSV that OpenFace wrote.") from error


def _read(path: Path, file: TextIO, columns: tuple[str, ...]) -> OpenfaceTable:
    header = _header(path, file)
    place = {name: i for i, name in enumerate(header)}
    extra = tuple(name for name in ("face_id", "confidence", "success") if name in place)
    wanted = ("timestamp", *extra, *columns)
    _check_columns(path, header, wanted)
    lines = _lines(path, file, len(header))
    used = [place[name] for name in wanted]
    lead: list[np.ndarray] = []
    values: list[np.ndarray] = []
    finite: list[np.ndarray] = []
    count = len(wanted) - len(columns)
    for block in _blocks(path, lines, used):
        lead.append(block[:, :count])
        with np.errstate(over="ignore"):  # what float32 cannot hold is no measurement
            part = block[:, count:].astype(np.float32)
        sound = np.isfinite(part).all(1)
        finite.append(sound)
        part[~np.isfinite(part)] = 0.0
        values.append(part)
    if not lead:
        raise _refused(path, "It has a header, but no rows.", "Leave the clip out, or run OpenFace on it again.")
    leading = dict(zip(wanted[:count], np.concatenate(lead).T, strict=True))
    times, whole = leading["timestamp"], np.concatenate(finite)
    if not np.isfinite(times).all():
        line = int(np.flatnonzero(~np.isfinite(times))[0]) + 2
        raise _refused(path, f"The time stamp of row {line - 1} is not finite.", "Run OpenFace on the clip again.")
    return OpenfaceTable(
        path, columns, np.concatenate(values), times, _faces(path, leading, len(times)), whole, whole & _seen(leading)
    )


def _header(path: Path, file: TextIO) -> list[str]:
    line = file.readline(MAX_HEADER)
    if not line.strip():
        raise _refused(path, "It is empty.", "Run OpenFace on the clip again.")
    return [name.strip() for name in line.split(",")]


def _check_columns(path: Path, header: list[str], wanted: Sequence[str]) -> None:
    known = set(header)
    missing = [name for name in wanted if name not in known]
    if not known & {"success", "confidence"}:
        missing.append("success")
    if missing:
        names = [name for name in header if 0 < len(name) <= 40 and name.isprintable()]
        hint = nearest(missing[0], names) if names else "Its first line names no columns."
        shown = ", ".join(f"`{name}`" for name in missing[:5]) + (", …" if len(missing) > 5 else "")
        raise _refused(
            path,
            f"It lacks {len(missing)} of the columns asked for: {shown}. {hint}",
            f"Run OpenFace with the output that has them, or choose other columns with --layer ({', '.join(GROUPS)}).",
        )
    twice = sorted({name for name in wanted if header.count(name) > 1})
    if twice:
        raise _refused(path, f"Its column `{twice[0]}` is there twice.", "Give the CSV as OpenFace wrote it.")


def _lines(path: Path, file: TextIO, cells: int) -> Iterator[str]:
    """The lines below the header, each with as many cells as it has."""
    for number, line in enumerate(file, 2):
        if not line.strip():
            continue
        if (found := line.count(",") + 1) != cells:
            raise _refused(
                path,
                f"Line {number} has {found} cells; its header has {cells}.",
                "Was OpenFace stopped before it was finished? Run it on the clip again.",
            )
        yield line.replace("(ind)", "").replace("(snan)", "")  # how Windows writes NaN


def _blocks(path: Path, lines: Iterable[str], columns: list[int]) -> Iterator[np.ndarray]:
    """(n, len(columns)) float64 of some lines at a time."""
    lines, done = iter(lines), 0
    while block := list(itertools.islice(lines, BLOCK_ROWS)):
        try:
            yield np.loadtxt(block, delimiter=",", usecols=columns, ndmin=2, comments=None)
        except ValueError as error:
            row = done + _bad_row(block, columns) + 1
            raise _refused(
                path, f"Row {row} below the header has a cell that is no number.", "Run OpenFace on the clip again."
            ) from error
        done += len(block)


def _bad_row(block: list[str], columns: list[int]) -> int:
    """The first line of which a cell is no number; numpy's message names it only within limits."""
    for i, line in enumerate(block):
        cells = line.split(",")
        try:
            [float(cells[column]) for column in columns]
        except ValueError:
            return i
    return 0


def _faces(path: Path, leading: dict[str, np.ndarray], rows: int) -> np.ndarray:
    """(T,) text: which face each row is of."""
    ids = leading.get("face_id", np.zeros(rows))
    if not (np.isfinite(ids).all() and (ids == np.round(ids)).all() and (np.abs(ids) < 2**31).all()):
        raise _refused(path, "A `face_id` in it is no whole number.", "Run OpenFace on the clip again.")
    return ids.astype(np.int64).astype(str)


def _seen(leading: dict[str, np.ndarray]) -> np.ndarray:
    """(T,) bool: rows in which OpenFace found the face."""
    confidence = leading.get("confidence")
    if "success" in leading:
        found: np.ndarray = leading["success"] == 1
        return found if confidence is None else found & np.isfinite(confidence)
    sure: np.ndarray = leading["confidence"] >= MIN_CONFIDENCE
    return sure


def _refused(path: Path, found: str, todo: str) -> MediaError:
    return MediaError(f"The OpenFace table `{path}` was to be read.", found, todo)
