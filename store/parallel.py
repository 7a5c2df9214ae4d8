"""Work for several threads: numpy and torch let others run while they convert, copy or compute.

Two, where blocks are copied: more would wait for each other and for the memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

Job = TypeVar("Job")

_pools: dict[str, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # in a fork their threads do not exist


def share_jobs(
    jobs: Iterable[Job], begin: Callable[[], Callable[[Job], None]], torch: Any = None, threads: int = 2
) -> None:
    """Do all jobs on two threads; each takes the next as soon as it has finished one.

    Args:
        jobs: may be made while others are done; only one thread at a time makes one.
        begin: called once on each thread, returns what does a job there.
        torch: the module, if jobs call it; it starts no further threads for them then.
        threads: how many, where torch is given.

    Raises:
        Exception: what a job, or making one, raised; jobs that were not begun are not done then.
    """
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

    pool, count = (_pool(), 1) if torch is None else (_torch_pool(torch, threads), threads)
    others = [pool.submit(work) for _ in range(count)]
    try:
        if torch is None:
            work()
        wait(others)
    finally:
        failed.set()  # if we were interrupted; nobody is at work any more when this returns
        wait(others)
    for one in others:
        one.result()


def _pool() -> ThreadPoolExecutor:
    if "numpy" not in _pools:
        _pools["numpy"] = ThreadPoolExecutor(1, thread_name_prefix="cuebank-copy")
    return _pools["numpy"]


def _torch_pool(torch: Any, threads: int) -> ThreadPoolExecutor:
    """Return threads on which torch works alone.

    Its own helpers wait for each other, which on a busy machine takes a hundred times longer than the work.
    """
    name = f"torch-{threads}"
    if name not in _pools:
        own, all_here = torch.get_num_threads(), threading.Barrier(threads)
        pool = ThreadPoolExecutor(threads, thread_name_prefix=f"cuebank-{name}")

        def begin(_: int) -> None:
            torch.get_num_threads()  # has it look at what the thread inherits, before that is changed
            torch.set_num_threads(1)
            all_here.wait()

        list(pool.map(begin, range(threads)))
        torch.set_num_threads(own)  # each thread has its own number, but those to come inherit the last one set
        _pools[name] = pool
    return _pools[name]


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
