"""What is dropped is out of sight at once, and off the disk as soon as nobody can be reading it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cuebank.store import BadInput, Conflict, Corrupt, FeatureStore, Key, NotFound
from cuebank.store import drop as dropping
from cuebank.store.compact import compact
from cuebank.store.drop import drop, keys_of
from cuebank.store.files import corrupt
from cuebank.store.segments import Segment
from cuebank.store.verify import verify

MARKER = b"marker 0123!"  # three float32 numbers
ID = "clip-that-must-go"


def marked(rows=40):
    return np.tile(np.frombuffer(MARKER, "f4"), (rows, 1)), np.arange(rows) / 50, np.ones(rows, bool)


@pytest.fixture
def marked_store(store_path, make_spec, make_series):
    """Segments with a clip whose bytes can be recognised: written twice, and once more with something else."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(3):
            store.write("demo.x", f"c{i}", None, *make_series(i))
            store.write("demo.x", ID, None, *(marked() if i < 2 else make_series(9)))
            store.write("demo.x", ID, "left", *marked(3))
            store.record_failure("demo.x", "bad", None, f"reason-{i}-of-bad")
            store.commit()
    return store_path


def names(path, feature_set="demo.x"):
    with FeatureStore.open(path) as store:
        return [Key(item.clip_id, item.entity_id) for item in store.series(feature_set)]


@pytest.mark.parametrize("compacted", [False, True])
def test_dropped_bytes_are_nowhere_in_the_files_older_copies_included(marked_store, layout, compacted):
    if compacted:
        with FeatureStore.open(marked_store, "a") as store:
            compact(store)
    assert layout(marked_store).holds(MARKER + MARKER)
    with FeatureStore.open(marked_store, "a") as store:
        told = drop(store, "demo.x", [(ID, None), (ID, "left")])
        assert told == {"feature_set": "demo.x", "series": 2, "waiting_bytes": 0}
        assert not layout(marked_store).holds(MARKER)
        assert not layout(marked_store).holds(ID.encode())
        assert names(marked_store) == [Key("c0"), Key("c1"), Key("c2")]
    assert not layout(marked_store).holds(MARKER)
    assert not layout(marked_store).holds(ID.encode())
    assert verify(marked_store) == {"ok": True, "series": 3, "problems": [], "notes": []}


def test_other_series_of_the_same_clip_stay(marked_store):
    with FeatureStore.open(marked_store, "a") as store:
        assert drop(store, "demo.x", [(ID, None)])["series"] == 1
        assert np.array_equal(store.read("demo.x", ID, "left").values, marked(3)[0])
        with pytest.raises(NotFound):
            store.read("demo.x", ID)
        assert store.missing("demo.x", [(ID, None), (ID, "left")]) == [Key(ID)]
    assert verify(marked_store)["ok"]


def test_a_failure_can_be_dropped_with_its_reasons(marked_store, layout):
    assert layout(marked_store).holds(b"reason-0-of-bad")
    with FeatureStore.open(marked_store, "a") as store:
        assert drop(store, "demo.x", [("bad", None)])["series"] == 0
        assert store.failures("demo.x") == []
    assert not layout(marked_store).holds(b"-of-bad")


def test_a_series_does_not_leave_an_older_failure_or_series_behind(marked_store, make_series):
    with FeatureStore.open(marked_store, "a") as store:
        store.write("demo.x", "bad", None, *make_series(1))
        store.commit()
        assert drop(store, "demo.x", [("bad", None)])["series"] == 1
        assert store.failures("demo.x") == []
        with pytest.raises(NotFound):
            store.read("demo.x", "bad")


@pytest.mark.parametrize("key", [("never", None), ("c0", "left"), (ID, "right")])
def test_an_absent_key_is_not_found_and_then_nothing_is_dropped(marked_store, layout, key):
    before = layout(marked_store).contents()
    with FeatureStore.open(marked_store, "a") as store:
        with pytest.raises(NotFound, match="Nothing was removed"):
            drop(store, "demo.x", [("c0", None), key])
        with pytest.raises(NotFound, match=r"demo\.x"):
            drop(store, "demo.y", [("c0", None)])
    assert layout(marked_store).contents() == before


