"""Several processes work on one store at once, without a server."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import FeatureStore
from cuebank.store.verify import verify

PROGRAMS = Path(__file__).resolve().parent / "programs"


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("writer_program", PROGRAMS / "writer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_processes_that_write_at_once_do_no_harm_and_readers_see_whole_series(quick_path, writer, run_program):
    path, count = quick_path / "f.zarr", 150
    writers = [run_program("writer.py", path, seed, count, 7) for seed in range(4)]
    while not path.exists() and any(process.poll() is None for process in writers):
        pass
    looks = 0
    while any(process.poll() is None for process in writers):
        store = FeatureStore.open(path)
        for name in store.feature_sets():
            for item in list(store.series(name))[-3:]:
                number = 2 * int(item.clip_id.split()[1]) + (item.entity_id == "left")
                found = store.read(name, item.clip_id, item.entity_id)
                assert np.array_equal(found.values, writer.series(number, name)[0])
        looks += 1
    for process in writers:
        out, err = process.communicate()
        assert out.endswith("done\n"), err
    assert looks > 1
    store = FeatureStore.open(path)
    for spec in writer.SPECS:
        assert store.missing(spec.name, map(writer.key, range(count))) == []
        for number in range(count):
            for mine, wanted in zip(
                store.read(spec.name, *writer.key(number)), writer.series(number, spec.name), strict=True
            ):
                assert np.array_equal(mine, wanted)
    assert verify(path) == {"ok": True, "series": 2 * count, "problems": [], "notes": []}
    assert [path.name for path in quick_path.iterdir()] == ["f.zarr"]


RACE = """
import sys
from cuebank.store import Conflict, FeatureSpec, FeatureStore, Recipe
path, seed = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
with FeatureStore.open(path, "a") as store:
    for i in range(30):
        try:
            store.create(FeatureSpec(f"set.{i}", "numeric", 1, "float32", Recipe("demo", {"seed": seed})))
            print(i, flush=True)
        except Conflict as error:
            if "recipe.weights.seed" not in str(error):
                raise
"""


def test_of_two_that_create_one_feature_set_exactly_one_wins(tmp_path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, tmp_path / "f.zarr", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = []
    for racer in racers:
        out, err = racer.communicate(timeout=60)
        assert racer.returncode == 0, err
        won.append({int(line) for line in out.split()})
    assert set.union(*won) == set(range(30))
    assert sum(map(len, won)) == 30
    store = FeatureStore.open(tmp_path / "f.zarr")
    for seed, names in enumerate(won):
        assert all(store.spec(f"set.{i}").recipe.weights == {"seed": seed} for i in names)


def test_a_newer_commit_wins_over_what_it_has_seen(small_store, make_series):
    first, second = FeatureStore.open(small_store, "a"), FeatureStore.open(small_store, "a")
    first.write("demo.x", "c1", None, *make_series(50))
    second.write("demo.x", "c1", None, *make_series(60))
    second.commit()
    first.commit()  # begun earlier, committed later
    for store in (first, second):
        store.refresh()
        assert np.array_equal(store.read("demo.x", "c1").values, make_series(50).values)
        store.close()


def test_opening_to_write_removes_what_dead_writers_left_but_not_what_live_ones_need(small_store, make_series):
    area = small_store.with_name(small_store.name + ".writing")
    living = FeatureStore.open(small_store, "a")
    living.write("demo.x", "living", None, *make_series(0))
    (area / "0123456789abcdef" / "000001").mkdir(parents=True)
    (area / "0123456789abcdef.lock").touch()
    (area / "fedcba9876543210").mkdir()
    (area / "notes.txt").write_text("not ours")
    with FeatureStore.open(small_store, "a"):
        assert len(list(area.iterdir())) == 3
    assert verify(small_store)["ok"]
    assert "unfinished" in verify(small_store)["notes"][0]
    living.commit()
    living.close()
    assert [path.name for path in area.iterdir()] == ["notes.txt"]


def test_a_fork_may_not_write_or_clean_up_for_its_parent(small_store, make_series):
    program = """
import os, sys
import numpy as np
from cuebank.store import BadInput, FeatureStore
store = FeatureStore.open(sys.argv[1], "a")
rows = np.ones((2, 3)), [0, 1], [True, True]
store.write("demo.x", "parent", None, *rows)
pid = os.fork()
if pid == 0:
    try:
        store.write("demo.x", "child", None, *rows)
    except BadInput as error:
        store.close()
        os._exit(7 if "fork" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
store.commit()
store.close()
"""
    subprocess.run([sys.executable, "-c", program, small_store], check=True)
    store = FeatureStore.open(small_store)
    assert store.missing("demo.x", [("parent", None), ("child", None)]) == [("child", None)]
    assert verify(small_store)["ok"]


def test_threads_may_write_through_one_object(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:

        def work(number):
            for i in range(20):
                store.write("demo.x", f"{number} {i}", None, *make_series(100 * number + i))
                if i % 5 == 4:
                    store.commit()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(4):
            for i in range(20):
                found = store.read("demo.x", f"{number} {i}")
                assert np.array_equal(found.values, make_series(100 * number + i).values)
    assert verify(small_store)["ok"]
