"""Work for two threads: numpy lets others run while it converts or copies a block.

More than two would wait for each other and for the memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None  # in a fork its thread does not exist


os.register_at_fork(after_in_child=_forget_pool)


def share_jobs(jobs: Iterable[Job], begin: Callable[[], Callable[[Job], None]]) -> None:
    """Do all jobs on this thread and a second one; each takes the next as soon as it has finished one.

    Args:
        jobs: may be made while others are done; only one thread at a time makes one.
        begin: called once on each thread, returns what does a job there.

    Raises:
        Exception: what a job, or making one, raised; jobs that were not begun are not done then.
    """
    global _pool
    left, lock = iter(jobs), threading.Lock()
    nothing = object()
    failed = threading.Event()

    def work() -> None:
        try:
            do = begin()
            while not failed.is_set():
                with lock:
                    job = next(left, nothing)
                if job is nothing:
                    return
                do(job)  # type: ignore[arg-type]  # it is a job: `nothing` is ours
        except BaseException:
            failed.set()
            raise

    if _pool is None:
        _pool = ThreadPoolExecutor(1, thread_name_prefix="cuebank-copy")
    second = _pool.submit(work)
    try:
        work()
    finally:
        second.result()  # nobody is at work any more when this returns


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