def test_a_store_that_is_open_for_reading_drops_nothing(marked_store):
    with FeatureStore.open(marked_store) as store:
        for keys in (None, [("c0", None)]):
            with pytest.raises(BadInput, match="open for reading"):
                drop(store, "demo.x", keys)


def test_a_key_that_is_named_twice_counts_once(marked_store):
    with FeatureStore.open(marked_store, "a") as store:
        assert drop(store, "demo.x", [("c0", None), ("c0", None)])["series"] == 1


def test_everything_can_be_dropped_key_by_key(marked_store):
    with FeatureStore.open(marked_store, "a") as store:
        for key in [*names(marked_store), ("bad", None)]:
            drop(store, "demo.x", [key])
        assert store.coverage()["demo.x"] == (0, 0, 0, 0)
        compact(store)
    assert names(marked_store) == []
    assert verify(marked_store)["ok"]


def test_a_dropped_key_can_be_written_again(marked_store, make_series):
    with FeatureStore.open(marked_store, "a") as store:
        drop(store, "demo.x", [(ID, None)])
        store.write("demo.x", ID, None, *make_series(5))
        store.commit()
        assert np.array_equal(store.read("demo.x", ID).values, make_series(5).values)
    assert np.array_equal(FeatureStore.open(marked_store).read("demo.x", ID).values, make_series(5).values)


def test_what_is_pending_outlives_the_drop_of_a_key(marked_store, make_series):
    with FeatureStore.open(marked_store, "a") as store:
        store.write("demo.x", ID, None, *make_series(5))
        drop(store, "demo.x", [(ID, None)])
        store.commit()
        assert np.array_equal(store.read("demo.x", ID).values, make_series(5).values)


def test_a_reader_goes_on_and_the_bytes_wait_for_it(marked_store, layout):
    reader = FeatureStore.open(marked_store)
    assert len(reader.series("demo.x")) == 5
    with FeatureStore.open(marked_store, "a") as store:
        assert drop(store, "demo.x", [(ID, "left")])["waiting_bytes"] > 0
    assert np.array_equal(reader.read("demo.x", ID, "left").values, marked(3)[0])
    assert len(reader.series("demo.x")) == 5
    assert layout(marked_store).holds(MARKER)
    reader.refresh()
    with pytest.raises(NotFound):
        reader.read("demo.x", ID, "left")
    reader.close()
    with FeatureStore.open(marked_store, "a") as store:
        drop(store, "demo.x", [(ID, None)])
    assert not layout(marked_store).holds(MARKER)
    assert verify(marked_store)["ok"]


