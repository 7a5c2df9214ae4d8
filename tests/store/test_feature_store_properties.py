"""A dict and the store agree after any sequence of operations (stateful, made up by hypothesis)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cuebank.store import FeatureSpec, FeatureStore, Key, NotFound, Recipe
from cuebank.store.compact import compact
from cuebank.store.drop import drop
from cuebank.store.recipe import CODECS
from cuebank.store.verify import verify

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
keys = st.builds(Key, ids, st.none() | ids)
codecs = st.sampled_from(CODECS)
few_keys = st.sampled_from([Key("a"), Key("a", "b"), Key("ab"), Key("\x00"), Key("é", "/")])


def make_spec(codec, version=1):
    return FeatureSpec("demo.x", "numeric", 2, "float16", Recipe("demo", {"version": version}), codec=codec)


@st.composite
def series(draw):
    """Values, times and flags of 0 to 6 rows."""
    count = draw(st.integers(0, 6))
    values = draw(hnp.arrays(np.float16, (count, 2), elements=st.floats(-60000, 60000, width=16)))
    times = sorted(draw(st.lists(st.floats(-1e6, 1e6), min_size=count, max_size=count)))
    valid = draw(hnp.arrays(bool, count))
    return values, np.array(times, float), valid


def same_bytes(found, wanted):
    values, times, valid = wanted
    assert found.values.tobytes() == np.where(valid[:, None], values, np.float16(0)).tobytes()
    assert found.times.tobytes() == times.tobytes()
    assert found.valid.tobytes() == valid.tobytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["zarr", "h5"]),
    codecs,
    st.dictionaries(keys, series(), min_size=1, max_size=6),
    st.floats(-2e6, 2e6),
    st.floats(-2e6, 2e6),
)
def test_any_ids_and_lengths_and_ranges_read_back(container, codec, content, start_s, stop_s):
    start_s, stop_s = sorted((start_s, stop_s))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        with FeatureStore.open(f"{folder}/f.{container}", "a") as store:
            store.create(make_spec(codec))
            for key, parts in content.items():
                store.write("demo.x", *key, *parts)
            store.commit()
        store = FeatureStore.open(f"{folder}/f.{container}")
        assert [(item.clip_id, item.entity_id) for item in store.series("demo.x")] == list(content)
        for key, (values, times, valid) in content.items():
            same_bytes(store.read("demo.x", *key), (values, times, valid))
            inside = (times >= start_s) & (times < stop_s)
            same_bytes(store.read("demo.x", *key, start_s, stop_s), (values[inside], times[inside], valid[inside]))


class Snapshot:
    """What a reader must go on showing: the state of the model when it last looked at the disk."""

    def __init__(self, store, committed, failed):
        self.store = store
        self.committed = dict(committed)
        self.failed = {key: reason for key, reason in failed.items() if key not in committed}

    def check_index(self):
        """Compare lists, counts and failures."""
        found = {Key(item.clip_id, item.entity_id): item.rows for item in self.store.series("demo.x")}
        assert found == {key: len(parts[0]) for key, parts in self.committed.items()}
        assert {Key(f.clip_id, f.entity_id): f.reason for f in self.store.failures("demo.x")} == {
            key: reason.encode("utf-8", "backslashreplace").decode() for key, reason in self.failed.items()
        }
        rows = sum(len(parts[0]) for parts in self.committed.values())
        clips = len({key.clip_id for key in self.committed})
        assert self.store.coverage()["demo.x"] == (len(self.committed), clips, rows, len(self.failed))
        wanted = [*self.committed, *self.failed, Key("never")]
        assert self.store.missing("demo.x", wanted) == [*self.failed, Key("never")]

    def check_rows(self):
        """Compare all rows."""
        for key, parts in self.committed.items():
            same_bytes(self.store.read("demo.x", *key), parts)


class StoreMachine(RuleBasedStateMachine):
    """Writers and readers of one store against a model in dicts."""

    container = "zarr"

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(dir=MEMORY)
        self.path = f"{self.folder}/f.{self.container}"
        self.version = 0
        self.reader = None
        self.stores = []

    @initialize(codec=codecs)
    def begin(self, codec):
        self.open_writers()
        self.create(codec)

    def open_writers(self):
        self.stores = [FeatureStore.open(self.path, "a") for _ in range(2)]
        self.pending = [({}, {}), ({}, {})]

    def create(self, codec):
        self.version += 1  # another recipe than any before
        self.stores[0].create(make_spec(codec, self.version))
        self.committed, self.failed = {}, {}

    @rule(who=st.integers(0, 1), key=few_keys, parts=series())
    def write(self, who, key, parts):
        self.stores[who].write("demo.x", *key, *parts)
        self.pending[who][0][key] = parts
        self.pending[who][1].pop(key, None)

    @rule(who=st.integers(0, 1), key=few_keys, reason=st.text(max_size=9))
    def record_failure(self, who, key, reason):
        self.stores[who].record_failure("demo.x", *key, reason)
        if key not in self.pending[who][0]:
            self.pending[who][1][key] = reason

    @rule(who=st.integers(0, 1))
    def commit(self, who):
        self.stores[who].commit()
        self.committed |= self.pending[who][0]
        self.failed |= self.pending[who][1]
        self.pending[who] = ({}, {})

    @rule(who=st.integers(0, 1), key=few_keys, parts=series())
    def write_and_commit(self, who, key, parts):
        self.write(who, key, parts)
        self.commit(who)

    @rule(who=st.integers(0, 1))
    def close_and_open_again(self, who):
        self.stores[who].close()
        self.pending[who] = ({}, {})
        self.stores[who] = FeatureStore.open(self.path, "a")

    @rule(reader_first=st.booleans(), fold=st.booleans())
    def close_all_and_open_again(self, reader_first, fold):
        self.close_reader()
        if fold:
            compact(self.stores[1])
        for store in self.stores:
            store.close()
        if reader_first:
            self.open_reader()
        self.open_writers()

    @rule(who=st.integers(0, 1), look=st.booleans())
    def compact(self, who, look):
        told = compact(self.stores[who], wait_s=0)
        assert told["problems"] == []
        assert told["feature_sets"]["demo.x"]["segments_after"] <= 1
        if look:
            self.stores[who].refresh()
            Snapshot(self.stores[who], self.committed, self.failed).check_index()

    @rule(who=st.integers(0, 1), key=few_keys)
    def drop(self, who, key):
        if key in self.committed or key in self.failed:
            told = drop(self.stores[who], "demo.x", [key], wait_s=0)
            assert told["series"] == (key in self.committed)
            self.committed.pop(key, None)
            self.failed.pop(key, None)
        else:
            with pytest.raises(NotFound):
                drop(self.stores[who], "demo.x", [key], wait_s=0)

    @rule(who=st.integers(0, 1), codec=codecs, close=st.booleans())
    def drop_the_feature_set(self, who, codec, close):
        self.close_reader()
        self.stores[1 - who].close()
        drop(self.stores[who], "demo.x", wait_s=0)
        with pytest.raises(NotFound):
            self.stores[who].series("demo.x")
        if close:
            self.stores[who].close()
            self.stores[who] = FeatureStore.open(self.path, "a")
        assert self.stores[who].feature_sets() == []
        self.stores[1 - who] = FeatureStore.open(self.path, "a")
        self.pending = [({}, {}), ({}, {})]
        self.create(codec)

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), who=st.integers(0, 1))
    def read(self, data, who):
        key = data.draw(st.sampled_from(sorted(self.committed, key=str)))
        self.stores[who].refresh()
        same_bytes(self.stores[who].read("demo.x", *key), self.committed[key])

    @precondition(lambda self: self.reader is None)
    @rule()
    def open_reader(self):
        self.look_again(FeatureStore.open(self.path))

    def look_again(self, store):
        """Note what the reader must show from now on; what it has not looked at, it looks at later."""
        assert len(store.series("demo.x")) == len(self.committed)
        self.reader = Snapshot(store, self.committed, self.failed)

    @precondition(lambda self: self.reader)
    @rule(rows_first=st.booleans())
    def the_reader_shows_what_it_saw(self, rows_first):
        if rows_first:
            self.reader.check_rows()
        self.reader.check_index()
        self.reader.check_rows()

    @precondition(lambda self: self.reader)
    @rule()
    def refresh_the_reader(self):
        self.reader.store.refresh()
        self.look_again(self.reader.store)

    @precondition(lambda self: self.reader)
    @rule()
    def close_the_reader(self):
        self.close_reader()

    def close_reader(self):
        if self.reader is not None:
            self.reader.check_rows()
            self.reader.store.close()
            self.reader = None

    @invariant()
    def agree(self):
        if self.stores:
            with FeatureStore.open(self.path) as store:
                Snapshot(store, self.committed, self.failed).check_index()

    def teardown(self):
        try:
            if self.stores:
                self.close_reader()
                for store in self.stores:
                    store.close()
                with FeatureStore.open(self.path) as store:
                    Snapshot(store, self.committed, self.failed).check_rows()
                report = verify(self.path)
                assert report == {"ok": True, "series": len(self.committed), "problems": [], "notes": []}
        finally:
            shutil.rmtree(self.folder)


class Hdf5StoreMachine(StoreMachine):
    """The same for the other container."""

    container = "h5"


MACHINES = {"zarr": StoreMachine, "h5": Hdf5StoreMachine}


def run_machine(container, examples, steps):
    limits = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(
        MACHINES[container],
        settings=settings(limits, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]),
    )


def test_a_store_and_a_dict_agree_after_any_operations(container):
    run_machine(container, 40, 25)


@pytest.mark.slow
def test_a_store_and_a_dict_agree_after_many_operations(container):
    run_machine(container, 400, 40)
