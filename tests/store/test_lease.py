"""Who has a store open holds it; only who is alone may take something away."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cuebank.store import BadInput, FeatureStore
from cuebank.store import lease as lease_module
from cuebank.store.lease import Lease
from cuebank.store.verify import verify


def is_alone(lease, wait_s=0.0):
    with lease.exclusive(wait_s) as alone:
        return alone


def test_one_holder_is_alone_and_two_are_not(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert not is_alone(first)
    assert not is_alone(second)
    second.close()
    assert is_alone(first)


def test_holding_goes_on_after_exclusiveness_was_tried_or_given_back(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert not is_alone(first)
    assert not is_alone(second)  # `first` still holds it
    second.close()
    assert is_alone(first)
    third = Lease(tmp_path)
    assert not is_alone(third)  # and again


def test_a_lease_that_nobody_refers_to_any_more_is_let_go(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    del second
    gc.collect()
    assert is_alone(first)


def test_waiting_ends_when_the_other_lets_go(tmp_path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    threading.Timer(0.1, second.close).start()
    begin = time.monotonic()
    assert is_alone(first, wait_s=10)
    assert time.monotonic() - begin < 5


def test_who_comes_while_another_is_alone_waits_until_that_is_over(tmp_path):
    first = Lease(tmp_path)
    program = "import sys; from pathlib import Path; from cuebank.store.lease import Lease\nLease(Path(sys.argv[1]))"
    with first.exclusive() as alone:
        assert alone
        process = subprocess.Popen([sys.executable, "-c", program, tmp_path])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
    assert process.wait(30) == 0


def test_a_folder_that_was_replaced_is_not_held(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    old = Lease(folder)
    folder.rename(tmp_path / "moved")
    assert not is_alone(old)
    folder.mkdir()
    assert not is_alone(old)
    assert is_alone(Lease(folder))


def test_a_file_system_without_locks_is_read_but_nothing_is_taken_away_there(tmp_path, monkeypatch):
    def no_locks(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    lease = Lease(tmp_path)
    with pytest.raises(BadInput, match="cannot lock folders"):
        is_alone(lease)
    lease.close()


def test_a_store_is_held_from_opening_to_closing_by_readers_and_writers(small_store, layout):
    lease = Lease(layout(small_store).root)
    for mode in ("r", "a"):
        store = FeatureStore.open(small_store, mode)
        assert not is_alone(lease)
        store.close()
        assert is_alone(lease)
        with FeatureStore.open(small_store, mode):
            assert not is_alone(lease)
        assert is_alone(lease)


def test_a_store_that_is_only_half_opened_is_not_held(store_path, layout, make_spec):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
    lease = Lease(layout(store_path).root)
    with pytest.raises(BadInput):
        FeatureStore.open(store_path, "w")
    assert is_alone(lease)


def test_verify_lets_go_of_a_damaged_store(small_store, layout):
    place = layout(small_store)
    place.flip(place.document(place.bundles()[0]), 8 * 150)
    gc.collect()
    gc.disable()
    try:
        assert not verify(small_store)["ok"]
        assert is_alone(Lease(place.root))
    finally:
        gc.enable()


def test_a_fork_is_never_alone_and_does_not_touch_its_parents_lock(tmp_path):
    lease = Lease(tmp_path)
    pid = os.fork()
    if pid == 0:
        with lease.exclusive() as alone:
            os._exit(3 if alone else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with lease.exclusive() as alone:
        assert alone


def test_a_child_that_lives_on_does_not_keep_others_from_compacting(small_store):
    """A fork inherits the descriptor of the lock; when its parent is done, the lock is gone all the same."""
    with FeatureStore.open(small_store, "a") as store:
        with store._writer.area().alone(0.0):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
        try:
            with store._writer.area().alone(0.0):
                pass
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "disk")])
def test_no_descriptor_is_left_open_when_locking_fails(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(lease_module, "leads_to", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        Lease(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
