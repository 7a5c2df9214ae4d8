"""Compressed feature sets answer like others, to the last bit; only the disk notices."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from cuebank.store import Corrupt, FeatureSpec, FeatureStore, Recipe, Timebase
from cuebank.store.align import align
from cuebank.store.compact import compact
from cuebank.store.content_hash import series_hash
from cuebank.store.drop import drop
from cuebank.store.gather import gather
from cuebank.store.verify import verify

CODECS = ["zstd", "blosc"]
CLOCK = Timebase(Fraction(50), Fraction(1, 100), Fraction(1, 50))
SIZES = [0, 1, 7, 3000, 2, 900, 0, 5000]  # the larger ones fill more than one chunk


@pytest.fixture
def plain():
    """The description of a set that is not compressed."""
    return FeatureSpec("plain.x", "numeric", 64, "float32", Recipe("demo", {"source": "none"}), CLOCK)


@pytest.fixture(params=CODECS)
def store(request, store_path, plain):
    """Two feature sets of the same rows: `plain.x`, and `packed.x` with a codec; two segments each."""
    with FeatureStore.open(store_path, "a") as store:
        for spec in (plain, replace(plain, name="packed.x", codec=request.param)):
            store.create(spec)
            rng = np.random.default_rng(0)
            for i, rows in enumerate(SIZES):
                values = np.repeat(rng.integers(0, 20, (rows, 8)).astype("f4"), 8, axis=1)
                store.write(spec.name, f"c{i}", None, values, (np.arange(rows) + 0.5) / 50, np.arange(rows) % 5 != 3)
                if i == 4:
                    store.commit()
        store.commit()
        yield store


def same(left, right):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True))


def check_all(store):
    spec = store.spec("packed.x")
    for i in range(len(SIZES)):
        wanted, found = store.read("plain.x", f"c{i}"), store.read("packed.x", f"c{i}")
        assert same(wanted, found)
        assert not any(array.flags.writeable for array in found)
        assert series_hash(spec.dtype, spec.dim, wanted) == series_hash(spec.dtype, spec.dim, found)


def test_rows_are_the_same_again_and_again(store):
    for _ in range(2):
        check_all(store)
    with FeatureStore.open(store.path) as other:
        check_all(other)


@pytest.mark.parametrize(
    "window", [(0, 0.03), (19.99, 60.01), (None, 50), (50, None), (59.98, 60), (1e6, None), (7, 7)]
)
def test_windows_are_the_same(store, window):
    for clip in ("c3", "c7", "c0"):
        for _ in range(2):
            assert same(store.read("plain.x", clip, None, *window), store.read("packed.x", clip, None, *window))


def test_buffers_are_filled_alike(store):
    out = [np.full((5000, 64), 7, "f8") for _ in range(2)]
    for clip, start_s in (("c3", None), ("c7", 20.0), ("c1", None)):
        for name, buffer in zip(("plain.x", "packed.x"), out, strict=True):
            assert store.read(name, clip, start_s=start_s, out=buffer).values.base is buffer
        assert np.array_equal(*out)


def test_batches_are_the_same(store):
    items = [(f"c{i}", None) for i in (5, 0, 3, 3, 1)]
    wanted, found = gather(store, "plain.x", items), gather(store, "packed.x", items)
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(wanted, found, strict=True))


def test_sets_are_aligned_alike(store):
    found = align(store, ["plain.x", "packed.x"], "c7", grid=25, how="mean", start_s=10, stop_s=30)
    assert np.array_equal(found.values["plain.x"], found.values["packed.x"])
    assert np.array_equal(found.valid["plain.x"], found.valid["packed.x"])
    assert found.valid["plain.x"].any()


def test_they_are_smaller_and_stay_so_when_they_are_compacted_or_dropped_from(store):
    told = store.info()["feature_sets"]
    assert told["packed.x"]["bytes"] < told["plain.x"]["bytes"] / 3
    compact(store)
    told = store.info()["feature_sets"]
    assert [told[name]["segments"] for name in ("plain.x", "packed.x")] == [1, 1]
    assert told["packed.x"]["bytes"] < told["plain.x"]["bytes"] / 3
    check_all(store)
    for name in ("plain.x", "packed.x"):
        drop(store, name, [("c3", None)])
        store.write(name, "c3", None, np.ones((9, 64)), np.arange(9), np.ones(9, bool))
    store.commit()
    check_all(store)
    assert verify(store.path)["ok"]


def test_the_codec_is_no_part_of_the_recipe(store, plain):
    store.create(replace(plain, name="packed.x"))  # the same numbers: no conflict
    assert store.spec("packed.x").fingerprint == replace(plain, name="packed.x").fingerprint
    assert store.spec("packed.x").codec in CODECS


def test_a_damaged_frame_is_found_with_its_series(store, layout):
    layout(store.path).damage(("c7", None), feature_set="packed.x")
    with FeatureStore.open(store.path) as other:
        with pytest.raises(Corrupt):
            other.read("packed.x", "c7")
        assert same(other.read("plain.x", "c3"), other.read("packed.x", "c3"))
        assert same(other.read("plain.x", "c7"), store.read("plain.x", "c7"))
    report = verify(store.path)
    assert "c7" in {problem["clip_id"] for problem in report["problems"]}
    assert {problem["feature_set"] for problem in report["problems"]} == {"packed.x"}
