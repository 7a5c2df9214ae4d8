"""Filling `RowFeatures` from whatever reads items: into memory if they fit, else the reader is kept for streaming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ..store.series import finite
from .row_features import MemoryValues, RowFeatures, StreamedValues, Values
from .spans import Spans

Flags = npt.NDArray[np.bool_]


class Part(NamedTuple):
    """Rows of one item in one role: `values` (T, D), `valid` (T,), `times` (T,) float64."""

    values: np.ndarray
    valid: Flags
    times: npt.NDArray[np.float64]


class Reader(Protocol):
    """Reads the rows of items from a store."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Columns of each role."""

    @property
    def dtypes(self) -> Mapping[str, np.dtype[Any]]:
        """Type in which values are kept in memory, of each role."""

    def lengths(self, role: str) -> Sequence[int]:
        """Return the rows of each item."""

    def read(self, item: int) -> dict[str, Part]:
        """Return the rows of an item."""

    def rows(self, role: str, item: int, first: int, last: int) -> np.ndarray:
        """Return some rows of an item in one role, (last - first, D)."""


def fill(reader: Reader, limit: int, entities: npt.NDArray[np.int64] | None) -> tuple[RowFeatures, dict[str, int]]:
    """Read all items once.

    Args:
        reader: of the items.
        limit: bytes that values may take in memory; more are streamed.
        entities: where all roles share a clock, the entity of each row (R,).

    Returns:
        The features; and how many valid rows of each role hold NaN or infinity: they are masked.
    """
    roles = list(reader.dims)
    clocks = {role: Spans.of_lengths(reader.lengths(role)) for role in (roles if entities is None else roles[:1])}
    spans = {role: clocks[role if entities is None else roles[0]] for role in roles}
    rows = {role: int(one.lengths.sum()) for role, one in spans.items()}
    size = sum(rows[role] * reader.dims[role] * reader.dtypes[role].itemsize for role in roles)
    valid = {role: np.zeros(max(1, rows[role]), dtype=bool) for role in roles}
    times = {role: np.zeros(max(1, rows[role])) for role in clocks}
    kept: dict[str, np.ndarray] = {}
    if size <= limit:
        kept = {role: np.zeros((max(1, rows[role]), reader.dims[role]), reader.dtypes[role]) for role in roles}
    spoilt = dict.fromkeys(roles, 0)
    bounds = {role: (one.starts.tolist(), one.lengths.tolist()) for role, one in spans.items()}
    for item in range(len(spans[roles[0]])):
        for role, part in reader.read(item).items():
            start = bounds[role][0][item]
            stop = start + bounds[role][1][item]
            flags, bad = _sound(part)
            spoilt[role] += bad
            valid[role][start:stop] = flags
            if role in times:
                times[role][start:stop] = part.times
            if kept:
                kept[role][start:stop] = part.values
    values: dict[str, Values] = {}
    for role in roles:
        values[role] = (
            MemoryValues(torch.from_numpy(kept[role]), spans[role]) if kept else _streamed(reader, role, spans)
        )
    of_role = {role: torch.from_numpy(times[role]) for role in times}
    features = RowFeatures(
        dims=dict(reader.dims),
        spans=spans,
        values=values,
        valid={role: torch.from_numpy(valid[role]) for role in roles},
        times={role: of_role[role if entities is None else roles[0]] for role in roles},
        entities=None if entities is None else torch.from_numpy(entities if len(entities) else np.zeros(1, np.int64)),
    )
    return features, spoilt


def _sound(part: Part) -> tuple[Flags, int]:
    """Return which rows are valid and hold numbers, and how many are valid but do not."""
    if part.values.dtype.kind != "f" or not len(part.values):
        return part.valid, 0
    good = finite(part.values)
    if good is True:
        return part.valid, 0
    flags = part.valid & np.asarray(good).all(1)
    return flags, int(part.valid.sum() - flags.sum())


def _streamed(reader: Reader, role: str, spans: Mapping[str, Spans]) -> StreamedValues:
    count = len(spans[role])
    return StreamedValues(
        read=partial(reader.rows, role),
        dim=reader.dims[role],
        whole=torch.arange(count),
        skip=torch.zeros(count, dtype=torch.int64),
        lengths=spans[role].lengths,
    )


def spoilt_notes(spoilt: Mapping[str, int], inputs: Mapping[str, str]) -> list[str]:
    """Return a sentence for each input with rows that hold no numbers."""
    return [
        f"{count} rows of `{inputs[role]}` hold NaN or infinity; they are masked."
        for role, count in spoilt.items()
        if count
    ]