def test_an_interrupted_drop_brings_nothing_old_to_light(marked_store, monkeypatch):
    """The oldest copies go first, so that at every moment the newest is shown, or nothing."""
    done = []

    def interrupted(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(real(*args))

    from cuebank.store import compact as compaction

    real = compaction.rewrite
    newest = FeatureStore.open(marked_store).read("demo.x", ID).values
    monkeypatch.setattr(compaction, "rewrite", interrupted)
    with FeatureStore.open(marked_store, "a") as store, pytest.raises(KeyboardInterrupt):
        drop(store, "demo.x", [(ID, None)])
    monkeypatch.undo()
    assert np.array_equal(FeatureStore.open(marked_store).read("demo.x", ID).values, newest)
    with FeatureStore.open(marked_store, "a") as store:
        drop(store, "demo.x", [(ID, None)])
        with pytest.raises(NotFound):
            store.read("demo.x", ID)


def test_a_damaged_series_can_be_dropped(marked_store, layout):
    layout(marked_store).damage(("c1", None))
    assert not verify(marked_store)["ok"]
    with FeatureStore.open(marked_store, "a") as store:
        assert drop(store, "demo.x", [("c1", None)])["series"] == 1
    assert verify(marked_store) == {"ok": True, "series": 4, "problems": [], "notes": []}


def test_dropping_another_series_does_not_launder_a_damaged_one(marked_store, layout):
    layout(marked_store).damage(("c1", None))
    with FeatureStore.open(marked_store, "a") as store:
        drop(store, "demo.x", [(ID, None)])
        with pytest.raises(Corrupt, match="'c1'"):
            store.read("demo.x", "c1")
    assert [problem["clip_id"] for problem in verify(marked_store)["problems"]] == ["c1"]


def test_nothing_is_said_to_be_dropped_while_a_segment_cannot_be_read(marked_store, layout):
    place = layout(marked_store)
    place.flip(place.document(place.bundles()[0]), 8 * 150)
    before = place.contents()
    with FeatureStore.open(marked_store, "a") as store, pytest.raises(Corrupt, match=place.bundles()[0].stem):
        drop(store, "demo.x", [("c1", None)])
    assert place.contents() == before


def test_the_keys_of_a_clip_are_not_told_while_a_segment_cannot_be_read(marked_store, layout):
    place = layout(marked_store)
    place.flip(place.document(place.bundles()[0]), 8 * 150)
    with FeatureStore.open(marked_store, "a") as store, pytest.raises(Corrupt, match=place.bundles()[0].stem):
        keys_of(store, "demo.x", clips=["c1"])


def test_a_feature_set_is_dropped_as_a_whole_and_its_name_is_free(marked_store, layout, make_spec, make_series):
    with FeatureStore.open(marked_store, "a") as store:
        store.create(make_spec("other.x"))
        store.write("other.x", "c0", None, *make_series(3))
        store.commit()
        store.write("demo.x", "pending", None, *make_series(3))
        told = drop(store, "demo.x")
        assert told == {"feature_set": "demo.x", "series": 5, "waiting_bytes": 0}
        assert store.pending_series == 0
        for call in (store.spec, store.series, store.failures):
            with pytest.raises(NotFound):
                call("demo.x")
        with pytest.raises(NotFound):
            store.read("demo.x", "c0")
        assert store.feature_sets() == ["other.x"]
        assert not layout(marked_store).holds(MARKER)
        other = make_spec(dim=2, layer="another")
        store.create(other)
        store.write("demo.x", "c0", None, *make_series(4, dim=2))
        store.commit()
        assert np.array_equal(store.read("demo.x", "c0").values, make_series(4, dim=2).values)
    with FeatureStore.open(marked_store) as store:
        assert store.spec("demo.x") == other
        assert names(marked_store) == [Key("c0")]
        assert np.array_equal(store.read("other.x", "c0").values, make_series(3).values)
    assert verify(marked_store)["ok"]


def test_a_compacted_feature_set_is_dropped_as_a_whole(marked_store, layout, make_spec):
    with FeatureStore.open(marked_store, "a") as store:
        compact(store)
    with FeatureStore.open(marked_store, "a") as store:
        drop(store, "demo.x")
        assert store.feature_sets() == []
    assert not layout(marked_store).holds(MARKER)
    assert FeatureStore.open(marked_store).feature_sets() == []
    assert verify(marked_store) == {"ok": True, "series": 0, "problems": [], "notes": []}
    with FeatureStore.open(marked_store, "a") as store:
        store.create(make_spec(layer="another"))
        assert len(store.series("demo.x")) == 0


def test_a_feature_set_that_another_process_has_open_is_a_conflict_and_goes_afterwards(marked_store):
    program = """
import sys
from cuebank.store import FeatureStore
with FeatureStore.open(sys.argv[1]) as store:
    print(len(store.series("demo.x")), flush=True)
    sys.stdin.readline()
    for clip_id, entity_id, _ in store.series("demo.x"):
        store.read("demo.x", clip_id, entity_id)
"""
    reader = subprocess.Popen(
        [sys.executable, "-c", program, marked_store], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline() == "5\n"
    with FeatureStore.open(marked_store, "a") as store:
        with pytest.raises(Conflict, match="has the store open"):
            drop(store, "demo.x", wait_s=0.1)
        assert len(store.series("demo.x")) == 5
        reader.communicate("\n")
        assert reader.returncode == 0
        assert drop(store, "demo.x", wait_s=5)["series"] == 5
    assert FeatureStore.open(marked_store).feature_sets() == []


def test_a_drop_waits_for_a_compactor_or_says_so(marked_store):
    with FeatureStore.open(marked_store, "a") as first, FeatureStore.open(marked_store, "a") as second:
        with first._writer.area().alone(0), pytest.raises(Conflict, match="Another process"):
            drop(second, "demo.x", [("c0", None)], wait_s=0.05)
        assert drop(second, "demo.x", [("c0", None)])["series"] == 1


def test_a_drop_that_ends_with_an_error_of_the_disk_can_be_repeated(marked_store, monkeypatch):
    def fail(*args):
        raise OSError(5, "Input/output error")

    with FeatureStore.open(marked_store, "a") as store, monkeypatch.context() as patched:
        patched.setattr(dropping, "give_back", fail)
        with pytest.raises(OSError, match="Input/output"):
            drop(store, "demo.x", [(ID, None)])
    with FeatureStore.open(marked_store, "a") as store:
        with pytest.raises(NotFound):  # it is out of sight already
            store.read("demo.x", ID)
        assert drop(store, "demo.x", [(ID, "left")])["waiting_bytes"] == 0
    assert verify(marked_store)["ok"]


def test_a_drop_that_cannot_write_a_segment_anew_does_not_bring_an_older_version_to_light(
    scattered_versions, make_series, monkeypatch
):
    path, first = scattered_versions
    real, refused = Segment.rows, []

    def rows(self, start, stop):
        if self.file.name == first and not refused:
            refused.append(self.file.name)
            raise Corrupt("Rows were read.", "The disk refused.", "Try again.")
        return real(self, start, stop)

    monkeypatch.setattr(Segment, "rows", rows)
    with FeatureStore.open(path, "a") as store, pytest.raises(Conflict, match="refused"):
        drop(store, "demo.x", [("twice", None)])
    assert refused
    with FeatureStore.open(path, "a") as store:
        assert np.array_equal(store.read("demo.x", "twice").values, make_series(2).values)
        drop(store, "demo.x", [("twice", None)])
        assert store.missing("demo.x", [("twice", None)]) == [("twice", None)]


@pytest.fixture
def scattered_versions(store_path, make_spec, make_series):
    """A store in which a series was written over, with neighbours; and the name of the older segment."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for version in (1, 2):
            store.write("demo.x", "twice", None, *make_series(version))
            store.write("demo.x", f"beside {version}", None, *make_series(10 + version))
            store.commit()
        first = store._container.segments("demo.x")[0]
    return store_path, first


@pytest.mark.parametrize("name", ["key_hash", "row_size"])
def test_a_segment_that_becomes_unreadable_during_a_drop_keeps_its_series(marked_store, monkeypatch, name):
    """Its index was read when the keys were looked for, and cannot be when the segment is to be written anew."""
    with FeatureStore.open(marked_store) as store:
        newest = store._container.segments("demo.x")[-1]
    real = dropping.merge_segments

    def once_broken(*arguments):
        array = Segment.key_hash.fget if name == "key_hash" else Segment.row_size.fget

        def fail(segment):
            if newest in segment.file.where:
                raise corrupt(segment.file.where, "It cannot be read just now.")
            return array(segment)

        with monkeypatch.context() as patch:
            patch.setattr(Segment, name, property(fail))
            return real(*arguments)

    monkeypatch.setattr(dropping, "merge_segments", once_broken)
    with FeatureStore.open(marked_store, "a") as store, pytest.raises(Conflict, match=newest):
        drop(store, "demo.x", [(ID, "left")])
    assert Key("c2") in names(marked_store)
    assert Key(ID, "left") in names(marked_store)
    assert verify(marked_store)["ok"]
