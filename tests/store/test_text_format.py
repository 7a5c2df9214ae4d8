"""The bytes of texts can be read with FORMAT.md alone, and with zarr, tensorstore or h5py alone."""

from __future__ import annotations

import ast
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import FeatureSpec, FeatureStore, Recipe
from cuebank.store.compact import compact
from cuebank.store.drop import drop

PROGRAMS = Path(__file__).resolve().parent / "programs"
WORDS = "a/é.words"
SPEC = FeatureSpec(WORDS, "text", 1, "int64", Recipe("words", {"source": "a book"}))
ENTITIES = [None, "../e", "日本", "e\n"]


@pytest.fixture
def stranger(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS)
    import stranger_text

    return stranger_text


@pytest.fixture(params=["as written", "merged"])
def rich_store(request, store_path, make_spec, make_series):
    """Overwrites, failures, odd ids, long rows, rows that are not valid, segments without rows, numbers beside them."""

    def write(store, seed):
        for i in range(seed, seed + 4):
            texts = [f"row {row} of {seed} ☃" * (row % 5) for row in range([90, 0, 1, 33][i % 4])]
            valid = np.arange(len(texts)) % 7 != 3
            store.write(WORDS, f"clip {i}", ENTITIES[i % 4], texts, np.arange(len(texts)) / 3, valid)
        store.record_failure(WORDS, f"clip {seed + 5}", ENTITIES[(seed + 5) % 4], "until it is written")
        store.record_failure(WORDS, "bad", None, f"größer {seed}")
        store.commit()

    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.create(make_spec())
        store.write("demo.x", "c", None, *make_series(0))
        write(store, 0)
        store.record_failure(WORDS, "only failures", None, "a segment without rows")
        store.commit()
        write(store, 2)
        store.record_failure(WORDS, "clip 0", None, "must not hide the series")
        if request.param == "merged":
            compact(store)
            drop(store, WORDS, [("clip 1", "../e")])
    if request.param == "merged":
        with FeatureStore.open(store_path, "a") as store:
            write(store, 3)
    return store_path


def test_a_reader_made_from_the_format_page_reads_every_text(rich_store, stranger):
    series, failures = stranger.read_texts(rich_store, WORDS)
    with FeatureStore.open(rich_store) as store:
        assert series.keys() == {(one.clip_id, one.entity_id) for one in store.series(WORDS)}
        assert failures == {(one.clip_id, one.entity_id): one.reason for one in store.failures(WORDS)}
        for key, (texts, times, valid) in series.items():
            found = store.read(WORDS, *key)
            assert found.values.tolist() == texts
            assert np.array_equal(found.times, times)
            assert np.array_equal(found.valid, valid)
    assert sum(len(texts) for texts, _, _ in series.values()) > 100
    assert {("only failures", None), ("bad", None)} < failures.keys()
    assert not failures.keys() & series.keys()


def test_the_readers_of_numbers_read_the_numbers_beside_and_refuse_texts(rich_store, stranger):
    numbers = stranger.stranger_hdf5 if rich_store.suffix == ".h5" else stranger.stranger
    store = numbers.read_store(rich_store) if rich_store.suffix == ".h5" else rich_store
    assert numbers.feature_sets(store)[WORDS]["kind"] == "text"
    assert list(numbers.read_feature_set(store, "demo.x")[0]) == [("c", None)]
    with pytest.raises(ValueError, match=r"recipe|format 1 or 2"):
        numbers.read_feature_set(store, WORDS)


def test_that_reader_finds_every_damaged_byte_of_a_text(store_path, stranger, layout):
    with FeatureStore.open(store_path, "a") as store:
        store.create(replace(SPEC, name="demo.x"))
        store.write("demo.x", "c", None, ["one", "two"], [0, 1], [True, True])
        store.write("demo.x", "d", None, ["three"], [0], [True])
        store.commit()
    assert len(stranger.read_texts(store_path, "demo.x")[0]) == 2
    (bundle,) = layout(store_path).bundles()
    file = bundle if bundle.is_file() else bundle / "text" / "0"
    data = file.read_bytes()
    begin = data.index(b"onetwothree")
    for position in range(begin, begin + 11):
        file.write_bytes(data[:position] + b"X" + data[position + 1 :])
        with pytest.raises(ValueError, match="damaged text"):
            stranger.read_texts(store_path, "demo.x")


def test_that_reader_is_short_and_needs_numpy_only():
    source = (PROGRAMS / "stranger_text.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 150
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - {"numpy", "stranger", "stranger_hdf5"} <= sys.stdlib_module_names


def arrays_of(path, reader):
    """Return the arrays of each segment of a text set, as another library reads them."""
    if reader == "h5py":
        import h5py

        from cuebank.store.keys import quote_name

        with h5py.File(path) as file:
            groups = file[quote_name(WORDS)]["segments"]
            return [{name: array[...] for name, array in group.items()} for group in groups.values()]
    folders = [folder for folder in path.glob("*words/segments/*") if folder.is_dir()]
    if reader == "zarr":
        import zarr

        return [{n: a[...] for n, a in zarr.open_group(folder, mode="r").members()} for folder in folders]
    ts = pytest.importorskip("tensorstore")

    def read(folder):
        where = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}}
        return ts.open(where, read=True, open=True).result().read().result()

    return [{array.name: read(array) for array in folder.iterdir() if array.is_dir()} for folder in folders]


@pytest.mark.parametrize("reader", ["zarr", "tensorstore", "h5py"])
def test_other_libraries_read_every_text_without_a_warning(rich_store, reader):
    if (reader == "h5py") != (rich_store.suffix == ".h5"):
        pytest.skip("the other container")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segments = arrays_of(rich_store, reader)
    found = set()
    for arrays in segments:
        ends = np.cumsum(arrays["values"][:, 0])  # over all series: their texts lie one after the other
        data = arrays["text"].tobytes()
        assert (ends[-1:] == len(data)).all()
        found |= {data[end - size : end].decode() for end, size in zip(ends, arrays["values"][:, 0], strict=True)}
    with FeatureStore.open(rich_store) as store:
        assert found >= {text for one in store.series(WORDS) for text in store.read(WORDS, *one[:2]).values}
