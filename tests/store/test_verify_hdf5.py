"""Whatever is damaged in the files of an HDF5 store is found; `containers/test_hdf5_file.py` looks into single files.

`features.h5` beside a folder is derived from it: damage in its links is reported, and damage in the line that says so
makes it a file that is not ours or one that the next commit replaces; never does it change what is read.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from cuebank.store import Clip, ClipsTable, Corrupt, CuebankError, FeatureStore, NotFound
from cuebank.store.compact import compact
from cuebank.store.containers.hdf5_layout import USER_BLOCK
from cuebank.store.containers.hdf5_links import read_links
from cuebank.store.verify import verify


@pytest.fixture
def container():
    """These tests are about the files of HDF5."""
    return "h5"


@pytest.fixture
def store_with_clips(small_store):
    """The store as a folder."""
    with FeatureStore.open(small_store, "a") as store:
        store.write_clips(ClipsTable([Clip("c0", Path("/m/c0.wav"), labels={"x": 1.5})], {"x": "number"}))
    return small_store


@pytest.fixture
def single(store_with_clips):
    """The store as one file."""
    with FeatureStore.open(store_with_clips, "a") as store:
        compact(store)
    return store_with_clips


def is_found(path):
    """Return whether damage is reported, or the store is refused for it."""
    try:
        return not verify(path)["ok"]
    except CuebankError:
        return True


def content(path):
    """Return all rows, failures and clips."""
    with FeatureStore.open(path) as store:
        rows = {
            item[:2]: [array.tobytes() for array in store.read("demo.x", *item[:2])] for item in store.series("demo.x")
        }
        return rows, store.failures("demo.x"), store.clips()


def some_flips(files, count, seed):
    """Yield file, its content and a bit that is flipped in it; the files come one after the other."""
    rng = random.Random(seed)
    for i in range(count):
        file = files[i % len(files)]
        data = file.read_bytes()
        yield file, data, rng.randrange(8 * len(data))


def check_flips(path, layout, count, seed):
    place = layout(path)
    files = [file for file in place.files() if file != path or place.parts != place.beside]
    missed = []
    for file, data, bit in some_flips(files, count, seed):
        layout.flip(file, bit)
        if not is_found(path):
            missed.append((file.name, bit))
        file.write_bytes(data)
    assert missed == []
    assert verify(path)["ok"]


def test_any_flipped_bit_in_a_file_of_the_folder_is_found(store_with_clips, layout):
    assert len(layout(store_with_clips).files()) == 6  # links, store, clips, feature set, two segments
    check_flips(store_with_clips, layout, 200, seed=0)


def test_any_flipped_bit_in_a_single_file_is_found(single, layout):
    assert layout(single).beside == [single.name]
    check_flips(single, layout, 200, seed=1)


@pytest.mark.slow
def test_any_of_many_flipped_bits_is_found(store_with_clips, layout):
    check_flips(store_with_clips, layout, 3000, seed=2)
    with FeatureStore.open(store_with_clips, "a") as store:
        compact(store)
    check_flips(store_with_clips, layout, 3000, seed=3)


def test_a_flipped_bit_in_the_links_is_found_and_harms_no_reader(store_with_clips, layout):
    """But for one that makes them look as if they were of an earlier commit: the next one makes them anew."""
    right = read_links(store_with_clips)
    before, rng = content(store_with_clips), random.Random(4)
    whole = store_with_clips.read_bytes()
    behind = [rng.randrange(8 * USER_BLOCK, 8 * len(whole)) for _ in range(60)]
    for bit in [*behind, *(rng.randrange(8 * USER_BLOCK) for _ in range(60)), *range(0, 100, 7)]:
        layout.flip(store_with_clips, bit)
        now = read_links(store_with_clips)
        assert is_found(store_with_clips) or (now is not None and now.digest != right.digest), bit
        try:
            assert content(store_with_clips) == before
        except CuebankError:
            assert bit < 8 * 16  # its first bytes are those of any other file
        store_with_clips.write_bytes(whole)


def test_damaged_links_are_made_anew_by_the_next_commit(store_with_clips, layout, make_series):
    for bit in (8 * 100, 8 * 40, 8 * 600):
        layout.flip(store_with_clips, bit)
        with FeatureStore.open(store_with_clips, "a") as store:
            store.write("demo.x", f"new {bit}", None, *make_series(bit))
            store.commit()
        assert verify(store_with_clips)["ok"]
        import h5py

        with h5py.File(store_with_clips) as file:
            assert len(file["demo.x/segments"]) == len(layout(store_with_clips).bundles())


def test_absent_links_are_no_damage_and_come_back(store_with_clips, make_series):
    before = content(store_with_clips)
    store_with_clips.unlink()
    assert verify(store_with_clips)["ok"]
    assert content(store_with_clips) == before
    with FeatureStore.open(store_with_clips, "a") as store:
        store.write("demo.x", "new", None, *make_series(7))
        store.commit()
    assert store_with_clips.is_file()


def test_absent_descriptions_are_found(store_with_clips, layout):
    # Absent folders are none: those that are empty get lost where a store is copied by a program that knows only files.
    aside, root = store_with_clips.parent / "aside", layout(store_with_clips).root
    for name in ("demo.x/feature-set.h5", "_store.h5"):
        (root / name).rename(aside)
        assert is_found(store_with_clips), name
        aside.rename(root / name)
    assert verify(store_with_clips)["ok"]


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: data[:512]]
)
def test_a_file_of_another_length_is_corrupt(store_with_clips, layout, change):
    for path in layout(store_with_clips).files():
        if path == store_with_clips:
            continue  # it is derived
        data = path.read_bytes()
        path.write_bytes(change(data))
        assert is_found(store_with_clips), path.name
        path.write_bytes(data)
    first = layout(store_with_clips).bundles()[0]
    first.write_bytes(change(first.read_bytes()))
    with pytest.raises(Corrupt, match=first.stem):
        FeatureStore.open(store_with_clips).read("demo.x", "c2")
    assert len(FeatureStore.open(store_with_clips).read("demo.x", "c4", "left").values) == 5


def test_strange_files_are_reported(store_with_clips, layout):
    place = layout(store_with_clips)
    folders = [place.root, *(path for path in place.root.rglob("*") if path.is_dir())]
    assert len(folders) == 6
    for folder in folders:
        (folder / "note.txt").write_text("x")
    problems = [problem["problem"] for problem in verify(store_with_clips)["problems"]]
    assert len(problems) == len(folders)
    assert all("does not belong" in text for text in problems)
    assert len(FeatureStore.open(store_with_clips).series("demo.x")) == 5


def test_a_segment_that_cannot_be_read_spares_the_others(store_with_clips, layout):
    first = layout(store_with_clips).bundles()[0]
    layout.flip(first, 8 * first.read_bytes().index(b"c0c1c2c3bad") + 1)
    store = FeatureStore.open(store_with_clips)
    assert len(store.read("demo.x", "c4", "left").values) == 5
    with pytest.raises(Corrupt, match=first.stem):
        store.read("demo.x", "c1")
    assert store.missing("demo.x", [("c1", None), ("c4", "left")]) == [("c1", None)]
    assert store.info()["feature_sets"]["demo.x"]["broken_segments"] == 1


def test_a_single_file_shows_what_the_folder_showed(store_with_clips):
    before = content(store_with_clips)
    with FeatureStore.open(store_with_clips, "a") as store:
        compact(store)
    assert content(store_with_clips) == before
    assert verify(store_with_clips) == {"ok": True, "series": 5, "problems": [], "notes": []}


def test_no_store_is_an_error_not_a_report(quick_path):
    with pytest.raises(NotFound):
        verify(quick_path / "absent.h5")
    shutil.copy(__file__, quick_path / "text.h5")
    with pytest.raises(CuebankError, match="not a cuebank store"):
        verify(quick_path / "text.h5")
