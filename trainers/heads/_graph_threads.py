"""Independent jobs on as many threads as torch may use, each of which computes alone.

A graph network is very many small steps. Torch's own helpers wait for each other after every one of them, which costs
as much as the step, and more on a busy machine, where a step of training took twice the time. So graphs are shared out
among threads that compute alone, and what is left to one thread is done without helpers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...store.parallel import share_jobs

Job = TypeVar("Job")
_allowed = threading.local()  # in a thread that is alone: how many threads it may share jobs with


def share(jobs: Iterable[Job], begin: Callable[[], Callable[[Job], None]], device: torch.device) -> None:
    """Do all jobs, without gradients; the next one goes to whoever is free.

    Args:
        jobs: which must not depend on each other.
        begin: called once on each thread, returns what does a job there.
        device: where they compute; other devices than the CPU get them one after another.

    Raises:
        Exception: what a job raised; jobs that were not begun are not done then.
    """

    def without_gradients() -> Callable[[Job], None]:
        with torch.no_grad():  # each thread has its own switch
            return torch.no_grad()(begin())

    waiting = list(jobs)
    threads = getattr(_allowed, "threads", None) or torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(waiting) < 2:
        do = without_gradients()
        for job in waiting:
            do(job)
    else:
        share_jobs(waiting, without_gradients, torch, threads)


def without_helpers(run: Callable[[Tensor], Tensor], x: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Return `run(x)`; it and its way back are computed on one thread, which shares jobs out as before.

    Args:
        run: differentiable in x and in the parameters.
        x: any tensor.
        parameters: all else that `run` gives a gradient to.
    """
    if x.device.type != "cpu" or torch.get_num_threads() == 1:
        return run(x)
    if not torch.is_grad_enabled():
        with _alone():
            return run(x)
    result: Tensor = _WithoutHelpers.apply(run, x, *parameters)
    return result


class _WithoutHelpers(torch.autograd.Function):
    """A differentiable program inside the outer one, so that its way back is ours to call."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[Tensor], Tensor], x: Tensor, *parameters: Tensor) -> Tensor:
        """Return the result."""
        inner = x.detach().requires_grad_(x.requires_grad)
        with torch.enable_grad(), _alone():
            result = run(inner)
        ctx.result, ctx.inputs = result, (inner, *parameters)
        return result.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the parameters."""
        wanted = [one for one, need in zip(ctx.inputs, ctx.needs_input_grad[1:], strict=True) if need]
        with _alone():
            found = iter(torch.autograd.grad(ctx.result, wanted, grad, allow_unused=True))
        return None, *(next(found) if need else None for need in ctx.needs_input_grad[1:])


@contextmanager
def _alone() -> Iterator[None]:
    """Take torch's helpers from this thread."""
    threads = torch.get_num_threads()
    _allowed.threads = threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _allowed.threads = None
