"""Row features of all items: ragged, one array per input, in memory in their stored type or streamed from the store.

Times, flags and entities always are in memory: they are a hundredth of the values. A batch is one indexing of
the array of all rows; nothing is done item by item. Streamed values are copied item by item, which is what
reading them costs anyway.

N is items, B items of a batch, R rows of all items, T rows of the longest item of a batch, D columns of an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..store.halves import copier
from .spans import Spans

LONG_ROWS = 64  # from so many on, rows are copied item by item


class Batch(NamedTuple):
    """Rows of B items of one input: `values` (B, T, D), zeros where `mask` (B, T) is False; `times` (B, T) float64."""

    values: Tensor
    mask: Tensor
    times: Tensor


@dataclass(frozen=True, eq=False)
class MemoryValues:
    """Values in memory.

    Args:
        rows: (R, D) in the stored type, at least one row.
        spans: of the items.
    """

    rows: Tensor
    spans: Spans

    def take(self, items: Tensor, index: Tensor) -> Tensor:
        """Return rows (B, T, D), float32 or wider; what stands behind an item's end means nothing.

        Args:
            items: (B,) on the CPU.
            index: (B, T), see `Spans.padded`; on the device.
        """
        if index.shape[1] >= LONG_ROWS and self.rows.device.type == "cpu" and self.rows.dtype != torch.float64:
            return self._copied(items, index.shape[1])
        taken = self.rows.index_select(0, index.flatten()).unflatten(0, index.shape)
        return taken if taken.dtype == torch.float64 else taken.float()

    def _copied(self, items: Tensor, longest: int) -> Tensor:
        """Return rows (B, T, D), item by item: no row is touched twice, which is what counts for long items."""
        rows, stored = torch.zeros(len(items), longest, self.rows.shape[1]), self.rows.numpy()
        starts, lengths = self.spans.starts[items].tolist(), self.spans.lengths[items].tolist()
        copy_rows = copier(stored.dtype, np.dtype(np.float32))
        for into, start, length in zip(rows.numpy(), starts, lengths, strict=True):
            copy_rows(stored[start : start + length], into[:length])
        return rows

    def item(self, item: int) -> Tensor:
        """Return the rows of one item, (T, D), float32 or wider."""
        rows = self.rows.narrow(0, int(self.spans.starts[item]), int(self.spans.lengths[item]))
        return rows if rows.dtype == torch.float64 else rows.float()

    def to(self, device: torch.device | str) -> MemoryValues:
        """Return the same on a device."""
        return replace(self, rows=self.rows.to(device))


@dataclass(frozen=True, eq=False)
class StreamedValues:
    """Values that are read whenever they are asked for.

    Args:
        read: (item, first row, last row + 1) -> these rows (n, D).
        dim: D.
        whole: the item that each item is a window of, or itself, (N,).
        skip: rows of it that come before the window, (N,).
        lengths: rows, (N,).
        device: where to bring them.
    """

    read: Callable[[int, int, int], np.ndarray]
    dim: int
    whole: Tensor
    skip: Tensor
    lengths: Tensor
    device: torch.device | str = "cpu"

    def take(self, items: Tensor, index: Tensor) -> Tensor:
        """Return rows (B, T, D) float32, zeros behind an item's end; see `MemoryValues.take`."""
        rows = torch.zeros(*index.shape, self.dim)
        for into, item in zip(rows.numpy(), items.tolist(), strict=True):
            self._copy(item, into)
        return rows.to(self.device)

    def item(self, item: int) -> Tensor:
        """Return the rows of one item, (T, D) float32."""
        rows = np.empty((int(self.lengths[item]), self.dim), np.float32)
        self._copy(item, rows)
        return torch.from_numpy(rows)

    def _copy(self, item: int, into: np.ndarray) -> None:
        """Write the rows of an item to the first of (>= T, D) float32."""
        skip, length = int(self.skip[item]), int(self.lengths[item])
        rows = self.read(int(self.whole[item]), skip, skip + length)
        copier(rows.dtype, into.dtype)(rows, into[:length])

    def to(self, device: torch.device | str) -> StreamedValues:
        """Return the same, bringing batches to a device."""
        return replace(self, device=device)


