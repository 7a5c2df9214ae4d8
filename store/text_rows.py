"""Rows of text: how a sequence of str becomes what is stored, and back.

A series of a text set has for each row the number of bytes of its text, as `values` (T, 1) int64, and the texts of all
its rows one after the other as UTF-8. So a row that is not valid is a zero, as in every other feature set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import BadInput
from .files import corrupt
from .series import Series, checked_clock, shapes_differ

MAX_SERIES_BYTES = 2**30  # of the texts of one series


def check_text_series(where: str, values: Any, times: Any, valid: Any) -> tuple[Series, bytes]:
    """Return a series of texts as it is stored, or say what is wrong with it.

    Args:
        where: the series in words, for errors.
        values: T texts; where a row is not valid, anything.
        times: (T,) seconds, finite and never decreasing.
        valid: (T,) booleans.

    Returns:
        The series with sizes in bytes as values, and the UTF-8 of all its texts.

    Raises:
        BadInput: for other shapes or types, a valid row that is no text or cannot be UTF-8, or more than 1 GiB.
    """
    times, valid = np.asarray(times), np.asarray(valid)
    rows = _rows(where, values)
    if times.shape != (len(rows),) or valid.shape != times.shape:
        raise shapes_differ(where, "(T,) of texts", (len(rows),), times, valid)
    times, valid = checked_clock(where, times, valid)
    encoded = [_encoded(where, i, row) if good else b"" for i, (row, good) in enumerate(zip(rows, valid, strict=True))]
    sizes = np.array([len(one) for one in encoded], "<i8").reshape(-1, 1)
    if int(sizes.sum()) > MAX_SERIES_BYTES:
        raise BadInput(
            f"{where} was to be written.",
            f"Its texts have {int(sizes.sum())} bytes.",
            f"Give at most {MAX_SERIES_BYTES}, or make several series of it.",
        )
    return Series(sizes, times, valid), b"".join(encoded)


def _rows(where: str, values: Any) -> list[Any]:
    found = f"a {type(values).__name__}"
    if isinstance(values, np.ndarray) and values.ndim != 1:
        found = f"an array {values.shape}"
    elif not isinstance(values, (str, bytes)):
        try:
            return list(values)
        except TypeError:
            pass  # said below
    raise BadInput(f"{where} was to be written.", f"Its values are {found}.", "Give a list of texts, one for each row.")


def _encoded(where: str, row: int, text: Any) -> bytes:
    if not isinstance(text, str):
        raise BadInput(
            f"{where} was to be written.",
            f"Row {row} is {str(text)[:40]!r} of type {type(text).__name__}, no text.",
            "Give texts, and mark rows without one as not valid.",
        )
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{where} was to be written.",
            f"Row {row} is not valid Unicode text: {error.reason} at character {error.start}.",
            "Mend it where it comes from; a lone half of a surrogate pair is no character.",
        ) from error


def check_sizes(sizes: np.ndarray, data: np.ndarray, where: str) -> None:
    """Check that sizes (T, 1) of texts cut the bytes of a series into just its rows.

    Raises:
        Corrupt: naming `where`, if they do not.
    """
    # As floats first: the exact sum must not wrap round.
    good = not len(sizes) or (int(sizes.min()) >= 0 and float(sizes.sum(dtype=np.float64)) <= 2.0**62)
    if not good or int(sizes.sum()) != len(data):
        raise corrupt(where, f"The sizes of its texts do not add up to the {len(data)} bytes that are there.")


def decode_rows(sizes: np.ndarray, data: np.ndarray, first: int, last: int, where: str) -> np.ndarray:
    """Return the texts of rows `first` to `last`, which is not included, as (n,) objects of type str, read-only.

    Args:
        sizes: (T, 1) int64, of all rows of the series; they have been checked.
        data: uint8, the texts of all rows.
        first: number of the first row.
        last: behind the last one.
        where: the series in words, for errors.

    Raises:
        Corrupt: if one of them is not UTF-8.
    """
    ends = np.zeros(last + 1, np.int64)
    np.cumsum(sizes[:last, 0], out=ends[1:])
    raw = data[ends[first] : ends[last]].tobytes()
    bounds = (ends[first:] - ends[first]).tolist()
    rows = np.empty(last - first, object)
    try:
        for i in range(last - first):
            rows[i] = raw[bounds[i] : bounds[i + 1]].decode("utf-8")
    except UnicodeDecodeError as error:
        raise corrupt(where, f"A text of it is not UTF-8: {error.reason}.") from error
    rows.flags.writeable = False
    return rows
