"""The bytes of an HDF5 store can be read with FORMAT.md alone, and with h5py alone, in every form."""

from __future__ import annotations

import ast
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, FeatureStore
from cuebank.store.compact import compact
from cuebank.store.drop import drop
from cuebank.store.keys import quote_name
from cuebank.store.segments import Segment

PROGRAMS = Path(__file__).resolve().parent / "programs"
PLAIN = {"a/é@9": "float16", ".hidden": "float32", "_packed": "float64", "clips": "uint8", "_store.h5": "int64"}
COMPRESSED = {"demo.zstd": "float16", "demo.blosc": "float32"}
ENTITIES = [None, "../e", "日本", "e\n"]


@pytest.fixture
def stranger(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)  # it shares what has nothing to do with HDF5 with the reader of Zarr stores
    import stranger_hdf5

    return stranger_hdf5


def folder_of(path):
    return path.with_name(path.name + ".segments")


@pytest.fixture(params=["folder", "packed", "folded"])
def rich_store(request, quick_path, make_spec, make_series):
    """Many feature sets and types; writing over, failures, odd ids; compacted, then written to again.

    As a folder that also holds what compaction replaced, as a folder around a packed file, and as one file.
    """
    path = quick_path / "rich.h5"

    def write(store, name, seed):
        dim, dtype = store.spec(name).dim, store.spec(name).dtype
        for i in range(seed, seed + 4):
            values, times, valid = make_series(10 * seed + i, rows=[90, 0, 1, 33][i % 4], dim=dim)
            whole = np.abs(np.trunc(values)) if dtype in ("uint8", "int64") else values
            store.write(name, f"clip {i}", ENTITIES[i % 4], whole, times, valid)
        store.record_failure(name, f"clip {seed + 5}", ENTITIES[(seed + 5) % 4], "until it is written")
        store.record_failure(name, "bad", None, f"kein Ton: größer {seed}")
        store.record_failure(name, f"clip {seed}", ENTITIES[seed % 4], "must not hide the series")
        store.commit()

    reader = None
    with FeatureStore.open(path, "a") as store:
        for i, (name, dtype) in enumerate((PLAIN | COMPRESSED).items()):
            codec = name.removeprefix("demo.") if name in COMPRESSED else "none"
            store.create(replace(make_spec(name, dim=1 + 5 * i, dtype=dtype), codec=codec))
            for seed in (0, 2):
                write(store, name, seed)
            store.record_failure(name, "only failures", None, "a segment without rows")
            store.commit()
        store.write_clips(ClipsTable([Clip("old", Path("/m/old.wav"))]))
        if request.param == "folder":
            reader = FeatureStore.open(path)  # what is replaced now stays
        compact(store)
        for name in store.feature_sets():
            drop(store, name, [("clip 3", "e\n")])
    with FeatureStore.open(path, "a") as store:
        for name in store.feature_sets():
            write(store, name, 4)
        clips = [
            Clip("c", Path("/m/c.wav"), None, 0.5, None, "g1", None, 1, {"arousal": 0.25, "mood": None}),
            Clip("c", Path("/m/c.wav"), "left", None, 3.0, None, None, None, {"arousal": None, "mood": "gut"}),
        ]
        store.write_clips(ClipsTable(clips, {"arousal": "number", "mood": "text"}))
        if request.param == "folded":
            store._container.fold()
    if reader is not None:
        reader.close()
    assert folder_of(path).is_dir() == (request.param != "folded")
    assert len(list(folder_of(path).glob("_packed/*"))) == (request.param == "packed")
    single = len(list(folder_of(path).glob("demo.zstd/segments/*")))
    assert single == {"folder": 6, "packed": 1, "folded": 0}[request.param]
    return path


def test_a_reader_made_from_the_format_page_reads_everything(rich_store, stranger):
    store, stored = FeatureStore.open(rich_store), stranger.read_store(rich_store)
    described = stranger.feature_sets(stored)
    assert sorted(described) == store.feature_sets() == sorted(PLAIN | COMPRESSED)
    for name, dtype in PLAIN.items():
        series, failures = stranger.read_feature_set(stored, name)
        assert series.keys() == {(item.clip_id, item.entity_id) for item in store.series(name)}
        assert failures == {(f.clip_id, f.entity_id): f.reason for f in store.failures(name)}
        assert failures["bad", None] == "kein Ton: größer 4"
        assert (len(series), len(failures), ("clip 3", "e\n") in series) == (7, 3, False)
        for key, parts in series.items():
            for mine, theirs in zip(store.read(name, *key), parts, strict=True):
                assert np.array_equal(mine, theirs)
                assert mine.dtype == theirs.dtype
            assert parts[0].dtype == dtype


def test_a_reader_made_from_the_format_page_reads_the_newest_clips(rich_store, stranger):
    assert stranger.read_clips(stranger.read_store(rich_store)) == [
        {"clip_id": "c", "path": "/m/c.wav", "entity_id": None, "start": 0.5, "end": None, "group_id": "g1", "fold": 1}
        | {"arousal": 0.25, "mood": None},
        {"clip_id": "c", "path": "/m/c.wav", "entity_id": "left", "start": None, "end": 3.0, "group_id": None}
        | {"fold": None, "arousal": None, "mood": "gut"},
    ]


def test_that_reader_refuses_compressed_values(rich_store, stranger):
    stored = stranger.read_store(rich_store)
    for name in COMPRESSED:
        with pytest.raises(ValueError, match="compressed"):
            stranger.read_feature_set(stored, name)


def test_that_reader_finds_every_damaged_byte(quick_path, make_spec, make_series, stranger):
    path = quick_path / "small.h5"
    with FeatureStore.open(path, "a") as store:
        store.create(make_spec())
        store.write("demo.x", "c", None, *make_series(0))
        store.commit()
        store.write_clips(ClipsTable([Clip("c", Path("/m/c.wav"), start=0.5)]))
        store._container.fold()

    def read():
        stored = stranger.read_store(path)
        return stranger.read_clips(stored), stranger.read_feature_set(stored, "demo.x")

    sound, found = path.read_bytes(), set()
    assert read()[0] == [{"clip_id": "c", "path": "/m/c.wav", "start": 0.5}]
    for position in range(0, len(sound), 37):
        damaged = bytearray(sound)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r".") as caught:
            read()
        found.add(str(caught.value))
    assert found > {
        "damaged user block",
        "damaged directory",
        "damaged structure",
        "damaged rows",
        "damaged clips table",
    }


def test_that_reader_is_short_and_needs_numpy_only():
    source = (PROGRAMS / "stranger_hdf5.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 150
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - {"numpy", "stranger"} <= sys.stdlib_module_names  # test_format.py tests `stranger`


def test_h5py_alone_reads_all_rows_of_every_segment_without_a_warning(rich_store):
    pytest.importorskip("hdf5plugin")
    store = FeatureStore.open(rich_store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with h5py.File(rich_store) as file:
            for name in store.feature_sets():
                groups = file[quote_name(name)]["segments"]
                assert sorted(groups) == sorted(store._container.segments(name))
                for segment, group in groups.items():
                    bundle = store._container.open_segment(store.spec(name), segment)
                    found = [group[part][:] for part in ("values", "times", "valid")]
                    for mine, theirs in zip(Segment(bundle).rows(0, bundle.rows), found, strict=True):
                        assert np.array_equal(mine, theirs)
                        assert mine.dtype == theirs.dtype
                    assert group["row_size"][:].sum() == len(found[0]) == bundle.rows
