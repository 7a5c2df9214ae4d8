"""Copies of texts: hashes that do not depend on how they lie, and exports that hold all of them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest

from cuebank.store import BadInput, FeatureSpec, FeatureStore, Key, Recipe, Series
from cuebank.store import export as export_module
from cuebank.store.compact import compact
from cuebank.store.content_hash import feature_set_hash, series_hash
from cuebank.store.export import export

WORDS = "words/é.x"
SPEC = FeatureSpec(WORDS, "text", 1, "int64", Recipe("words", {"source": "none"}))
TEXTS = {
    Key("a"): ["one", "", "a\0b\0", 'q"u,o\n\r\n', "日本語 \U0001f600", "\\u0041"],
    Key("a/b\0ß", "e"): ["x" * 300, "yy" * 300],
    Key("none", "e"): [],
    Key(" "): [""],
}
VALID = {Key("a"): [True, True, True, True, True, False]}


def parts_of(key):
    texts = TEXTS[key]
    valid = np.array(VALID.get(key, [True] * len(texts)), bool)
    return texts, np.arange(len(texts)) / 3, valid


def written(key):
    texts, times, valid = parts_of(key)
    return [text if good else "" for text, good in zip(texts, valid, strict=True)], times.tolist(), valid.tolist()


def as_lists(series):
    return tuple(array.tolist() for array in series)


@pytest.fixture
def source(quick_path):
    path = quick_path / "source" / "f.zarr"
    path.parent.mkdir()
    with FeatureStore.open(path, "a") as store:
        store.create(SPEC)
        for key in TEXTS:
            store.write(WORDS, *key, *parts_of(key))
        store.record_failure(WORDS, "bad", None, "nobody speaks")
        store.commit()
    with FeatureStore.open(path) as store:
        yield store


def make(path, keys, commit_each, change=None):
    with FeatureStore.open(path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, *keys[0], ["to be replaced"], [0], [True])
        store.commit()
        for key in keys:
            texts, times, valid = parts_of(key)
            store.write(
                WORDS, *key, *(change(texts, times, valid) if change and key == Key("a") else (texts, times, valid))
            )
            if commit_each:
                store.commit()
        store.commit()
        return feature_set_hash(store, WORDS)


def test_the_hash_does_not_depend_on_order_segments_container_or_compaction(tmp_path):
    keys, hashes = list(TEXTS), set()
    for container in ("zarr", "h5"):
        for number, (order, commit_each) in enumerate([(keys, False), (keys[::-1], True)]):
            path = tmp_path / f"{number}.{container}"
            hashes.add(make(path, order, commit_each))
            with FeatureStore.open(path, "a") as store:
                compact(store)
                hashes.add(feature_set_hash(store, WORDS))
            with FeatureStore.open(path) as store:
                hashes.add(feature_set_hash(store, WORDS))
    assert len(hashes) == 1


def test_any_change_of_texts_changes_the_hash(tmp_path):
    changes = [
        None,
        lambda texts, times, valid: (["onE", *texts[1:]], times, valid),
        lambda texts, times, valid: (["on", "e", *texts[2:]], times, valid),  # the same bytes, cut otherwise
        lambda texts, times, valid: (texts, times + 1e-9, valid),
        lambda texts, times, valid: (texts, times, np.array([True, False, True, True, True, False])),
        lambda texts, times, valid: (texts[:-1], times[:-1], valid[:-1]),
    ]
    hashes = [make(tmp_path / f"{i}.zarr", list(TEXTS), False, change) for i, change in enumerate(changes)]
    assert len(set(hashes)) == len(hashes)


def test_the_hash_of_a_series_is_what_the_module_says():
    series = Series(np.array(["ab", "", "é"], object), np.array([0.0, 1.0, 2.0]), np.array([True, False, True]))
    sizes = np.array([2, 0, 2], "<i8").tobytes()
    line = b"cuebank-series 1 text 1 3\n"
    expected = blake2b(line + sizes + series.times.tobytes() + series.valid.tobytes() + "abé".encode(), digest_size=32)
    assert series_hash("int64", 1, series) == expected.hexdigest()
    with pytest.raises(BadInput, match="float32"):
        series_hash("float32", 1, series)


@pytest.mark.parametrize("name", ["copy.zarr", "copy.h5"])
def test_another_store_has_the_same_texts(source, quick_path, name, monkeypatch):
    monkeypatch.setattr(export_module, "COMMIT_BYTES", 300)
    kind = "hdf5" if name.endswith("h5") else "zarr"
    assert export(source, quick_path / name, kind)["feature_sets"][WORDS] == {"series": 4, "rows": 9, "failed": 1}
    with FeatureStore.open(quick_path / name) as copy:
        assert copy.spec(WORDS) == SPEC
        assert {key: as_lists(copy.read(WORDS, *key)) for key in TEXTS} == {key: written(key) for key in TEXTS}
        assert copy.failures(WORDS) == source.failures(WORDS)
        assert feature_set_hash(copy, WORDS) == feature_set_hash(source, WORDS)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_files_has_a_list_of_texts_for_each_series(source, quick_path):
    out = quick_path / "copy"
    export(source, out, "npy")
    found = {}
    for line in rows_of(out / "index.csv"):
        texts = json.loads((out / f"{line['file']}.values.json").read_text(encoding="utf-8"))
        arrays = [np.load(out / f"{line['file']}.{part}.npy").tolist() for part in ("times", "valid")]
        assert len(texts) == int(line["rows"])
        found[Key(line["clip_id"], line["entity_id"] or None)] = (texts, *arrays)
    assert found == {key: written(key) for key in TEXTS}
    assert (len(list(out.rglob("*.json"))), len(list(out.rglob("*.npy")))) == (5, 8)
    assert FeatureSpec.from_json(json.loads((out / "feature_sets.json").read_text())[WORDS]) == SPEC


@pytest.mark.parametrize("group_bytes", [1, 400, 2**26])
def test_a_parquet_file_has_a_column_of_texts(source, quick_path, group_bytes, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    from cuebank.store import export_parquet

    monkeypatch.setattr(export_parquet, "ROW_GROUP_BYTES", group_bytes)
    out = quick_path / "copy"
    export(source, out, "parquet")
    (file,) = out.glob("*.parquet")
    table = parquet.read_table(file)
    assert table.column_names == ["clip_id", "entity_id", "time_s", "valid", "text"]
    assert table.schema.field("text").type == pyarrow.string()
    expected = [(*key, *row) for key in TEXTS for row in zip(*written(key), strict=True)]
    columns = ("clip_id", "entity_id", "text", "time_s", "valid")
    assert list(zip(*(table[name].to_pylist() for name in columns), strict=True)) == expected
    groups = {1: len(expected), 2**26: 1}
    found = parquet.ParquetFile(file).metadata.num_row_groups
    assert found == groups.get(group_bytes, found)
    assert 1 <= found <= len(expected)


def test_numbers_beside_texts_are_exported_as_ever(source, quick_path, make_spec, make_series):
    path = quick_path / "both.zarr"
    with FeatureStore.open(path, "a") as store:
        store.create(make_spec())
        store.create(replace(SPEC, name="words.y"))
        store.write("demo.x", "c", None, *make_series(0))
        store.write("words.y", "c", None, ["one"], [0], [True])
        store.commit()
        export(store, quick_path / "copy", "npy")
    names = sorted(file.name for file in (quick_path / "copy").rglob("0*"))
    parts = ["times.npy", "times.npy", "valid.npy", "valid.npy", "values.json", "values.npy"]
    assert names == [f"000000000.{part}" for part in parts]
