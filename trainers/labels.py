"""Labels as training and evaluation see them: one for each item, or one for each row of an item.

N is items, B items of a batch, R rows of all items, T rows of the longest item, K outputs of a regression, C outputs
of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store.errors import BadInput
from .spans import Spans


@dataclass(frozen=True, eq=False)
class ItemLabels:
    """A label for each item.

    Args:
        values: (N,), or (N, K), floats; or (N,) int64 class ids.
    """

    values: Tensor

    def pick(self, outputs: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (…, B, C) that have a label, and the labels (B,) or (B, K).

        Raises:
            BadInput: if the head gives outputs for rows.
        """
        _check_rank(outputs, 2, "one label for each clip")
        return outputs, self.values[items]

    def of(self, items: npt.NDArray[np.int64]) -> tuple[Tensor | None, Tensor]:
        """Return which of the outputs of `evaluate` have a label, None for all, and the labels."""
        return None, self.values[torch.from_numpy(items)]

    def to(self, device: torch.device | str) -> ItemLabels:
        """Return the same on a device."""
        return ItemLabels(self.values.to(device))


@dataclass(frozen=True, eq=False)
class RowLabels:
    """A label for each row, or none.

    Args:
        values: (R,) or (R, K) floats, or (R,) int64 class ids; 0 where there is none.
        labelled: (R,) bool; only these rows count, in the loss and in scores.
        spans: of the items.
    """

    values: Tensor
    labelled: Tensor
    spans: Spans

    def pick(self, outputs: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (B, T, C) of rows that have a label (n, C), and the labels (n,) or (n, K).

        Raises:
            BadInput: if the head gives outputs for items.
        """
        _check_rank(outputs, 3, "a label for each row")
        index, inside = (part.to(self.labelled.device) for part in self.spans.padded(items.cpu()))
        chosen = self.labelled[index] & inside
        return outputs[chosen], self.values[index[chosen]]

    def of(self, items: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return which of the rows of `evaluate` have a label, (rows,) bool, and the labels."""
        rows = self.spans.flat(torch.from_numpy(items)).to(self.labelled.device)
        keep = self.labelled[rows]
        return keep, self.values[rows[keep]]

    def counts(self) -> Tensor:
        """Return how many labelled rows each item has, (N,) int64."""
        sums = torch.cat([torch.zeros(1, dtype=torch.int64), self.labelled.cumsum(0)])
        return sums[self.spans.starts + self.spans.lengths] - sums[self.spans.starts]

    def to(self, device: torch.device | str) -> RowLabels:
        """Return the same on a device."""
        return RowLabels(self.values.to(device), self.labelled.to(device), self.spans)


def labels_of(labels: Tensor | RowLabels) -> ItemLabels | RowLabels:
    """Return the labels of a run; a tensor has one for each item."""
    return ItemLabels(labels) if isinstance(labels, Tensor) else labels


def _check_rank(outputs: Tensor, rank: int, said: str) -> None:
    if outputs.ndim != rank:
        raise BadInput(
            f"The task has {said}.",
            f"The head gives outputs {tuple(outputs.shape)}.",
            "Use another head, or a task of the other unit: `cuebank heads` and `cuebank tasks` list them.",
        )
