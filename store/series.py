"""What a series is: rows with times and a validity mask; and the checks it must pass before it is stored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .errors import BadInput

_INTEGER_LIMITS = {"uint8": (0, 255), "int64": (-(2**63), 2**63 - 1)}


class Series(NamedTuple):
    """Rows of one feature set for one (clip, entity).

    `values` (T, D), of a text set (T,) objects of type str; `times` (T,) float64 seconds from the clip's start; `valid`
    (T,) bool. Where a row is not valid its values are zeros, or its text is empty, and mean nothing.
    """

    values: np.ndarray
    times: np.ndarray
    valid: np.ndarray


class SeriesInfo(NamedTuple):
    """A committed series, without its rows."""

    clip_id: str
    entity_id: str | None
    rows: int


class Failure(NamedTuple):
    """A series that could not be made, and why."""

    clip_id: str
    entity_id: str | None
    reason: str


class Coverage(NamedTuple):
    """How much of a feature set is there: series, different clips, rows; and how many keys failed."""

    series: int
    clips: int
    rows: int
    failed: int


def check_series(where: str, dim: int, dtype: np.dtype[Any], values: Any, times: Any, valid: Any) -> Series:
    """Return a series as it is stored, or say what is wrong with it.

    Args:
        where: the series in words, for errors.
        dim: D.
        dtype: type in which `values` are stored.
        values: (T, D) numbers.
        times: (T,) seconds, finite and never decreasing.
        valid: (T,) booleans.

    Returns:
        C-contiguous little-endian arrays; `values` are zero where not valid, so that equal content has equal bytes.

    Raises:
        BadInput: for other shapes or types, or a valid value that is NaN, infinite or outside the stored type.
    """
    values, times, valid = np.asarray(values), np.asarray(times), np.asarray(valid)
    if values.ndim != 2 or values.shape[1] != dim or times.shape != values.shape[:1] or valid.shape != times.shape:
        raise shapes_differ(where, f"(T, {dim})", values.shape, times, valid)
    _check_type(where, "values", values, "fiub")
    times, valid = checked_clock(where, times, valid)
    all_valid = bool(valid.all())
    if not all_valid:
        values = np.where(valid[:, None], values, values.dtype.type(0))
    return Series(_converted(where, np.ascontiguousarray(values), dtype), times, valid)


def shapes_differ(where: str, wanted: str, found: tuple[int, ...], times: np.ndarray, valid: np.ndarray) -> BadInput:
    """Return the error for values, times and flags that are not those of the same rows."""
    return BadInput(
        f"{where} was to be written with values {wanted}, times (T,) and valid (T,).",
        f"Their shapes are {found}, {times.shape} and {valid.shape}.",
        "Give one time and one flag for each row.",
    )


def _check_type(where: str, name: str, array: np.ndarray, kinds: str) -> None:
    if array.dtype.kind not in kinds:
        raise BadInput(
            f"{where} was to be written.",
            f"Its {name} are of type {array.dtype}.",
            "Give booleans." if name == "valid" else "Give real numbers.",
        )


def checked_clock(where: str, times: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times (T,) and flags (T,) as they are stored.

    Raises:
        BadInput: if they are of other types, or the times not finite, or they decrease.
    """
    _check_type(where, "times", times, "fiu")
    _check_type(where, "valid", valid, "b")
    return _checked_times(where, np.ascontiguousarray(times, "<f8")), np.ascontiguousarray(valid)


def _checked_times(where: str, times: np.ndarray) -> np.ndarray:
    problem = None
    if not np.isfinite(times).all():
        problem = f"The time of row {int(np.argmin(np.isfinite(times)))} is not finite."
    elif len(times) > 1 and (times[1:] < times[:-1]).any():
        row = int(np.argmax(times[1:] < times[:-1])) + 1
        problem = f"Row {row} is at {times[row]} s, after a row at {times[row - 1]} s."
    if problem:
        raise BadInput(f"{where} was to be written.", problem, "Give finite times that never decrease.")
    return times


def _converted(where: str, values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return `values` (T, D) in the stored type; never a changed meaning: no overflow, no NaN, no cut-off fraction."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # an overflow becomes Inf, which is found below and said in words
            stored = values.astype(dtype.newbyteorder("<"), copy=False)
        good = finite(stored)
    else:
        low, high = _INTEGER_LIMITS[dtype.name]
        if values.dtype.kind == "f":
            wide = values.astype(np.float64)
            # The largest int64 rounds up to 2**63, which is none: the upper bound is exclusive.
            good = (wide >= low) & (wide < float(high + 1)) & (wide == np.floor(wide))
        else:
            good = (values >= low) & (values <= high)
        good = True if good.all() else good
        stored = values.astype(dtype.newbyteorder("<"), copy=False) if good is True else values
    if good is True:
        return stored
    row, column = np.unravel_index(int(np.argmin(good)), values.shape)
    raise BadInput(
        f"{where} was to be stored as {dtype.name}.",
        f"Row {row}, column {column} is {values[row, column]}, which {dtype.name} cannot hold as a finite number.",
        "Store it in a wider type (`--dtype float32`), or mark the row as not valid if it means nothing.",
    )


def finite(values: np.ndarray) -> bool | np.ndarray:
    """Return True if all floats are finite, else the mask of those that are."""
    if values.dtype.itemsize == 2:
        # numpy converts each float16 to ask; the bits say the same in a tenth of the time. NaN and infinities are those
        # from 0x7C00 to 0x7FFF and, with the sign, from 0xFC00 on.
        bits = values.view(np.uint16)
        if not bits.size or (int(bits.max()) < 0xFC00 and int(bits.view(np.int16).max()) < 0x7C00):
            return True
        return (bits & np.uint16(0x7FFF)) < 0x7C00
    mask = np.isfinite(values)
    return True if bool(mask.all()) else mask


def copy_values(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Copy values (T, D) into the first T rows of `out` and return those.

    Raises:
        BadInput: if `out` is too small, read-only, or of a type that cannot hold them, or they are texts.
    """
    if values.dtype == object:
        raise BadInput("Texts were to be copied into a buffer.", "They have no place there.", "Leave out `out`.")
    fits = out.ndim == 2 and out.shape[1] == values.shape[1] and len(out) >= len(values) and out.flags.writeable
    if not fits or not np.can_cast(values.dtype, out.dtype, "safe"):
        raise BadInput(
            f"{values.shape[0]} rows of {values.shape[1]} {values.dtype} values were to be copied into a buffer.",
            f"It is {out.shape} {out.dtype}{'' if out.flags.writeable else ', read-only'}.",
            "Give a writable buffer with enough rows, the same columns, and the stored or a wider type.",
        )
    target = out[: len(values)]
    np.copyto(target, values)
    return target
