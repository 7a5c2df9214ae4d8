"""A dict and a store of texts agree after any sequence of operations, made up by hypothesis."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuebank.store import FeatureSpec, FeatureStore, Key, Recipe, segments
from cuebank.store.compact import compact
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.drop import drop
from cuebank.store.export import export
from cuebank.store.verify import verify

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
WORDS = "words.x"
SPEC = FeatureSpec(WORDS, "text", 1, "int64", Recipe("words", {}))
few_keys = st.sampled_from([Key("a"), Key("a", "b"), Key("ab"), Key("\0"), Key("é", "/")])
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = any_text | st.builds(str.__mul__, any_text, st.integers(0, 900))


@st.composite
def series(draw):
    """Texts, times and flags of 0 to 6 rows."""
    rows = draw(st.lists(texts, max_size=6))
    times = sorted(draw(st.lists(st.floats(-1e6, 1e6), min_size=len(rows), max_size=len(rows))))
    valid = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    return rows, np.array(times, float), np.array(valid, bool)


operations = st.one_of(
    st.tuples(st.just("write"), few_keys, series()),
    st.tuples(st.just("write"), few_keys, series()),
    st.tuples(st.just("fail"), few_keys, any_text),
    st.tuples(st.just("drop"), few_keys),
    st.tuples(st.sampled_from(["commit", "compact", "close", "close and open"])),
)


def same(found, wanted):
    rows, times, valid = wanted
    assert found.values.tolist() == [row if good else "" for row, good in zip(rows, valid, strict=True)]
    assert found.times.tobytes() == times.tobytes()
    assert found.valid.tobytes() == valid.tobytes()


class Model:
    """A store and what it must hold."""

    def __init__(self, path):
        self.path, self.committed, self.pending = path, {}, {}
        self.store = FeatureStore.open(path, "a")
        self.store.create(SPEC)

    def do(self, what, key=None, content=None):
        if what == "write":
            self.store.write(WORDS, *key, *content)
            self.pending[key] = content
        elif what == "fail":
            self.store.record_failure(WORDS, *key, content)
        elif what == "drop":
            if key in self.committed:
                drop(self.store, WORDS, [key])
                del self.committed[key]
        elif what in ("commit", "close and open"):
            self.store.commit()
            self.committed |= self.pending
            self.pending = {}
        elif what == "compact":
            assert compact(self.store)["problems"] == []
        if what.startswith("close"):
            self.close()
            self.store = FeatureStore.open(self.path, "a")

    def close(self):
        self.store.close()
        self.pending = {}

    def check(self, store, start_s=None, stop_s=None):
        assert {Key(one.clip_id, one.entity_id): one.rows for one in store.series(WORDS)} == {
            key: len(one[0]) for key, one in self.committed.items()
        }
        for key, (rows, times, valid) in self.committed.items():
            same(store.read(WORDS, *key), (rows, times, valid))
            low, high = -np.inf if start_s is None else start_s, np.inf if stop_s is None else stop_s
            inside = np.flatnonzero((times >= low) & (times < high))
            same(store.read(WORDS, *key, start_s, stop_s), ([rows[i] for i in inside], times[inside], valid[inside]))


def check_operations(container, done, bounds, room):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        patch.setattr(segments, "TEXT_BYTES", room)
        path = Path(folder) / f"f.{container}"
        model = Model(path)
        for one in done:
            model.do(*one)
            model.check(model.store)
        model.close()
        with FeatureStore.open(path) as store:
            model.check(store, *bounds)
            found = feature_set_hash(store, WORDS)
            other, kind = ("copy.h5", "hdf5") if container == "zarr" else ("copy.zarr", "zarr")
            export(store, Path(folder) / other, kind)
        with FeatureStore.open(Path(folder) / other) as copy:
            model.check(copy, *bounds)
            assert feature_set_hash(copy, WORDS) == found
        report = verify(path)
        assert report == {"ok": True, "series": len(model.committed), "problems": [], "notes": []}
        shutil.rmtree(path, ignore_errors=True)


bounds = st.tuples(st.floats(-2e6, 2e6), st.floats(-2e6, 2e6)).map(sorted)
arguments = (st.lists(operations, max_size=12), bounds, st.sampled_from([1, 30, 2**26]))
quiet = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}


@settings(max_examples=40, **quiet)
@given(*arguments)
def test_a_store_of_texts_and_a_dict_agree(container, done, bounds, room):
    check_operations(container, done, bounds, room)


@pytest.mark.slow
@settings(max_examples=500, **quiet)
@given(*arguments)
def test_a_store_of_texts_and_a_dict_agree_after_many_operations(container, done, bounds, room):
    check_operations(container, done, bounds, room)
