"""Committed means durable: writers are killed, starved of disk and interrupted, and the laws hold each time."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import FeatureStore
from cuebank.store.verify import verify

WRITER = Path(__file__).resolve().parent / "programs" / "writer.py"
SERIES = 400


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("writer_program", WRITER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_store(path, writer, promised):
    """Everything promised is there, everything there is right; return how many series there are."""
    store = FeatureStore.open(path)
    count = 0
    for name in store.feature_sets():
        there = {(item.clip_id, item.entity_id) for item in store.series(name)}
        assert {writer.key(number) for number in promised} <= there
        for number in range(SERIES):
            if writer.key(number) in there:
                for mine, wanted in zip(
                    store.read(name, *writer.key(number)), writer.series(number, name), strict=True
                ):
                    assert np.array_equal(mine, wanted)
                count += 1
    report = verify(path)
    assert report["problems"] == []
    assert report["series"] == count
    return count


def kill_and_resume(folder, writer, run_program, rounds, seed):
    """Kill a writer at random moments again and again; at last let it finish. Return what was promised before that."""
    rng, path, log = random.Random(seed), folder / "f.zarr", folder / "log"
    promised = set()
    for round_ in range(rounds):
        with log.open("w") as file:
            process = run_program("writer.py", path, round_, SERIES, rng.choice([1, 5, 20]), log=file)
            lines = rng.randrange(6)  # of its output that are awaited; the first says that it begins
            while process.poll() is None and len(log.read_text().splitlines()) < lines:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
            process.wait()
        told = log.read_text().splitlines(keepends=True)
        promised |= {int(word) for line in told if line.endswith("\n") and line[0].isdigit() for word in line.split()}
        if path.exists():
            check_store(path, writer, promised)
    process = run_program("writer.py", path, 0, SERIES, 50)
    out, err = process.communicate(timeout=60)
    assert out.endswith("done\n"), err
    assert check_store(path, writer, range(SERIES)) == 2 * SERIES
    assert sorted([path.name for path in folder.iterdir()]) == ["f.zarr", "log"]  # the dead writers' leftovers are gone
    return promised


def test_a_writer_killed_at_random_moments_loses_nothing_that_was_committed(quick_path, writer, run_program):
    promised = kill_and_resume(quick_path, writer, run_program, rounds=6, seed=1)
    assert 0 < len(promised) < SERIES  # it was killed in the middle, not before or after


@pytest.mark.slow
def test_a_writer_killed_fifty_times_loses_nothing_that_was_committed(tmp_path, writer, run_program):
    for seed in range(5):
        (tmp_path / str(seed)).mkdir()
        kill_and_resume(tmp_path / str(seed), writer, run_program, rounds=10, seed=seed)


KINDS = ["kill", "interrupt", "refuse", "lost", "short", "full", "limit"]  # see programs/faults.py


def inject(run_program, folder, container, kind, seed, count):
    """Let faults of a kind strike at some of the points that it has, all of them if `count` is 0."""
    process = run_program("faults.py", folder, container, kind, seed, count)
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["points"] > 100
    assert told["tried"] == (count or told["points"])
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_file_operation_leaves_what_was_promised(quick_path, container, run_program, kind):
    inject(run_program, quick_path, container, kind, seed=4, count=8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_file_operation_leaves_what_was_promised(quick_path, container, run_program, kind, capsys):
    told = inject(run_program, quick_path, container, kind, seed=0, count=0)
    with capsys.disabled():
        print(f"\n{container}, {kind}: a fault at each of {told['points']} points")


def test_a_failed_commit_is_not_forgotten(small_store, make_series, monkeypatch):
    store = FeatureStore.open(small_store, "a")
    store.write("demo.x", "new", None, *make_series(0))

    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.commit()
    # The disk works again, but a second fsync would not tell what the first one lost.
    with pytest.raises(OSError, match="No space"):
        store.commit()
    store.close()
    assert verify(small_store)["problems"] == []
    assert FeatureStore.open(small_store).missing("demo.x", [("new", None)]) == [("new", None)]


@pytest.mark.parametrize("go_on", [False, True])
def test_a_write_that_finds_the_disk_full_leaves_what_is_pending_whole(small_store, make_series, monkeypatch, go_on):
    store = FeatureStore.open(small_store, "a")
    store.write("demo.x", "before", None, *make_series(1))
    real_write, calls = os.write, []

    def full(fd, data):
        calls.append(fd)
        if len(calls) == 2:  # the values are written, the times are not
            raise OSError(28, "No space left on device")
        return real_write(fd, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            store.write("demo.x", "lost", None, *make_series(2, rows=50))
    if go_on:
        store.write("demo.x", "after", None, *make_series(3))
    store.commit()
    store.close()
    assert verify(small_store)["problems"] == []
    found = FeatureStore.open(small_store)
    assert np.array_equal(found.read("demo.x", "before").values, make_series(1).values)
    wanted = [("after", None), ("lost", None)]
    assert found.missing("demo.x", wanted) == wanted[go_on:]
    if go_on:
        assert np.array_equal(found.read("demo.x", "after").values, make_series(3).values)


def test_short_writes_are_continued(small_store, make_series, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
    with FeatureStore.open(small_store, "a") as store:
        store.write("demo.x", "new", None, *make_series(1, rows=40))
        store.commit()
        assert np.array_equal(store.read("demo.x", "new").values, make_series(1, rows=40).values)
    assert verify(small_store)["problems"] == []


@pytest.mark.parametrize("strike", [1, 5, 20, 27, 29])
def test_after_an_interrupted_commit_one_may_write_on(small_store, make_series, monkeypatch, strike):
    store = FeatureStore.open(small_store, "a")
    store.record_failure("demo.x", "failed", None, "a segment without rows, whose files are not there in Zarr")
    real_sync, calls = os.fsync, []

    def interrupted(fd):
        calls.append(fd)
        if len(calls) == strike:
            raise KeyboardInterrupt
        real_sync(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            store.commit()
    store.write("demo.x", "later", None, *make_series(3))
    store.commit()
    store.close()
    assert verify(small_store)["problems"] == []
    found = FeatureStore.open(small_store)
    assert np.array_equal(found.read("demo.x", "later").values, make_series(3).values)
    assert [failure.clip_id for failure in found.failures("demo.x")] == ["bad", "failed"]
