"""Independent jobs on as many threads as torch may use, each of which computes alone.

A graph is a long row of small products. Torch's own helpers would wait for each other after every one of them, which
costs more than the product, and on a busy machine a hundred times more.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # in a fork their threads do not exist


def share(jobs: Iterable[Job], begin: Callable[[], Callable[[Job], None]], device: torch.device) -> None:
    """Do all jobs, without gradients; the next one goes to whoever is free.

    Args:
        jobs: which must not depend on each other.
        begin: called once on each thread, returns what does a job there.
        device: where they compute; other devices than the CPU get them one after another.

    Raises:
        Exception: what a job raised; jobs that were not begun are not done then.
    """
    left = deque(jobs)

    def work() -> None:
        with torch.no_grad():  # each thread has its own switch
            do = begin()
            while True:
                try:
                    job = left.popleft()
                except IndexError:
                    return
                try:
                    do(job)
                except BaseException:
                    left.clear()
                    raise

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(left) < 2:
        work()
        return
    running = [_pool(threads).submit(work) for _ in range(threads)]
    errors = [one.exception() for one in running]  # waits for all of them
    for error in errors:
        if error is not None:
            raise error


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return that many threads on which torch uses no helpers."""
    if threads not in _pools:
        pool, all_here = ThreadPoolExecutor(threads, thread_name_prefix="cuebank-graph"), threading.Barrier(threads)

        def prepare(_: int) -> None:
            torch.get_num_threads()  # has it look at what the thread inherits, before that is changed
            torch.set_num_threads(1)
            all_here.wait()

        list(pool.map(prepare, range(threads)))
        torch.set_num_threads(threads)  # each thread has its own number, but those to come inherit the last one set
        _pools[threads] = pool
    return _pools[threads]
