"""A store that the first format's writer made still opens, and can be written, compacted and dropped from.

`fixtures/format-1.zarr` was written by version 1, and is never written again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, Conflict, FeatureStore, Key, NotFound
from cuebank.store.compact import compact
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.drop import drop
from cuebank.store.verify import verify

OLD = Path(__file__).resolve().parent / "fixtures" / "format-1.zarr"
DEMO = "demo.x@9+mean"
SERIES = [Key("clip 0"), Key("clip 2"), Key("clip 3"), Key("clip 1")]  # clip 1 was written over later


@pytest.fixture
def copied(quick_path):
    """A copy that may be changed."""
    return Path(shutil.copytree(OLD, quick_path / "old.zarr"))


def demo_values(i):
    return np.arange(3.0 * i).reshape(i, 3) + i


def check_demo(store, clips=(0, 1, 2, 3)):
    for i in clips:
        values, times, valid = store.read(DEMO, f"clip {i}")
        assert values.dtype == np.float16
        if i == 1:  # written over
            assert values.tolist() == [[9, 9, 9], [9, 9, 9]]
            assert (times.tolist(), valid.tolist()) == ([0, 1], [True, True])
        else:
            flags = np.arange(i) % 2 == 0
            assert np.array_equal(values, np.where(flags[:, None], demo_values(i), 0))
            assert np.array_equal(times, np.arange(i) / 50)
            assert np.array_equal(valid, flags)


def check_count(store):
    for i in range(4):
        values, times, valid = store.read("count.y", f"clip {i}", ["left", "右"][i % 2])
        assert values.dtype == np.int64
        assert values.tolist() == [[i], [i]]
        assert (times.tolist(), valid.tolist()) == ([0.5, 1.5], [True, True])


def test_its_content_is_as_it_was_written():
    with FeatureStore.open(OLD) as store:
        assert store.info()["format"] == 1
        assert store.feature_sets() == ["count.y", DEMO]
        check_demo(store)
        check_count(store)
        assert [Key(item.clip_id, item.entity_id) for item in store.series(DEMO)] == SERIES
        assert store.failures(DEMO) == [("bad", None, "kein Ton")]
        with pytest.raises(NotFound, match="kein Ton"):
            store.read(DEMO, "bad")
        spec = store.spec(DEMO)
        assert (spec.dim, spec.dtype, spec.kind, spec.codec) == (3, "float16", "numeric", "none")
        assert [str(part) for part in spec.timebase.to_json().values()] == ["50", "1/80", "1/40"]
        assert (store.spec("count.y").kind, store.spec("count.y").scope) == ("label", "entity")
        assert store.read(DEMO, "clip 2", start_s=0.01).times.tolist() == [0.02]


def test_its_clips_table_is_as_it_was_written():
    with FeatureStore.open(OLD) as store:
        clip = Clip("clip 1", Path("/m/c.wav"), None, 0.5, None, "g1", None, 1, {"arousal": 0.25, "mood": None})
        assert store.clips() == ClipsTable([clip], {"arousal": "number", "mood": "text"})


def test_it_is_sound_and_reading_it_changes_nothing():
    before = {path: path.read_bytes() for path in OLD.rglob("*") if path.is_file()}
    assert verify(OLD) == {"ok": True, "series": 8, "problems": [], "notes": []}
    assert {path: path.read_bytes() for path in OLD.rglob("*") if path.is_file()} == before
    documents = [json.loads(data) for path, data in before.items() if path.name == "zarr.json"]
    assert {one["attributes"].get("cuebank", {}).get("format", 1) for one in documents} == {1}


def test_it_can_be_written_to(copied, make_spec, make_series):
    with FeatureStore.open(copied, "a") as store:
        store.create(store.spec(DEMO))
        with pytest.raises(Conflict):
            store.create(make_spec(DEMO))
        store.write(DEMO, "bad", None, np.ones((1, 3)), [0], [True])
        store.create(make_spec("new.x"))
        store.write("new.x", "clip 0", None, *make_series(0))
        store.commit()
        version = store.write_clips(ClipsTable([Clip("a", Path("/m/a.wav"))]))
    with FeatureStore.open(copied) as store:
        check_demo(store)
        check_count(store)
        assert store.failures(DEMO) == []
        assert store.read(DEMO, "bad").values.tolist() == [[1, 1, 1]]
        assert np.array_equal(store.read("new.x", "clip 0").values, make_series(0).values)
        assert store.clips_versions()[-1] == version
    assert verify(copied)["ok"]


def test_it_can_be_compacted(copied):
    with FeatureStore.open(copied, "a") as store:
        hashes = [feature_set_hash(store, name) for name in store.feature_sets()]
        told = compact(store)
        assert told["problems"] == []
        assert [one["segments_after"] for one in told["feature_sets"].values()] == [1, 1]
    with FeatureStore.open(copied) as store:
        check_demo(store)
        check_count(store)
        assert store._committed(DEMO).index.merged is not None
        assert [feature_set_hash(store, name) for name in store.feature_sets()] == hashes
        assert store.failures(DEMO) == [("bad", None, "kein Ton")]
        assert len(store.clips()) == 1
    assert verify(copied) == {"ok": True, "series": 8, "problems": [], "notes": []}


def test_it_can_be_dropped_from(copied):
    with FeatureStore.open(copied, "a") as store:
        assert drop(store, DEMO, [("clip 1", None), ("bad", None)])["series"] == 1
        check_demo(store, clips=(0, 2, 3))
        assert store.missing(DEMO, SERIES) == [Key("clip 1")]
        drop(store, "count.y")
        assert store.feature_sets() == [DEMO]
    assert verify(copied) == {"ok": True, "series": 3, "problems": [], "notes": []}
