"""Rows of the coming steps, taken together while the steps before are computed.

S is runs, B rows per step, D columns of one input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from .runs import Inputs

# Rows taken at once, in bytes: large enough to hide the call, small enough to stay near the processor.
GATHER_BYTES = 4 << 20


class Gatherer:
    """Takes the rows of chunks of steps for S runs, into two buffers in turn.

    On the CPU the next chunk is taken by a second thread, so that a program that computes on one thread uses
    two; what comes out does not depend on it.

    Args:
        inputs: of each run.
        labels: of each run, (N,).
    """

    def __init__(self, inputs: Sequence[Inputs], labels: Sequence[Tensor]) -> None:
        self._inputs, self._labels = list(inputs), list(labels)
        self._matrix = inputs[0].features.matrix
        self._buffers: list[Tensor] = []

    def chunks(self, orders: Sequence[Tensor]) -> Iterator[tuple[int, dict[str, Tensor], Tensor]]:
        """Take all steps of an epoch, chunk by chunk.

        Args:
            orders: rows of each run's steps (steps, B), the longest first, on the device.

        Yields:
            The first step of the chunk, its features by role (S, steps, B, D) and labels (S, steps, B), valid
            until the next chunk is asked for. What belongs to steps that a run does not have means nothing.
        """
        steps, size = orders[0].shape
        chunk = max(1, GATHER_BYTES // (self._matrix[0].nbytes * size * len(orders)))
        shape = len(orders), min(chunk, steps), size, self._matrix.shape[1]
        if not self._buffers or self._buffers[0].shape != shape:
            # Zeros, so that what is never taken is at least a number.
            self._buffers = [self._matrix.new_zeros(shape) for _ in range(2)]
        starts = range(0, steps, chunk)
        if self._matrix.device.type != "cpu":
            for start in starts:
                yield start, *self._take(orders, start, min(start + chunk, steps), self._buffers[0])
            return
        with ThreadPoolExecutor(1) as ahead:
            jobs = (
                ahead.submit(self._take, orders, start, min(start + chunk, steps), self._buffers[i % 2])
                for i, start in enumerate(starts)
            )
            job = next(jobs)
            for start in starts:
                taken = job.result()
                job = next(jobs, job)
                yield start, *taken

    def _take(
        self, orders: Sequence[Tensor], start: int, stop: int, buffer: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        block = buffer[:, : stop - start]
        labels = self._labels[0].new_zeros(block.shape[:3])
        for i, order in enumerate(orders):
            rows = order[start:stop].flatten()
            self._inputs[i].take(rows, out=block[i].flatten(0, 1)[: rows.numel()])
            torch.index_select(self._labels[i], 0, rows, out=labels[i].flatten()[: rows.numel()])
        return self._inputs[0].features.split(block), labels
