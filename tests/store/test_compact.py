"""Compaction changes where bytes lie, never what is shown; what it replaces stays while anyone may need it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cuebank.store import BadInput, Conflict, Corrupt, FeatureStore, NotFound
from cuebank.store import compact as compaction
from cuebank.store.compact import compact
from cuebank.store.containers import names
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.rewrite import rewrite
from cuebank.store.verify import verify

HOLD = """
import sys
from cuebank.store import FeatureStore
store = FeatureStore.open(sys.argv[1])
print(len(store.series("demo.x")), flush=True)
sys.stdin.readline()
for clip_id, entity_id, rows in store.series("demo.x"):
    assert len(store.read("demo.x", clip_id, entity_id).values) == rows
store.failures("demo.x"), store.coverage()
print("read", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_process():
    """Return a function that starts a process which has the store open; `ask` makes it read everything."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        process.count = int(process.stdout.readline())
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ask(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def leave(process):
    process.communicate("\n\n")
    assert process.returncode == 0


@pytest.fixture
def scattered(store_path, make_spec, make_series):
    """Ten segments: clips c0…c7, of which c1 and c2 were written over, and two failures, one of them mended."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(8):
            store.write("demo.x", f"c{i}", None, *make_series(i, rows=3 + i))
            store.record_failure("demo.x", ["mended", "bad"][i % 2], None, f"reason {i}")
            store.commit()
        for i in (1, 2):
            store.write("demo.x", f"c{i}", None, *make_series(100 + i))
            store.write("demo.x", "mended", None, *make_series(200 + i))
            store.commit()
    return store_path


def shown(path, ordered=True):
    """Return everything that a reader is shown."""
    with FeatureStore.open(path) as store:
        series = list(store.series("demo.x"))
        rows = {(a, b): [array.tobytes() for array in store.read("demo.x", a, b)] for a, b, _ in series}
        failures = store.failures("demo.x")
        keys = [*rows, ("bad", None), ("never", None)]
        missing, coverage = store.missing("demo.x", keys), store.coverage()
        found = feature_set_hash(store, "demo.x")
    return series if ordered else sorted(series), rows, failures, missing, coverage, found


def segments(path):
    with FeatureStore.open(path) as store:
        return store._container.segments("demo.x")


def test_small_segments_become_one_and_nothing_visible_changes(scattered):
    before = shown(scattered)
    with FeatureStore.open(scattered, "a") as store:
        told = compact(store)
        counts = told["feature_sets"]["demo.x"]
        assert (counts["segments_before"], counts["segments_after"]) == (10, 1)
        assert counts["bytes_after"] < counts["bytes_before"]
        assert (told["waiting_bytes"], told["problems"]) == (0, [])
        assert shown(scattered) == before
    assert shown(scattered) == before
    assert len(segments(scattered)) == 1
    assert verify(scattered) == {"ok": True, "series": 9, "problems": [], "notes": []}


def test_compacting_again_does_nothing(scattered, layout):
    for _ in range(2):
        with FeatureStore.open(scattered, "a") as store:
            compact(store)
            names = [path.name for part in ("segments", "index") for path in layout(scattered).bundles(part)]
            again = compact(store)["feature_sets"]["demo.x"]
            assert again["bytes_before"] == again["bytes_after"]
            assert again["segments_before"] == again["segments_after"] == 1
            assert names == [path.name for part in ("segments", "index") for path in layout(scattered).bundles(part)]


def test_a_compacted_store_can_be_written_and_compacted_again_and_again(scattered, make_series):
    for i in range(4):
        with FeatureStore.open(scattered, "a") as store:
            for key in ("c3", f"new {i}"):
                store.write("demo.x", key, None, *make_series(300 + i))
            store.record_failure("demo.x", "c4", None, "must not hide it")
            store.commit()
            expected = shown(scattered)
            compact(store)
            assert shown(scattered) == expected
        assert shown(scattered) == expected
        assert np.array_equal(FeatureStore.open(scattered).read("demo.x", "c3").values, make_series(300 + i).values)
    assert verify(scattered)["ok"]


def test_what_was_written_over_leaves_the_disk(store_path, layout, make_spec):
    marker = np.frombuffer(b"marker 0123!" * 50, "f4").reshape(-1, 3)
    rows = np.arange(len(marker)) / 50, np.ones(len(marker), bool)
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        store.write("demo.x", "a", None, marker, *rows)
        store.commit()
        store.write("demo.x", "a", None, np.zeros_like(marker), *rows)
        store.commit()
        assert layout(store_path).holds(b"marker 0123!marker 0123!")
        compact(store)
        assert not layout(store_path).holds(b"marker 0123!")
        assert not store.read("demo.x", "a").values.any()


def test_names_choose_the_feature_sets(scattered, make_spec, make_series):
    with FeatureStore.open(scattered, "a") as store:
        store.create(make_spec("other.x"))
        for i in range(3):
            store.write("other.x", f"c{i}", None, *make_series(i))
            store.commit()
        assert list(compact(store, ["other.x"])["feature_sets"]) == ["other.x"]
        told = store.info()["feature_sets"]
        assert (told["demo.x"]["segments"], told["other.x"]["segments"]) == (10, 1)
        with pytest.raises(NotFound, match=r"other\.x"):
            compact(store, ["other.y"])
        assert compact(store, [])["feature_sets"] == {}


def test_reading_is_not_enough_to_compact(scattered):
    with FeatureStore.open(scattered) as store, pytest.raises(BadInput, match="open for reading"):
        compact(store)


def test_an_empty_feature_set_and_one_of_failures_only_are_compacted(store_path, make_spec):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        assert compact(store)["feature_sets"]["demo.x"]["segments_after"] == 0
        for i in range(3):
            store.record_failure("demo.x", "bad", None, f"reason {i}")
            store.commit()
        compact(store)
        assert store.failures("demo.x") == [("bad", None, "reason 2")]
    assert verify(store_path)["ok"]


def test_large_segments_are_left_alone_until_much_of_them_is_dead(store_path, make_spec, make_series, monkeypatch):
    monkeypatch.setattr(compaction, "SMALL_BYTES", 2000)
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(20):
            store.write("demo.x", f"large {i}", None, *make_series(i, rows=10))  # 210 bytes each
        store.commit()
        for i in range(2):
            store.write("demo.x", f"small {i}", None, *make_series(i))
            store.commit()
        large = segments(store_path)[0]
        compact(store)
        assert segments(store_path)[0] == large
        assert len(segments(store_path)) == 2
        store.write("demo.x", "large 0", None, *make_series(50, rows=10))
        store.commit()
        compact(store)
        assert segments(store_path)[0] == large  # a twentieth of it is dead
        for i in range(1, 4):
            store.write("demo.x", f"large {i}", None, *make_series(50 + i, rows=10))
        store.commit()
        expected = shown(store_path)
        compact(store)
        assert large not in segments(store_path)
        assert shown(store_path) == expected
        assert np.array_equal(store.read("demo.x", "large 3").values, make_series(53, rows=10).values)


def test_merged_segments_do_not_grow_without_end(store_path, make_spec, make_series, monkeypatch):
    monkeypatch.setattr(compaction, "TARGET_BYTES", 1000)
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(12):
            store.write("demo.x", f"c{i}", None, *make_series(i, rows=10))
            store.commit()
        expected = shown(store_path)
        assert compact(store)["feature_sets"]["demo.x"]["segments_after"] == 3
        assert shown(store_path) == expected


def test_a_commit_during_the_merging_wins_over_the_merged_segment(scattered, make_series, monkeypatch):
    """It slips in between what the merging looked at and the moment in which the merged segment appears."""
    other = FeatureStore.open(scattered, "a")

    def slow(container, spec, run, keep, also_replaces):
        for i in (1, 7):
            other.write("demo.x", f"c{i}", None, *make_series(400 + i))
        other.write("demo.x", "fresh", None, *make_series(500))
        other.record_failure("demo.x", "c5", None, "must not hide it")
        other.commit()
        return rewrite(container, spec, run, keep, also_replaces)

    monkeypatch.setattr(compaction, "rewrite", slow)
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
        monkeypatch.undo()
        for found in (store, FeatureStore.open(scattered)):
            found.refresh()
            for i in (1, 7):
                assert np.array_equal(found.read("demo.x", f"c{i}").values, make_series(400 + i).values)
            assert np.array_equal(found.read("demo.x", "fresh").values, make_series(500).values)
            assert np.array_equal(found.read("demo.x", "c5").values, make_series(5, rows=8).values)
        other.close()
        compact(store)
        assert np.array_equal(store.read("demo.x", "c1").values, make_series(401).values)
    assert FeatureStore.open(scattered).coverage()["demo.x"].series == 10
    assert verify(scattered)["ok"]


def test_a_writer_that_looked_before_the_merging_and_commits_after_it_wins(scattered, make_series):
    with FeatureStore.open(scattered, "a") as late:
        late.write("demo.x", "c1", None, *make_series(600))  # its segment has begun
        with FeatureStore.open(scattered, "a") as store:
            compact(store)
        assert np.array_equal(FeatureStore.open(scattered).read("demo.x", "c1").values, make_series(101).values)
        late.commit()
    assert np.array_equal(FeatureStore.open(scattered).read("demo.x", "c1").values, make_series(600).values)
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    assert np.array_equal(FeatureStore.open(scattered).read("demo.x", "c1").values, make_series(600).values)


def test_what_is_pending_is_not_touched(scattered, make_series):
    with FeatureStore.open(scattered, "a") as store:
        store.write("demo.x", "c1", None, *make_series(700))
        compact(store)
        assert store.pending_series == 1
        assert np.array_equal(store.read("demo.x", "c1").values, make_series(101).values)
        store.commit()
        assert np.array_equal(store.read("demo.x", "c1").values, make_series(700).values)


@pytest.mark.parametrize("part", ["values", "times", "valid"])
def test_a_damaged_series_stays_damaged_and_is_reported(scattered, layout, part):
    layout(scattered).damage(("c6", None), part)
    (before,) = verify(scattered)["problems"]
    for _ in range(2):
        with FeatureStore.open(scattered, "a") as store:
            compact(store)
            with pytest.raises(Corrupt, match="'c6'"):
                store.read("demo.x", "c6")
            assert len(store.read("demo.x", "c5").values) == 8
        (problem,) = verify(scattered)["problems"]
        assert (problem["clip_id"], before["clip_id"]) == ("c6", "c6")
        assert "checksum" in problem["problem"]


def test_a_segment_that_cannot_be_read_at_all_keeps_its_feature_set_from_being_compacted(scattered, layout):
    """Nobody knows what it stands in place of, so what looks as if it counted may have been replaced."""
    place = layout(scattered)
    broken = place.bundles()[4]
    place.flip(place.document(broken), 8 * 150)
    before = place.bundles()
    with FeatureStore.open(scattered, "a") as store:
        told = compact(store)
        assert any(broken.stem in problem["problem"] for problem in told["problems"])
        with pytest.raises(Corrupt, match=broken.stem):
            store.read("demo.x", "c4")
    assert place.bundles() == before
    place.flip(place.document(broken), 8 * 150)
    assert len(FeatureStore.open(scattered).read("demo.x", "c4").values) == 7
    assert verify(scattered)["ok"]


@pytest.mark.parametrize("name", ["row_size", "key_hash"])
def test_a_segment_with_a_damaged_index_is_left_alone_and_the_others_are_merged(scattered, layout, name):
    place = layout(scattered)
    broken = place.bundles()[4]
    with FeatureStore.open(scattered) as store:
        file = store._container.open_segment(store.spec("demo.x"), broken.stem)
        begin = file.stored.region(name)[0] if place.hdf5 else 0
    place.flip(broken if place.hdf5 else broken / name / "0", 8 * begin + 1)
    with FeatureStore.open(scattered, "a") as store:
        assert compact(store)["feature_sets"]["demo.x"]["segments_after"] == 3  # before it, itself, behind it
        assert broken in place.bundles()
        assert len(store.read("demo.x", "c5").values) == 8
        with pytest.raises(Corrupt, match=broken.stem):
            store.read("demo.x", "c4")
    assert broken.stem in segments(scattered)  # in one file, if that is what HDF5 has become
    assert any(broken.stem in problem["problem"] for problem in verify(scattered)["problems"])


def test_a_segment_that_broke_after_it_was_indexed_is_reported_and_left_alone(scattered, layout, make_series):
    place, witness = layout(scattered), FeatureStore.open(scattered)  # it keeps HDF5 from being folded
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    witness.close()
    with FeatureStore.open(scattered, "a") as store:
        for i in range(3):
            store.write("demo.x", f"n{i}", None, *make_series(i))
            store.commit()
    merged = place.bundles()[0]
    place.flip(place.document(merged), 8 * 150)
    with FeatureStore.open(scattered, "a") as store:
        told = compact(store)
        assert any(merged.stem in problem["problem"] for problem in told["problems"])
        assert merged in place.bundles()
        assert np.array_equal(store.read("demo.x", "n2").values, make_series(2).values)
    assert not verify(scattered)["ok"]


def test_what_was_replaced_stays_while_another_process_has_the_store_open(scattered, other_process):
    before, names = shown(scattered), segments(scattered)
    reader = other_process(scattered)
    with FeatureStore.open(scattered, "a") as store:
        told = compact(store)
        assert told["waiting_bytes"] > 0
        assert set(names) < set(segments(scattered))
        assert store.info()["feature_sets"]["demo.x"]["replaced_segments"] == 10
        assert ask(reader) == "read\n"
    assert set(names) < set(segments(scattered))
    assert shown(scattered) == before
    assert verify(scattered)["ok"]
    leave(reader)
    with FeatureStore.open(scattered, "a") as store:
        assert compact(store)["waiting_bytes"] == 0
        assert len(segments(scattered)) == 1
    assert shown(scattered) == before


def test_a_writer_that_closes_the_store_takes_away_what_was_replaced(scattered, other_process, make_series):
    reader = other_process(scattered)
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    leave(reader)
    assert len(segments(scattered)) == 11
    with FeatureStore.open(scattered, "a") as store:
        store.missing("demo.x", [("later", None)])  # as an extraction does: it looks at the feature set
        store.write("demo.x", "later", None, *make_series(1))
        store.commit()
    assert len(segments(scattered)) == 2
    assert verify(scattered)["ok"]


def test_a_writer_that_never_looked_at_the_feature_set_takes_it_away_too(scattered, make_series):
    with FeatureStore.open(scattered) as reader:
        len(reader.series("demo.x"))
        with FeatureStore.open(scattered, "a") as store:
            compact(store)
    assert len(segments(scattered)) == 11
    with FeatureStore.open(scattered, "a") as store:
        store.write("demo.x", "later", None, *make_series(1))
        store.commit()
    assert len(segments(scattered)) == 2


def test_taking_away_what_was_replaced_may_be_interrupted_at_any_moment(scattered, make_series, monkeypatch):
    """Two generations lie there; whichever is moved away first, nothing old comes to light."""
    with FeatureStore.open(scattered) as reader, FeatureStore.open(scattered, "a") as store:
        len(reader.series("demo.x"))
        for i in range(2):
            store.write("demo.x", "c3", None, *make_series(300 + i))
            store.record_failure("demo.x", f"late {i}", None, "gone")
            store.commit()
            compact(store)
        store._writer.close()  # so that it does not tidy
    before, real, moved = shown(scattered), Path.rename, []

    def interrupted(path, target):
        if "segments." in f"{target}" or "index." in f"{target}":
            moved.append(path)
            if len(moved) == 3:
                moved.clear()
                raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    for _ in range(20):
        try:
            with FeatureStore.open(scattered, "a") as store:
                compact(store)
                break
        except KeyboardInterrupt:
            assert shown(scattered) == before
    else:
        pytest.fail("it never came to an end")
    assert shown(scattered) == before
    assert len(segments(scattered)) == 1
    assert verify(scattered)["ok"]


def test_the_dead_hold_nothing_back(scattered, other_process):
    reader = other_process(scattered)
    reader.kill()
    reader.wait()
    with FeatureStore.open(scattered, "a") as store:
        assert compact(store)["waiting_bytes"] == 0
        assert len(segments(scattered)) == 1


def test_a_second_compactor_waits_for_the_first_or_says_so(scattered):
    first, second = FeatureStore.open(scattered, "a"), FeatureStore.open(scattered, "a")
    with first._writer.area().alone(0), pytest.raises(Conflict, match="Another process"):
        compact(second, wait_s=0.05)
    before = shown(scattered)
    assert compact(second)["feature_sets"]["demo.x"]["segments_after"] == 1
    assert compact(first)["feature_sets"]["demo.x"]["segments_before"] == 1
    first.close(), second.close()
    assert shown(scattered) == before


def test_processes_that_compact_at_once_do_no_harm(scattered):
    program = (
        "import sys; from cuebank.store import FeatureStore; from cuebank.store.compact import compact\n"
        "with FeatureStore.open(sys.argv[1], 'a') as store: assert not compact(store)['problems']"
    )
    before = shown(scattered)
    running = [
        subprocess.Popen([sys.executable, "-c", program, scattered], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 3
    assert shown(scattered) == before
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    assert len(segments(scattered)) == 1
    assert verify(scattered)["ok"]


def test_a_compaction_that_fails_half_way_changes_nothing_and_can_be_done_again(scattered, layout, monkeypatch):
    before = shown(scattered)

    def fail(*args):
        raise OSError(28, "No space left on device")

    with FeatureStore.open(scattered, "a") as store, monkeypatch.context() as patched:
        patched.setattr(compaction, "merge_indexes", fail)
        with pytest.raises(OSError, match="No space"):
            compact(store)
    assert shown(scattered) == before
    assert verify(scattered)["problems"] == []
    with FeatureStore.open(scattered, "a") as store:
        assert compact(store)["waiting_bytes"] == 0
    assert shown(scattered) == before
    assert layout(scattered).strangers == []


@pytest.mark.parametrize("codec", ["zstd", "blosc"])
def test_compressed_sets_are_merged_and_their_damage_stays(store_path, layout, codec):
    from cuebank.store import FeatureSpec, Recipe

    rows = np.arange(40) / 50, np.ones(40, bool)
    with FeatureStore.open(store_path, "a") as store:
        store.create(FeatureSpec("demo.x", "numeric", 6, "float16", Recipe("demo", {}), codec=codec))
        for i in range(6):
            store.write("demo.x", f"c{i % 5}", None, np.full((40, 6), i), *rows)
            store.commit()
        expected = shown(store_path)
        compact(store)
        assert len(segments(store_path)) == 1
        assert shown(store_path) == expected
        assert store.read("demo.x", "c0").values[0, 0] == 5
    assert shown(store_path) == expected
    assert verify(store_path)["ok"]
    layout(store_path).damage(("c3", None))
    assert not verify(store_path)["ok"]
    with FeatureStore.open(store_path, "a") as store:
        store.write("demo.x", "new", None, np.full((40, 6), 9), *rows)
        store.commit()
        assert compact(store)["problems"]  # a damaged frame cannot be unpacked, so it is left as it is
        assert store.read("demo.x", "new").values[0, 0] == 9
    assert not verify(store_path)["ok"]


@pytest.fixture
def single(scattered):
    """The store in one file, if it is HDF5."""
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    return scattered


def test_a_reader_of_a_single_file_keeps_its_snapshot_while_others_write_and_compact(single, make_series):
    with FeatureStore.open(single) as reader, FeatureStore.open(single, "a") as store:
        assert len(reader.series("demo.x")) == 9
        for i in range(3):
            store.write("demo.x", f"c{i}", None, *make_series(800 + i))
            store.commit()
        compact(store)
        for i in (0, 3, 4):
            reader.feature_sets()
            assert np.array_equal(reader.read("demo.x", f"c{i}").values, make_series(i, rows=3 + i).values)


def test_a_reader_that_refreshed_after_a_single_file_became_a_folder_keeps_what_it_saw(single, make_series):
    with FeatureStore.open(single) as reader:
        assert len(reader.series("demo.x")) == 9
        with FeatureStore.open(single, "a") as store:
            for i in range(3):
                store.write("demo.x", f"c{i}", None, *make_series(800 + i))
                store.commit()
            reader.refresh()
            assert len(reader.series("demo.x")) == 9
            compact(store)
        reader.feature_sets()
        for i in range(3):
            assert np.array_equal(reader.read("demo.x", f"c{i}").values, make_series(800 + i).values)
        assert np.array_equal(reader.read("demo.x", "c7").values, make_series(7, rows=10).values)


@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_store_that_is_opened_while_it_is_folded_can_be_used(scattered, make_series, monkeypatch, mode):
    """Between looking at the store and locking its folder, it may become one file."""
    compactor, folding, seen = FeatureStore.open(scattered, "a"), threading.Event(), []
    real = compactor._container.fold

    def slow_fold():
        folding.set()
        time.sleep(0.3)
        return real()

    monkeypatch.setattr(compactor._container, "fold", slow_fold)
    compact(compactor)
    closing = threading.Thread(target=compactor.close)
    closing.start()
    assert folding.wait(10)
    with FeatureStore.open(scattered, mode) as store:
        seen.append(len(store.series("demo.x")))
        closing.join()
        if mode == "a":
            store.write("demo.x", "c0", None, *make_series(900))
            store.commit()
            assert np.array_equal(store.read("demo.x", "c0").values, make_series(900).values)
    assert seen == [9]
    assert verify(scattered)["ok"]


def test_a_feature_set_with_a_damaged_description_does_not_keep_the_others_from_being_compacted(
    scattered, layout, make_spec, make_series
):
    with FeatureStore.open(scattered, "a") as store:
        store.create(make_spec("demo.a"))
        store.write("demo.a", "x", None, *make_series(1))
        store.commit()
    place = layout(scattered)
    place.flip(place.root / "demo.a" / ("feature-set.h5" if place.hdf5 else "zarr.json"), 8 * 150)
    with FeatureStore.open(scattered, "a") as store:
        told = compact(store)
        assert [problem["feature_set"] for problem in told["problems"]] == ["demo.a"]
        assert told["feature_sets"]["demo.x"]["segments_after"] == 1


def test_a_replacement_that_cannot_be_read_does_not_cost_what_it_replaced(scattered, layout, other_process):
    process = other_process(scattered)
    place = layout(scattered)
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    originals = set(place.bundles())
    with FeatureStore.open(scattered) as store:
        (visible,) = store._committed("demo.x")._with_ids() and store._committed("demo.x").visible
    merged = next(path for path in originals if path.stem == visible)
    place.flip(place.document(merged), 8 * 150)
    leave(process)
    with FeatureStore.open(scattered, "a") as store:
        compact(store)
    assert set(place.bundles()) == originals


def test_what_is_committed_between_two_segments_while_they_are_merged_keeps_its_rank(
    scattered, make_series, monkeypatch
):
    """Three commits that saw the same have ranks side by side; the middle one must not win over the last."""
    with FeatureStore.open(scattered, "a") as one, FeatureStore.open(scattered, "a") as other:
        for store, seed in ((one, 301), (other, 302)):
            store.write("demo.x", "raced", None, *make_series(seed))
        for store, middle in ((one, "0" * 12), (other, "f" * 12)):
            segment = store._writer._pending["demo.x"][1][0]
            segment.finish(store.spec("demo.x").fingerprint)
            monkeypatch.setattr(names, "secrets", SimpleNamespace(token_hex=lambda _, middle=middle: middle))
            monkeypatch.setattr(names, "newest_of", lambda present: 50)
            segment.writer.publish()
            segment.writer.discard()
            store._writer._pending.clear()
        before = None

        def late(*arguments, **options):
            nonlocal before
            monkeypatch.setattr(compaction, "rewrite", rewrite)
            with FeatureStore.open(scattered, "a") as third:
                third.write("demo.x", "raced", None, *make_series(303))
                segment = third._writer._pending["demo.x"][1][0]
                segment.finish(third.spec("demo.x").fingerprint)
                monkeypatch.setattr(names, "secrets", SimpleNamespace(token_hex=lambda _: "8" * 12))
                segment.writer.publish()
                segment.writer.discard()
                third._writer._pending.clear()
            with FeatureStore.open(scattered) as reader:
                before = reader.read("demo.x", "raced").values.tobytes()
            return rewrite(*arguments, **options)

        monkeypatch.setattr(compaction, "rewrite", late)
        assert compact(one)["problems"] == []
    assert before == make_series(302).values.tobytes()
    with FeatureStore.open(scattered) as store:
        assert store.read("demo.x", "raced").values.tobytes() == before
    monkeypatch.undo()
    with FeatureStore.open(scattered, "a") as store:
        assert compact(store)["feature_sets"]["demo.x"]["segments_after"] == 1
        assert store.read("demo.x", "raced").values.tobytes() == before
