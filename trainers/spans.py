"""Where the rows of items lie in arrays that hold the rows of all items, one item after the other.

N is items, B items of a batch, R rows of all items, T rows of the longest item of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Spans:
    """Rows `starts[i]` to `starts[i] + lengths[i]` are those of item i. Items may overlap, as windows do.

    Args:
        starts: (N,) int64, on the CPU.
        lengths: (N,) int64.
    """

    starts: Tensor
    lengths: Tensor

    @classmethod
    def of_lengths(cls, lengths: Sequence[int] | np.ndarray) -> Spans:
        """Return the spans of items that lie one after the other.

        Example:
            >>> Spans.of_lengths([2, 0, 3]).starts
            tensor([0, 2, 2])
        """
        sizes = torch.from_numpy(np.asarray(lengths, dtype=np.int64))
        return cls(sizes.cumsum(0) - sizes, sizes)

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the rows of some items are, padded to the longest.

        Args:
            items: (B,) int64.

        Returns:
            Row numbers (B, T), 0 behind an item's end, and whether there is such a row (B, T); T is at least 1.

        Example:
            >>> Spans.of_lengths([2, 3]).padded(torch.tensor([1, 0]))[0]
            tensor([[2, 3, 4],
                    [0, 1, 0]])
        """
        lengths = self.lengths[items]
        steps = torch.arange(max(1, int(lengths.max())))
        inside = steps < lengths[:, None]
        return torch.where(inside, self.starts[items][:, None] + steps, 0), inside

    def flat(self, items: Tensor) -> Tensor:
        """Return the row numbers of some items, one item after the other: (sum of their lengths,).

        Example:
            >>> Spans.of_lengths([2, 3]).flat(torch.tensor([1, 0]))
            tensor([2, 3, 4, 0, 1])
        """
        lengths = self.lengths[items]
        begins = lengths.cumsum(0) - lengths
        return torch.arange(int(lengths.sum())) + (self.starts[items] - begins).repeat_interleave(lengths)

    def windows(self, rows: int) -> tuple[Spans, Tensor]:
        """Cut items into windows of so many rows, one after the other; the last of an item may be shorter.

        Returns:
            The spans of these items, followed by those of all windows; and for each of both the item that it is, or
            is part of, (N + windows,). Items of at most `rows` rows are windows of their own.

        Example:
            >>> spans, whole = Spans.of_lengths([2, 5]).windows(2)
            >>> spans.lengths.tolist(), whole.tolist()
            ([2, 5, 2, 2, 2, 1], [0, 1, 0, 1, 1, 1])
        """
        counts = -(-self.lengths // rows)
        whole = torch.arange(len(self)).repeat_interleave(counts)
        nth = torch.arange(len(whole)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        lengths = torch.minimum(self.lengths[whole] - nth * rows, torch.tensor(rows))
        spans = Spans(torch.cat([self.starts, self.starts[whole] + nth * rows]), torch.cat([self.lengths, lengths]))
        return spans, torch.cat([torch.arange(len(self)), whole])
