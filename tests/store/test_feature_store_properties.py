"""A dict and the store agree after any sequence of operations (stateful, made up by hypothesis)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cuebank.store import FeatureSpec, FeatureStore, Key, Recipe
from cuebank.store.verify import verify

SPEC = FeatureSpec("demo.x", "numeric", 2, "float16", Recipe("demo", {}))
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
keys = st.builds(Key, ids, st.none() | ids)
few_keys = st.sampled_from([Key("a"), Key("a", "b"), Key("ab"), Key("\x00"), Key("é", "/")])


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
@given(st.dictionaries(keys, series(), min_size=1, max_size=6), st.floats(-2e6, 2e6), st.floats(-2e6, 2e6))
def test_any_ids_and_lengths_and_ranges_read_back(content, start_s, stop_s):
    start_s, stop_s = sorted((start_s, stop_s))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        with FeatureStore.open(f"{folder}/f.zarr", "a") as store:
            store.create(SPEC)
            for key, parts in content.items():
                store.write("demo.x", *key, *parts)
            store.commit()
        store = FeatureStore.open(f"{folder}/f.zarr")
        assert [(item.clip_id, item.entity_id) for item in store.series("demo.x")] == list(content)
        for key, (values, times, valid) in content.items():
            same_bytes(store.read("demo.x", *key), (values, times, valid))
            inside = (times >= start_s) & (times < stop_s)
            same_bytes(store.read("demo.x", *key, start_s, stop_s), (values[inside], times[inside], valid[inside]))


class StoreMachine(RuleBasedStateMachine):
    """Writers and readers of one store against a model in dicts."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(dir=MEMORY)
        self.path = f"{self.folder}/f.zarr"
        self.committed, self.failed = {}, {}
        self.pending = [({}, {}), ({}, {})]
        self.stores = [FeatureStore.open(self.path, "a") for _ in range(2)]
        self.stores[0].create(SPEC)

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

    @rule(who=st.integers(0, 1))
    def close_and_open_again(self, who):
        self.stores[who].close()
        self.pending[who] = ({}, {})
        self.stores[who] = FeatureStore.open(self.path, "a")

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), who=st.integers(0, 1))
    def read(self, data, who):
        key = data.draw(st.sampled_from(sorted(self.committed, key=str)))
        self.stores[who].refresh()
        same_bytes(self.stores[who].read("demo.x", *key), self.committed[key])

    @invariant()
    def agree(self):
        store = FeatureStore.open(self.path)
        assert {Key(item.clip_id, item.entity_id): item.rows for item in store.series("demo.x")} == {
            key: len(parts[0]) for key, parts in self.committed.items()
        }
        failures = {key: reason for key, reason in self.failed.items() if key not in self.committed}
        assert {Key(f.clip_id, f.entity_id): f.reason for f in store.failures("demo.x")} == {
            key: reason.encode("utf-8", "backslashreplace").decode() for key, reason in failures.items()
        }
        rows = sum(len(parts[0]) for parts in self.committed.values())
        clips = len({key.clip_id for key in self.committed})
        assert store.coverage()["demo.x"] == (len(self.committed), clips, rows, len(failures))
        wanted = [*self.committed, *failures, Key("never")]
        assert store.missing("demo.x", wanted) == [*failures, Key("never")]

    def teardown(self):
        for store in self.stores:
            store.close()
        report = verify(self.path)
        assert report == {"ok": True, "series": len(self.committed), "problems": [], "notes": []}
        shutil.rmtree(self.folder)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
