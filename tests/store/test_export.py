"""Exports: what is read from a copy is what was in the store, and nothing else on the disk changes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import BadInput, Clip, ClipsTable, Conflict, Corrupt, FeatureSpec, FeatureStore, NotFound, Series
from cuebank.store import export as module
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.export import export, kind_of
from cuebank.store.keys import quote_name

NAMES = {"zarr": "copy.zarr", "hdf5": "copy.h5", "npy": "copy", "parquet": "copy"}
IDS = [
    ("c", None),
    ("c", "left"),
    ("a/b\0ß", 'q"uo,te'),
    ("../x", "lone\rreturn"),
    ("line\nbreak", "\U0001f600"),
    (" ", "no rows"),
]
Content = dict[tuple[str, str, str | None], Series]


@pytest.fixture
def source(tmp_path: Path, make_spec: Callable[..., FeatureSpec], make_series: Callable[..., Series]) -> Path:
    """A store with three feature sets of different types, odd ids, a series without rows, failures, a clips table."""
    path = tmp_path / "source" / "features.zarr"
    path.parent.mkdir()
    with FeatureStore.open(path, "a") as store:
        for i, (name, dtype, dim) in enumerate(
            [("demo.x", "float16", 3), ("b/2@3", "float32", 1), ("b.3", "int64", 2)]
        ):
            store.create(make_spec(name, dim, dtype))
            for j, key in enumerate(IDS):
                store.write(name, *key, *make_series(10 * i + j, (len(IDS) - 1 - j) * 3, dim, dtype))
            store.commit()
        store.write("demo.x", "c", None, *make_series(77, 4, 3, "float16"))
        store.record_failure("demo.x", "bad", "P\n1", "no\tsound")
        store.commit()
        store.write_clips(ClipsTable([Clip("c", Path("/media/old.mp4"))]))
        store.write_clips(ClipsTable([Clip("c", Path("/media/c.mp4"), labels={"joy": 0.5})], {"joy": "number"}))
    return path


@pytest.fixture
def store(source: Path) -> Iterator[FeatureStore]:
    with FeatureStore.open(source) as opened:
        yield opened


def content(store: FeatureStore) -> Content:
    return {
        (name, one.clip_id, one.entity_id): store.read(name, one.clip_id, one.entity_id)
        for name in store.feature_sets()
        for one in store.series(name)
    }


def assert_equal(found: Content, expected: Content) -> None:
    assert list(found) == list(expected)
    for key, one in expected.items():
        for array, wanted in zip(found[key], one, strict=True):
            assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), key
            assert array.tobytes() == wanted.tobytes(), key


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def skip_without_container(kind: str, folder: Path) -> None:
    try:
        FeatureStore.open(folder / f"probe-{NAMES[kind]}", "a").close()
    except BadInput as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_another_store_has_the_same_series_hashes_failures_and_clips(
    kind: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_container(kind, tmp_path / "source")
    monkeypatch.setattr(module, "COMMIT_BYTES", 500)
    done = export(store, tmp_path / NAMES[kind], kind)
    assert done["feature_sets"]["demo.x"] == {"series": 6, "rows": 34, "failed": 1}
    with FeatureStore.open(tmp_path / NAMES[kind]) as copy:
        assert_equal(content(copy), content(store))
        for name in store.feature_sets():
            assert copy.spec(name) == store.spec(name)
            assert copy.failures(name) == store.failures(name)
            assert feature_set_hash(copy, name) == feature_set_hash(store, name)
        assert copy.clips() == store.clips()
        assert len(copy.clips_versions()) == 1


def test_npy_files_hold_every_series_and_the_tables_every_id(store: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    export(store, out, "npy")
    found = {}
    for line in rows_of(out / "index.csv"):
        arrays = [np.load(out / f"{line['file']}.{part}.npy") for part in Series._fields]
        assert len(arrays[0]) == int(line["rows"])
        found[line["feature_set"], line["clip_id"], line["entity_id"] or None] = Series(*arrays)
    assert_equal(found, content(store))
    check_tables(store, out)
    assert len(list(out.rglob("*.npy"))) == 3 * len(found)


@pytest.mark.parametrize("group_bytes", [1, 100, 2**26])
def test_parquet_files_hold_every_row_and_the_index_names_series_without_rows(
    group_bytes: int, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from cuebank.store import export_parquet

    monkeypatch.setattr(export_parquet, "ROW_GROUP_BYTES", group_bytes)
    out = tmp_path / "copy"
    export(store, out, "parquet")
    check_tables(store, out)
    found, place = {}, dict.fromkeys(store.feature_sets(), 0)
    for line in rows_of(out / "index.csv"):
        name, start, rows = line["feature_set"], place[line["feature_set"]], int(line["rows"])
        table = parquet.read_table(out / line["file"]).slice(start, rows)
        key = (line["clip_id"], line["entity_id"] or None)
        assert set(zip(*(table[c].to_pylist() for c in ("clip_id", "entity_id")), strict=True)) <= {key}
        place[name] += rows
        spec = FeatureSpec.from_json(json.loads(table.schema.metadata[b"cuebank"]))
        assert spec == store.spec(name)
        values = table["values"].combine_chunks().flatten().to_numpy().reshape(rows, spec.dim)
        found[name, *key] = Series(values, table["time_s"].to_numpy(), table["valid"].to_numpy())
    assert_equal(found, content(store))
    for name, total in place.items():
        written = parquet.ParquetFile(out / f"{quote_name(name)}.parquet").metadata
        assert written.num_rows == total
        groups = {1: total, 2**26: 1}
        assert written.num_row_groups == groups.get(group_bytes, written.num_row_groups)


def check_tables(store: FeatureStore, out: Path) -> None:
    specs = json.loads((out / "feature_sets.json").read_text())
    assert {name: FeatureSpec.from_json(one) for name, one in specs.items()} == {
        name: store.spec(name) for name in store.feature_sets()
    }
    assert rows_of(out / "failures.csv") == [
        {"feature_set": "demo.x", "clip_id": "bad", "entity_id": "P\n1", "reason": "no\tsound"}
    ]
    assert ClipsTable.read_csv(out / "clips.csv", check_media=False) == store.clips()


@pytest.mark.parametrize("kind", ["zarr", "npy", "parquet"])
def test_only_the_chosen_feature_sets_are_copied_and_progress_is_told(
    kind: str, store: FeatureStore, tmp_path: Path
) -> None:
    steps: list[int] = []
    done = export(store, tmp_path / NAMES[kind], kind, ["b.3", "demo.x", "b.3"], steps.append)
    assert list(done["feature_sets"]) == ["b.3", "demo.x"]
    assert sum(steps) == 12
    assert done["bytes"] > 0
    assert not list((tmp_path / NAMES[kind]).glob("b%2F2*"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["source", NAMES[kind]])


@pytest.mark.parametrize("kind", ["zarr", "npy", "parquet"])
@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_at_the_place_stays_as_it_is(kind: str, there: str, store: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / NAMES[kind]
    {"file": out.touch, "folder": out.mkdir, "link": lambda: out.symlink_to("nowhere")}[there]()
    with pytest.raises(Conflict, match="nothing is overwritten"):
        export(store, out, kind)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["source", NAMES[kind]])


@pytest.mark.parametrize("kind", ["zarr", "npy"])
def test_what_appears_at_the_place_meanwhile_stays_too(
    kind: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / NAMES[kind]

    def appear(_: int) -> None:
        out.mkdir(exist_ok=True)
        (out / "mine").touch()

    with pytest.raises(Conflict):
        export(store, out, kind, progress=appear)
    monkeypatch.setattr(os.path, "lexists", lambda path: False if not (out / "late").exists() else Path(path).exists())
    with pytest.raises(Conflict):
        export(store, out, kind, progress=lambda _: (out / "late").touch())
    assert sorted(p.name for p in out.iterdir()) == ["late", "mine"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["source", NAMES[kind]])


@pytest.mark.parametrize("kind", ["zarr", "npy", "parquet"])
@pytest.mark.parametrize("damage", ["rows", "segment"])
def test_a_damaged_store_is_not_copied_in_part(kind: str, damage: str, source: Path, tmp_path: Path) -> None:
    segment = sorted(source.glob("demo.x/segments/*"))[0]
    file = segment / ("values/0.0" if damage == "rows" else "zarr.json")
    data = bytearray(file.read_bytes())
    data[100] ^= 1  # not in the first series, which was replaced
    file.write_bytes(bytes(data))
    with FeatureStore.open(source) as store, pytest.raises(Corrupt):
        export(store, tmp_path / NAMES[kind], kind)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("out", "kind", "error", "match"),
    [
        ("copy.zarr", "zip", BadInput, "zip"),
        ("copy.h5", "zarr", BadInput, "HDF5"),
        ("copy.zarr", "hdf5", BadInput, r"\.h5"),
        ("none/copy.zarr", "zarr", NotFound, "folder around"),
        ("source/features.zarr/copy", "npy", BadInput, "inside"),
        ("source/features.zarr/demo.x/copy.zarr", "zarr", BadInput, "inside"),
    ],
)
def test_a_place_or_kind_that_makes_no_sense_is_refused(
    out: str, kind: str, error: type[Exception], match: str, store: FeatureStore, tmp_path: Path
) -> None:
    with pytest.raises(error, match=match):
        export(store, tmp_path / out, kind)
    with pytest.raises(NotFound, match=r"demo\.x"):
        export(store, tmp_path / "copy", "npy", ["demo.y"])
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_the_suffix_tells_the_kind() -> None:
    assert [kind_of(name) for name in ("a.zarr", "b/a.HDF5", "a.parquet", "a.npy", "a.tar")] == [
        "zarr",
        "hdf5",
        "parquet",
        "npy",
        None,
    ]


@pytest.mark.parametrize("kind", ["zarr", "npy", "parquet"])
def test_an_interrupted_export_leaves_nothing_behind(kind: str, store: FeatureStore, tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / NAMES[kind], kind, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_a_feature_set_may_be_called_like_a_table(
    tmp_path: Path, make_spec: Callable[..., FeatureSpec], make_series: Callable[..., Series]
) -> None:
    (tmp_path / "source").mkdir()
    with FeatureStore.open(tmp_path / "source" / "f.zarr", "a") as store:
        store.create(make_spec("index.csv"))
        store.write("index.csv", "c", None, *make_series(1))
        store.commit()
        export(store, tmp_path / "copy", "npy")
    assert [line["file"] for line in rows_of(tmp_path / "copy" / "index.csv")] == ["%69ndex.csv/000000000"]


def test_many_files_are_synced_at_once(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[None] = []
    monkeypatch.setattr(module, "SYNC_FILES", 3)
    monkeypatch.setattr(os, "sync", lambda: synced.append(None))
    export(store, tmp_path / "copy", "npy")
    assert len(synced) == 1
