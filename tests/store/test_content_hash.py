"""Hashes of content: equal for equal content however it lies on the disk, different for any change of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import BadInput, Corrupt, FeatureSpec, FeatureStore, Key, NotFound, Series
from cuebank.store import content_hash as module
from cuebank.store.content_hash import feature_set_hash, series_hash

IDS = [("c", None), ("c", "left"), ("cl", "eft"), ("a/b\0ß", None), ("a", "\U0001f600"), ("../x", "y\n")]


@pytest.fixture
def write(tmp_path: Path, make_spec: Callable[..., FeatureSpec], container: str) -> Callable[..., str]:
    """Return a function that writes series into a new store and returns the hash of its feature set."""
    made = []

    def write(series: dict, commit_each: bool = False, spec: FeatureSpec | None = None, **changes: object) -> str:
        spec = dataclasses.replace(spec or make_spec(), **changes)
        made.append(tmp_path / f"{len(made)}.{container}")
        with FeatureStore.open(made[-1], "a") as store:
            store.create(spec)
            for key, one in series.items():
                store.write(spec.name, *key, *one)
                if commit_each:
                    store.commit()
            store.commit()
            return feature_set_hash(store, spec.name)

    return write


@pytest.fixture
def content(make_series: Callable[..., Series]) -> dict[tuple[str, str | None], Series]:
    return {key: make_series(i, rows=3 * i) for i, key in enumerate(IDS)}


def test_order_segments_and_rewriting_do_not_change_the_hash(write: Callable[..., str], content: dict) -> None:
    expected = write(content)
    backwards = dict(reversed(content.items()))
    assert write(backwards) == expected
    assert write(backwards, commit_each=True) == expected


@pytest.mark.parametrize("codec", ["zstd", "blosc"])
def test_the_codec_does_not_change_the_hash(codec: str, write: Callable[..., str], content: dict) -> None:
    assert write(content, codec=codec) == write(content)


def test_a_replaced_series_counts_once_and_failures_do_not_count(
    tmp_path: Path, write: Callable[..., str], content: dict, make_spec: Callable[..., FeatureSpec]
) -> None:
    expected = write(content)
    with FeatureStore.open(tmp_path / "again.zarr", "a") as store:
        store.create(make_spec())
        store.write("demo.x", "c", None, [[1, 2, 3]], [0], [True])
        store.record_failure("demo.x", "bad", None, "no sound")
        store.commit()
        for key, one in content.items():
            store.write("demo.x", *key, *one)
        store.commit()
        assert feature_set_hash(store, "demo.x") == expected


def test_any_byte_time_flag_key_or_recipe_changes_the_hash(
    write: Callable[..., str], content: dict, make_spec: Callable[..., FeatureSpec]
) -> None:
    key = ("a/b\0ß", None)
    values, times, valid = (array.copy() for array in content[key])
    values[valid.argmax(), 2] = np.nextafter(values[valid.argmax(), 2], np.float32(9))
    later = times + [*[0] * (len(times) - 1), 1e-9]
    hidden = valid.copy()
    hidden[valid.argmax()] = False
    renamed = {(k if k != ("cl", "eft") else ("cl", "eft2")): v for k, v in content.items()}
    shifted = {(k if k != ("cl", "eft") else ("cle", "ft")): v for k, v in content.items()}
    variants = [
        content,
        {**content, key: content[key]._replace(values=values)},
        {**content, key: content[key]._replace(times=later)},
        {**content, key: content[key]._replace(valid=hidden)},
        {**content, key: Series(*(array[:-1] for array in content[key]))},
        {k: v for k, v in content.items() if k != ("c", None)},  # a series without rows
        {**content, ("new", None): content["c", None]},
        renamed,
        shifted,
        {},
    ]
    hashes = [write(one) for one in variants]
    hashes.append(write(content, spec=make_spec(weights={"seed": 8})))
    assert len(set(hashes)) == len(hashes)


def test_the_hashes_are_what_the_module_says(
    write: Callable[..., str], content: dict, make_spec: Callable[..., FeatureSpec]
) -> None:
    def digest(data: bytes) -> bytes:
        return blake2b(data, digest_size=32).digest()

    entries = []
    for (clip, entity), one in content.items():
        rows = b"".join(array.tobytes() for array in one)
        found = digest(f"cuebank-series 1 float32 3 {len(one.times)}\n".encode() + rows)
        assert series_hash("float32", 3, one) == found.hex()
        ids = [clip.encode(), (entity or "").encode()]
        entries.append(digest(b"".join(len(i).to_bytes(8, "little") + i for i in ids) + found))
    whole = digest(
        f"cuebank-feature-set 1 {make_spec().fingerprint} {len(entries)}\n".encode() + b"".join(sorted(entries))
    )
    assert write(content) == whole.hex()


def test_a_view_in_another_memory_order_has_the_same_hash(make_series: Callable[..., Series]) -> None:
    one = make_series(1, rows=7)
    strided = Series(np.asfortranarray(one.values), np.repeat(one.times, 2)[::2], one.valid)
    swapped = Series(one.values.astype(">f4"), one.times.astype(">f8"), one.valid)
    assert {series_hash("float32", 3, s) for s in (one, strided, swapped)} == {series_hash("float32", 3, one)}


@pytest.mark.parametrize(("dtype", "dim"), [("float16", 3), ("float32", 4)])
def test_a_series_of_another_shape_or_type_is_refused(dtype: str, dim: int, make_series: Callable[..., Series]) -> None:
    with pytest.raises(BadInput, match="float32"):
        series_hash(dtype, dim, make_series(1))


def test_each_series_is_noted_and_room_is_made_for_more(small_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FeatureStore.open(small_store) as store:
        expected, noted = feature_set_hash(store, "demo.x"), {}
        monkeypatch.setattr(module, "_GROW", 2)
        assert (
            feature_set_hash(store, "demo.x", lambda key, rows, found: noted.update({key: (rows, found)})) == expected
        )
        assert {key: rows for key, (rows, _) in noted.items()} == {
            Key(one.clip_id, one.entity_id): one.rows for one in store.series("demo.x")
        }
        assert noted[Key("c4", "left")][1] == series_hash("float32", 3, store.read("demo.x", "c4", "left"))


def test_a_store_with_a_segment_that_cannot_be_read_has_no_hash(small_store: Path, layout: type) -> None:
    first = layout(small_store).bundles()[0]
    layout(small_store).document(first).write_text("{}")
    with FeatureStore.open(small_store) as store:
        with pytest.raises(Corrupt, match=first.stem):
            feature_set_hash(store, "demo.x")
        with pytest.raises(NotFound, match=r"demo\.x"):
            feature_set_hash(store, "demo.y")
