"""Reusable memory for batches: rows of different series side by side, zeros behind the shorter ones, and a mask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from .errors import BadInput
from .halves import Copy, copier
from .parallel import processors, share_jobs

SHORT_ROWS = 16  # up to so many rows an item on average, all items of a source are copied in one step,
MEMBERS = 4  # if there are at least so many
# So many numbers torch converts without help. On a busy machine its helpers wait for each other a hundred times longer
# than they work.
ALONE = 32767
SHARED_BYTES = 4 * 2**20  # so much is worth waking a second thread

Span = tuple[int, int]  # first row, last row + 1
Job = Callable[[Copy], None]
Source = tuple[list[int], np.ndarray, np.ndarray]  # items; values (rows, D) and valid (rows,) in which their spans lie


class Batch(NamedTuple):
    """B series or parts of series.

    `values` (B, T, D), zeros behind the end of each and where a row is not valid; `mask` (B, T) bool, True where there
    is a valid row; `lengths` (B,) int64 rows of each. Tensors if the buffer is a tensor, else arrays.
    """

    values: Any
    mask: Any
    lengths: Any


class PaddedBuffer:
    """Memory that is filled again and again; only what the last batch left behind is cleared.

    Between two calls, nobody else may write behind the rows of a batch.

    Args:
        values: (>= B, >= T, D) array, or torch tensor in the host's memory (pinned or not).
        mask: (>= B, >= T) bool of the same kind; None makes one.
        dim: D of the series.
        stored: type of the series.

    Raises:
        BadInput: if the memory cannot hold such series, or no one may write to it.
    """

    def __init__(self, values: Any, mask: Any, dim: int, stored: np.dtype[Any]) -> None:
        self.values, self._array = values, _as_array(values, "out")
        _check_values(self._array, dim, stored)
        if mask is None:
            mask = np.zeros(self._array.shape[:2], bool)
            if values is not self._array:
                mask = sys.modules["torch"].from_numpy(mask)
        self.mask, self._mask_array = mask, _as_array(mask, "mask")
        _check_mask(self._mask_array, self._array)
        self._stored = stored
        self._tensors = values is not self._array
        self._used = np.full(len(self._array), self._array.shape[1], np.int64)  # rows that are perhaps not zero
        self._at_once = ALONE  # numbers that torch may convert in one call

    @classmethod
    def fresh(cls, size: int, rows: int, dim: int, stored: np.dtype[Any], dtype: np.dtype[Any]) -> PaddedBuffer:
        """Return a new buffer (size, rows, dim) of zeros."""
        buffer = cls(np.zeros((size, rows, dim), dtype), np.zeros((size, rows), bool), dim, stored)
        buffer._used[:] = 0
        return buffer

    def fill(self, spans: Sequence[Span], sources: Iterable[Source]) -> Batch:
        """Copy rows into the buffer and clear what is behind them.

        Args:
            spans: of B items.
            sources: where these rows are, each item once; taken one after the other.

        Returns:
            The first B items of the buffer, with all of its T.

        Raises:
            BadInput: if there are more items, or longer ones, than the buffer holds.
        """
        lengths = np.array([last - first for first, last in spans], np.int64)
        count, rows = len(lengths), int(lengths.max(initial=0))
        if count > len(self._array) or rows > self._array.shape[1]:
            raise BadInput(
                f"A batch of {count} items with up to {rows} rows was to be gathered.",
                f"The buffer holds {len(self._array)} items of {self._array.shape[1]} rows.",
                "Give a larger one, or fewer or shorter items.",
            )
        before = self._used[:count].copy()
        self._used[:count] = np.maximum(before, lengths)  # still true if we are interrupted on the way
        left: Iterator[Job] = (
            partial(self._clear, i, lengths[i], before[i]) for i in np.flatnonzero(before > lengths).tolist()
        )
        self._do(chain(self._jobs(spans, sources), left), int(lengths.sum()))
        self._used[:count] = lengths
        sizes = sys.modules["torch"].from_numpy(lengths) if self._tensors else lengths
        return Batch(self.values[:count], self.mask[:count], sizes)

    def _jobs(self, spans: Sequence[Span], sources: Iterable[Source]) -> Iterator[Job]:
        """Yield what is to be done for one item after the other, but for many of few rows together."""
        for items, values, valid in sources:
            own = np.array([spans[i] for i in items])
            if len(items) >= MEMBERS and (own[:, 1] - own[:, 0]).sum() <= SHORT_ROWS * len(items):
                yield partial(self._copy_short, np.array(items), own, values, valid)
                continue
            if self._tensors:
                rows, copy_item = _as_tensor(values), self._copy_tensor
            else:
                rows, copy_item = values, self._copy_array
            for i, (first, last) in zip(items, own.tolist(), strict=True):
                yield partial(copy_item, i, first, last, rows, valid)

    def _do(self, jobs: Iterator[Job], rows: int) -> None:
        size = rows * self._array.shape[2] * self._array.itemsize
        if size < SHARED_BYTES or processors() < 2:
            do = self._begin()
            for job in jobs:
                do(job)
            return
        self._at_once = sys.maxsize
        try:
            share_jobs(jobs, self._begin, sys.modules["torch"] if self._tensors else None)
        finally:
            self._at_once = ALONE

    def _begin(self) -> Callable[[Job], None]:
        """Return what does a job on this thread."""
        copy_rows = copier(self._stored, self._array.dtype)
        return lambda job: job(copy_rows)

    def _copy_array(
        self, item: int, first: int, last: int, values: np.ndarray, valid: np.ndarray, copy_rows: Copy
    ) -> None:
        copy_rows(values[first:last], self._array[item, : last - first])
        self._mask_array[item, : last - first] = valid[first:last]

    def _copy_tensor(self, item: int, first: int, last: int, values: Any, valid: np.ndarray, copy_rows: Copy) -> None:
        target, source = self.values[item].narrow(0, 0, last - first), values.narrow(0, first, last - first)
        rows = max(1, self._at_once // max(1, source.shape[1]))
        for piece, given in zip(target.split(rows), source.split(rows), strict=True):
            piece.copy_(given)
        self._mask_array[item, : last - first] = valid[first:last]

    def _clear(self, item: int, first: int, last: int, _: Copy) -> None:
        self._array[item, first:last] = 0
        self._mask_array[item, first:last] = False

    def _copy_short(
        self, items: np.ndarray, spans: np.ndarray, values: np.ndarray, valid: np.ndarray, copy_rows: Copy
    ) -> None:
        """Copy items of few rows in one step."""
        sizes = spans[:, 1] - spans[:, 0]
        # Row numbers 0, 1, … within each item, one item after the other.
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows, places = np.repeat(spans[:, 0], sizes) + within, np.repeat(items, sizes)
        taken = values[rows]
        widened = np.empty(taken.shape, self._array.dtype)
        copy_rows(taken, widened)
        self._array[places, within] = widened
        self._mask_array[places, within] = valid[rows]


def _as_array(memory: Any, name: str) -> np.ndarray:
    """Return an array, or the array over the memory of a torch tensor."""
    if isinstance(memory, np.ndarray):
        return memory
    torch = sys.modules.get("torch")
    found = f"`{name}` is a {type(memory).__name__}."
    if torch is not None and isinstance(memory, torch.Tensor):
        found = f"`{name}` is a tensor of {memory.dtype} on {memory.device}."
        if memory.device.type == "cpu" and not memory.requires_grad and memory.dtype != torch.bfloat16:
            return memory.numpy()
    raise BadInput(
        "A batch was to be gathered into a buffer.",
        found,
        "Give an array, or a tensor without gradient in the host's memory, of a type that numpy has; "
        "pinned memory can then be copied to a device in one step.",
    )


def _as_tensor(values: np.ndarray) -> Any:
    """Return a tensor over read-only rows; it is only read. torch would warn that it cannot protect them."""
    torch = sys.modules["torch"]
    return torch.from_numpy(np.asarray(_Writable(values)))


class _Writable:
    """Says of read-only memory that it may be written to."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _check_values(array: np.ndarray, dim: int, stored: np.dtype[Any]) -> None:
    fits = array.ndim == 3 and array.shape[2] == dim and array.flags.writeable
    if not fits or not np.can_cast(stored, array.dtype, "safe"):
        raise BadInput(
            f"A batch of {stored} values (B, T, {dim}) was to be gathered into a buffer.",
            f"It is {array.shape} {array.dtype}{'' if array.flags.writeable else ', read-only'}.",
            f"Give a writable buffer (B, T, {dim}) of the stored or a wider type.",
        )


def _check_mask(mask: np.ndarray, values: np.ndarray) -> None:
    if mask.dtype != bool or mask.shape != values.shape[:2] or not mask.flags.writeable:
        raise BadInput(
            f"A batch was to be gathered into a buffer {values.shape}, with a mask.",
            f"The mask is {mask.shape} {mask.dtype}{'' if mask.flags.writeable else ', read-only'}.",
            f"Give a writable mask {values.shape[:2]} of booleans.",
        )
