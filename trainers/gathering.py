"""Rows of the coming steps, taken for all runs and many steps at once.

A second thread that takes the next rows while these are computed was tried: passing the interpreter to and fro
costs more than it saves.

S is runs, B rows per step, D columns of one input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .runs import Inputs

# Rows taken at once, in bytes: large enough to hide the call, small enough to stay near the processor.
GATHER_BYTES = 4 << 20


class Gatherer:
    """Takes the rows of chunks of steps for S runs, always into the same memory.

    Args:
        inputs: of each run.
        labels: of each run, (N,) or (N, K).
    """

    def __init__(self, inputs: Sequence[Inputs], labels: Sequence[Tensor]) -> None:
        self._inputs, self._labels = list(inputs), list(labels)
        self._matrix = inputs[0].features.matrix
        self._buffer: Tensor | None = None

    def chunks(self, orders: Sequence[Tensor]) -> Iterator[tuple[int, dict[str, Tensor], Tensor]]:
        """Take all steps of an epoch, chunk by chunk.

        Args:
            orders: rows of each run's steps (steps, B), the longest first, on the device.

        Yields:
            The first step of the chunk, its features by role (S, steps, B, D) and labels (S, steps, B) or
            (S, steps, B, K), valid until the next chunk is asked for. What belongs to steps that a run does not have
            means nothing.
        """
        steps, size = orders[0].shape
        chunk = min(steps, max(1, GATHER_BYTES // (self._matrix[0].nbytes * size * len(orders))))
        if self._buffer is None:
            # Zeros, so that what is never taken is at least a number.
            self._buffer = self._matrix.new_zeros(len(orders), chunk, size, self._matrix.shape[1])
        for start in range(0, steps, chunk):
            yield start, *self._take(orders, start, min(start + chunk, steps), self._buffer)

    def _take(
        self, orders: Sequence[Tensor], start: int, stop: int, buffer: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        block = buffer[:, : stop - start]
        labels = self._labels[0].new_zeros(*block.shape[:3], *self._labels[0].shape[1:])
        for i, order in enumerate(orders):
            rows = order[start:stop].flatten()
            self._inputs[i].take(rows, out=block[i].flatten(0, 1)[: rows.numel()])
            torch.index_select(self._labels[i], 0, rows, out=labels[i].flatten(0, 1)[: rows.numel()])
        return self._inputs[0].features.split(block), labels
