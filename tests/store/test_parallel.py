"""Two threads do every job once, and an error in either is an error of the whole."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from cuebank.store import parallel
from cuebank.store.parallel import processors, share_jobs


def test_every_job_is_done_once_by_two_threads():
    done, threads = [], set()

    def begin():
        def do(job):
            threads.add(threading.get_ident())
            time.sleep(0.001)
            done.append(job)

        return do

    share_jobs(iter(range(50)), begin)
    assert sorted(done) == list(range(50))
    assert len(threads) == 2


@pytest.mark.parametrize("where", ["caller", "other"])
def test_an_error_of_either_thread_is_raised_after_both_have_stopped(where):
    caller = threading.get_ident()
    meet = threading.Barrier(2)
    done = []

    def begin():
        meet.wait(timeout=10)

        def do(job):
            if (threading.get_ident() == caller) == (where == "caller"):
                raise LookupError(job)
            time.sleep(0.05)
            done.append(job)

        return do

    with pytest.raises(LookupError):
        share_jobs(iter(range(1000)), begin)
    count = len(done)
    assert count <= 2
    time.sleep(0.1)
    assert len(done) == count
    share_jobs([1, 2, 3], lambda: done.append)  # the next call is not affected
    assert sorted(done[count:]) == [1, 2, 3]


def test_an_error_in_making_jobs_is_raised():
    def jobs():
        yield 1
        raise LookupError("rows")

    with pytest.raises(LookupError, match="rows"):
        share_jobs(jobs(), lambda: lambda job: None)


def test_a_fork_gets_a_thread_of_its_own():
    program = (
        "import os; from cuebank.store.parallel import share_jobs\n"
        "share_jobs(range(9), lambda: lambda job: None)\n"
        "child = os.fork()\n"
        "done = []; share_jobs(range(9), lambda: done.append)\n"
        "if not child: os._exit(len(done))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "9"


def test_the_processors_are_those_this_process_may_use(monkeypatch):
    assert processors() >= 1
    monkeypatch.delattr(parallel.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: None)
    assert processors() == 1