Values = MemoryValues | StreamedValues


@dataclass(frozen=True, eq=False)
class RowFeatures:
    """Inputs of N items, rows of each.

    Args:
        dims: role -> D, in order.
        spans: role -> where the rows of the items lie; where roles share a clock, one and the same object.
        values: role -> rows.
        valid: role -> (R,) bool.
        times: role -> (R,) float64 seconds from the clip's start.
        entities: (R,) int64, counted from 0 in each item, where all roles share a clock, that of the labels; None
            where each role has its own.
    """

    dims: Mapping[str, int]
    spans: Mapping[str, Spans]
    values: Mapping[str, Values]
    valid: Mapping[str, Tensor]
    times: Mapping[str, Tensor]
    entities: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.spans.values())))

    @property
    def shared(self) -> Spans:
        """The spans of features that share a clock."""
        return next(iter(self.spans.values()))

    @property
    def longest(self) -> Tensor:
        """Rows of each item in the role that has most, (N,) int64."""
        return torch.stack([spans.lengths for spans in self.spans.values()]).amax(0)

    @property
    def nbytes(self) -> int:
        """Bytes of the values that are in memory."""
        return sum(one.rows.nbytes for one in self.values.values() if isinstance(one, MemoryValues))

    def batch(self, role: str, items: Tensor, device: torch.device | str = "cpu") -> Batch:
        """Return the padded rows of some items.

        Args:
            role: of the input.
            items: (B,) int64 on the CPU.
            device: where these features are.
        """
        index, inside = (part.to(device) for part in self.spans[role].padded(items))
        mask = self.valid[role][index] & inside
        values = clear(self.values[role].take(items, index), mask)
        return Batch(values, mask, torch.where(inside, self.times[role][index], 0.0))

    def entity_batch(self, items: Tensor, device: torch.device | str = "cpu") -> Tensor | None:
        """Return (B, T) which entity each row belongs to, -1 behind an item's end; None without a shared clock."""
        if self.entities is None:
            return None
        index, inside = (part.to(device) for part in self.shared.padded(items))
        return torch.where(inside, self.entities[index], -1)

    def to(self, device: torch.device | str) -> RowFeatures:
        """Return the same on a device."""
        return RowFeatures(
            self.dims,
            self.spans,
            {role: values.to(device) for role, values in self.values.items()},
            {role: valid.to(device) for role, valid in self.valid.items()},
            {role: times.to(device) for role, times in self.times.items()},
            None if self.entities is None else self.entities.to(device),
        )

    def subset(self, items: Tensor) -> RowFeatures:
        """Return the features of some items (n,), on the CPU; rows of others stay where they are."""
        cut = {id(spans): Spans(spans.starts[items], spans.lengths[items]) for spans in self.spans.values()}
        spans = {role: cut[id(one)] for role, one in self.spans.items()}
        return replace(self, spans=spans, values=self._moved(spans, items))

    def windowed(self, rows: int) -> tuple[RowFeatures, Tensor]:
        """Add the windows of all items as further items; for features that share a clock.

        Returns:
            Features of N + windows items; and for each the item that it is, or is part of.
        """
        cut, whole = self.shared.windows(rows)
        spans = dict.fromkeys(self.dims, cut)
        return replace(self, spans=spans, values=self._moved(spans, whole)), whole

    def _moved(self, spans: Mapping[str, Spans], whole: Tensor) -> dict[str, Values]:
        """Return the values for other items, each of them one of these or a part of it."""
        values: dict[str, Values] = {}
        for role, one in self.values.items():
            if isinstance(one, StreamedValues):
                values[role] = replace(
                    one,
                    whole=one.whole[whole],
                    skip=one.skip[whole] + spans[role].starts - self.spans[role].starts[whole],
                    lengths=spans[role].lengths,
                )
            else:
                values[role] = replace(one, spans=spans[role])
        return values


def clear(values: Tensor, mask: Tensor) -> Tensor:
    """Set rows (B, T, D) outside of the mask (B, T) to zero, in place, and return all."""
    return values if bool(mask.all()) else values.masked_fill_(~mask.unsqueeze(-1), 0.0)
