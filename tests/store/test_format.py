"""The bytes on the disk are plain Zarr, and FORMAT.md is enough to read them."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, FeatureStore
from cuebank.store.containers import zarr_metadata

STRANGER = Path(__file__).resolve().parent / "programs" / "stranger.py"


@pytest.fixture(scope="module")
def stranger():
    spec = importlib.util.spec_from_file_location("stranger", STRANGER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rich_store(quick_path, make_spec, make_series):
    """Several feature sets, types, segments, an overwrite, failures, odd ids, a clips table, shards of many chunks."""
    path = quick_path / "rich.zarr"
    with FeatureStore.open(path, "a") as store:
        for dtype in ("float16", "float32", "float64"):
            store.create(make_spec(f"a/é.{dtype}@9", dim=700, dtype=dtype))
        for dtype in ("uint8", "int64"):
            store.create(make_spec(f"count.{dtype}", dim=1, dtype=dtype))
        for name in store.feature_sets():
            dim, dtype = store.spec(name).dim, store.spec(name).dtype
            for i in range(4):
                series = make_series(i, rows=[900, 0, 1, 333][i], dim=dim, dtype="float32")
                values = np.abs(np.trunc(series.values)) if dtype in ("uint8", "int64") else series.values
                store.write(name, f"clip {i}", [None, "../e", "日本", "e\n"][i], values, series.times, series.valid)
            store.record_failure(name, "clip 8", None, "kein Ton: größer")
            store.commit()
            store.write(name, "clip 0", None, np.ones((2, dim)), [0, 1], [True, False])
            store.record_failure(name, "clip 2", "日本", "must not hide the series")
            store.commit()
            store.record_failure(name, "only failures", None, "a segment without rows")
            store.commit()
        clips = [
            Clip("c", Path("/m/c.wav"), None, 0.5, None, "g1", None, 1, {"arousal": 0.25, "mood": None}),
            Clip("c", Path("/m/c.wav"), "left", None, 3.0, None, None, None, {"arousal": None, "mood": "gut"}),
        ]
        store.write_clips(ClipsTable(clips[:1], {"arousal": "number", "mood": "text"}))
        store.write_clips(ClipsTable(clips, {"arousal": "number", "mood": "text"}))
    return path


def segment_folders(path):
    return [folder for folder in path.glob("*/segments/*") if folder.is_dir()]


def test_a_reader_made_from_the_format_page_reads_everything(rich_store, stranger):
    store = FeatureStore.open(rich_store)
    described = stranger.feature_sets(rich_store)
    assert sorted(described) == store.feature_sets()
    for name in store.feature_sets():
        series, failures = stranger.read_feature_set(rich_store, name)
        assert series.keys() == {(item.clip_id, item.entity_id) for item in store.series(name)}
        assert failures == {(f.clip_id, f.entity_id): f.reason for f in store.failures(name)}
        assert len(failures) == 2
        for key, parts in series.items():
            for mine, theirs in zip(store.read(name, *key), parts, strict=True):
                assert np.array_equal(mine, theirs)
                assert mine.dtype == theirs.dtype
        assert series["clip 0", None][0].shape[0] == 2


def test_a_reader_made_from_the_format_page_reads_the_clips(rich_store, stranger):
    assert stranger.read_clips(rich_store) == [
        {"clip_id": "c", "path": "/m/c.wav", "entity_id": None, "start": 0.5, "end": None, "group_id": "g1", "fold": 1}
        | {"arousal": 0.25, "mood": None},
        {"clip_id": "c", "path": "/m/c.wav", "entity_id": "left", "start": None, "end": 3.0, "group_id": None}
        | {"fold": None, "arousal": None, "mood": "gut"},
    ]


def test_that_reader_is_short_and_needs_numpy_only():
    source = STRANGER.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 150
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - {"numpy"} <= sys.stdlib_module_names


def test_zarr_python_lists_and_reads_everything_without_a_warning_even_while_a_writer_is_at_work(
    rich_store, make_series
):
    import zarr

    with FeatureStore.open(rich_store, "a") as writer, warnings.catch_warnings():
        warnings.simplefilter("error")
        writer.write("count.uint8", "pending", None, np.ones((3, 1)), [0, 1, 2], [True] * 3)
        root = zarr.open_group(rich_store, mode="r")
        members = dict(root.members(max_depth=None))
        assert len([name for name in members if name.endswith("/values")]) == len(segment_folders(rich_store)) == 15
        for folder in segment_folders(rich_store):
            group = zarr.open_group(folder, mode="r")
            assert group.metadata.consolidated_metadata is not None
            for name, array in group.members():
                assert np.array_equal(array[...], zarr.open_array(folder / name, mode="r")[...])
        store = FeatureStore.open(rich_store)
        for name in store.feature_sets():
            found = np.concatenate([zarr.open_group(f, mode="r")["values"][...] for f in folders_of(rich_store, name)])
            committed = store._committed(name)
            mine = [committed.segment(one).file.map_rows("values") for one in store._container.segments(name)]
            assert np.array_equal(found, np.concatenate(mine))
            assert found.dtype == store.spec(name).dtype
    assert root.attrs["cuebank"] == {"format": 2, "kind": "store"}


def folders_of(path, name):
    from cuebank.store.keys import quote_name

    return sorted(folder for folder in (path / quote_name(name) / "segments").iterdir() if folder.is_dir())


def test_zarr_python_reads_the_rows_of_one_series_by_row_size(rich_store):
    import zarr

    store = FeatureStore.open(rich_store)
    group = zarr.open_group(folders_of(rich_store, "a/é.float16@9")[0], mode="r")
    sizes = group["row_size"][...]
    assert group["row_size"].attrs["sample_dimension"] == "row"
    stop = int(sizes[:4].sum())
    mine = store.read("a/é.float16@9", "clip 3", "e\n")
    assert np.array_equal(group["values"][stop - int(sizes[3]) : stop], mine.values)
    assert np.array_equal(group["times"][stop - int(sizes[3]) : stop], mine.times)
    assert group["values"].chunks[0] < group["values"].shards[0]  # many inner chunks in one shard


def test_tensorstore_reads_every_array_alike(rich_store):
    ts = pytest.importorskip("tensorstore")
    import zarr

    documents = {path.parent: json.loads(path.read_bytes()) for path in rich_store.rglob("zarr.json")}
    arrays = [folder for folder, document in documents.items() if document["node_type"] == "array"]
    assert len(arrays) == 15 * 13 + len(list((rich_store / "clips").glob("*/*/zarr.json")))
    for folder in arrays:
        if not any(path.name.startswith("0") for path in folder.iterdir()):
            continue  # no elements: nothing to read
        opened = ts.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}, read=True, open=True
        ).result()
        assert np.array_equal(opened.read().result(), zarr.open_array(folder, mode="r")[...])


@pytest.mark.parametrize(("rows", "row_bytes"), [(1, 4), (0, 4), (700, 1536), (683, 1536), (10**6, 8), (5, 3 * 2**20)])
def test_inner_chunks_are_about_a_mebibyte_and_hardly_padded(rows, row_bytes):
    inner = zarr_metadata.chunk_rows(rows, row_bytes)
    count = -(-rows // inner)
    assert inner * row_bytes <= max(2**20, row_bytes)
    assert inner * count - rows < max(1, count)
    assert count <= 1 or inner * row_bytes > 2**19
