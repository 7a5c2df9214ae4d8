"""Where to compute: the device by its name, and the number of CPU threads for as long as it matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..store.errors import BadInput

# SEMPI's head, five folds at once: 4 million at batch 8, which is one thread's work, 34 million at 64, which is two's.
MULTIPLY_ADDS_PER_THREAD = 16_000_000


def check_device(name: str) -> str:
    """Return the name of a device that is there.

    Raises:
        BadInput: if torch does not know it, or this machine does not have it.

    Example:
        >>> check_device("cpu")
        'cpu'
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"The device `{name}` was asked for.", f"It cannot be used: {reason}.", "Use --device cpu."
        ) from error
    return name


def threads_for(multiply_adds: int) -> int:
    """Return how many CPU threads a training step is worth, at most as many as torch has now.

    Threads meet after every operation. In small steps that costs more than it saves, and on a busy machine several
    times more: a step then waits for whichever thread is not running.

    Args:
        multiply_adds: of a step's forward pass.
    """
    return max(1, min(torch.get_num_threads(), multiply_adds // MULTIPLY_ADDS_PER_THREAD))


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads inside; None changes nothing."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
