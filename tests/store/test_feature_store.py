"""The contract of the store, for every container."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store import BadInput, Conflict, FeatureStore, Key, NotFound, Recipe

ODD_IDS = [
    "../x",
    "/etc/passwd",
    "a\nb\x00c",
    "é" * 300,
    "日本語",
    "zarr.json",
    " ",
    ".",
    "c\x1b[31m",
    "a/b\\c",
    "\ufeff",
]


def equal(left, right):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True))


def test_what_is_committed_reads_back_exactly_in_a_new_object(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        store.write("demo.x", "a", None, *make_series(1, rows=7))
        store.write("demo.x", "a", "left", *make_series(2, rows=1))
        store.write("demo.x", "b", None, *make_series(3, rows=0))
        store.commit()
    store = FeatureStore.open(store_path)
    assert equal(store.read("demo.x", "a"), make_series(1, rows=7))
    assert equal(store.read("demo.x", "a", "left"), make_series(2, rows=1))
    assert store.read("demo.x", "b").values.shape == (0, 3)
    assert list(store.series("demo.x")) == [("a", None, 7), ("a", "left", 1), ("b", None, 0)]
    assert store.coverage() == {"demo.x": (3, 2, 8, 0)}


def test_nothing_is_visible_before_commit_and_closing_drops_it(store_path, layout, make_spec, make_series):
    store = FeatureStore.open(store_path, "a")
    store.create(make_spec())
    store.write("demo.x", "a", None, *make_series(1))
    assert (store.pending_series, store.pending_bytes) == (1, 5 * (3 * 4 + 8 + 1))
    assert len(store.series("demo.x")) == 0
    with pytest.raises(NotFound):
        store.read("demo.x", "a")
    store.close()
    assert len(FeatureStore.open(store_path).series("demo.x")) == 0
    assert layout(store_path).strangers == []


def test_commit_without_anything_pending_writes_nothing(store_path, make_spec):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        store.commit()
        store.commit()
        assert store.info()["feature_sets"]["demo.x"]["segments"] == 0


def test_one_commit_covers_several_feature_sets(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        for name in ("one.x", "two.x"):
            store.create(make_spec(name))
            store.write(name, "a", None, *make_series(len(name)))
        store.commit()
        assert store.pending_series == 0
        assert store.feature_sets() == ["one.x", "two.x"]
        assert {name: cover.series for name, cover in store.coverage().items()} == {"one.x": 1, "two.x": 1}


def test_views_are_read_only_and_outlive_the_store(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        store.write("demo.x", "a", None, *make_series(1))
        store.commit()
        series = store.read("demo.x", "a")
    for array in series:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert equal(series, make_series(1))


@pytest.mark.parametrize(
    ("start_s", "stop_s", "expected"),
    [
        (None, None, [0, 1, 2, 3]),
        (0.5, None, [1, 2, 3]),
        (0.5, 1.5, [1, 2]),
        (None, 0.5, [0]),
        (0.51, 0.9, []),
        (1.5, 1.5, []),
        (-1, 99, [0, 1, 2, 3]),
        (5, 6, []),
    ],
)
def test_a_range_of_time_is_half_open(store_path, make_spec, start_s, stop_s, expected):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec(dim=1))
        store.write("demo.x", "a", None, [[0], [1], [2], [3]], [0.0, 0.5, 0.5, 1.5], [True] * 4)
        store.commit()
        assert store.read("demo.x", "a", None, start_s, stop_s).values[:, 0].tolist() == expected


@pytest.mark.parametrize(("start_s", "stop_s"), [(2, 1), (float("nan"), 1), (0, float("nan"))])
def test_a_reversed_or_nan_range_is_refused(small_store, start_s, stop_s):
    with pytest.raises(BadInput, match="start_s <= stop_s"):
        FeatureStore.open(small_store).read("demo.x", "c1", start_s=start_s, stop_s=stop_s)


def test_out_is_filled_and_returned_and_may_be_wider(small_store, make_series):
    store = FeatureStore.open(small_store)
    for dtype in ("float32", "float64"):
        out = np.full((9, 3), 5, dtype)
        series = store.read("demo.x", "c1", out=out)
        assert series.values.base is out
        assert np.array_equal(out[:5], make_series(1).values)
        assert (out[5:] == 5).all()


@pytest.mark.parametrize("out", [np.empty((4, 3), "f4"), np.empty((9, 2), "f4"), np.empty((9, 3), "f2"), np.empty(9)])
def test_an_out_that_does_not_fit_is_refused(small_store, out):
    with pytest.raises(BadInput, match="buffer"):
        FeatureStore.open(small_store).read("demo.x", "c1", out=out)


def test_ids_are_data_and_round_trip(store_path, layout, make_spec, make_series):
    keys = [(a, b) for a in ODD_IDS for b in [None, *ODD_IDS[:3]]] + [("ab", "c"), ("a", "bc")]
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i, (clip_id, entity_id) in enumerate(keys):
            store.write("demo.x", clip_id, entity_id, *make_series(i))
        store.commit()
    store = FeatureStore.open(store_path)
    assert [(item.clip_id, item.entity_id) for item in store.series("demo.x")] == keys
    assert all(equal(store.read("demo.x", *key), make_series(i)) for i, key in enumerate(keys))
    assert store.missing("demo.x", keys) == []
    assert layout(store_path).strangers == []


@pytest.mark.parametrize("key", [("", None), ("a", ""), (None, None), ("\ud800", None), (3, None)])
def test_an_id_that_is_no_text_is_refused(small_store, make_series, key):
    with FeatureStore.open(small_store, "a") as store, pytest.raises(BadInput):
        store.write("demo.x", *key, *make_series(0))


@pytest.mark.parametrize(
    "name", ["clips", "zarr.json", "_packed", "segments", "../up", ".hidden", "__x", "a/b", "é.1", "h.x@9+mean", " "]
)
def test_a_feature_set_may_have_any_name(store_path, layout, make_spec, make_series, name):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec(name))
        store.write(name, "a", None, *make_series(0))
        store.commit()
    store = FeatureStore.open(store_path)
    assert store.feature_sets() == [name]
    assert store.spec(name) == make_spec(name)
    assert equal(store.read(name, "a"), make_series(0))
    assert layout(store_path).strangers == []


def test_missing_keeps_the_order_and_counts_failures(small_store):
    store = FeatureStore.open(small_store)
    keys = [Key("z"), Key("c1"), Key("bad"), Key("c4"), Key("c4", "left"), Key("a")]
    assert store.missing("demo.x", iter(keys)) == [Key("z"), Key("bad"), Key("c4"), Key("a")]


def test_an_absent_series_is_not_found_with_what_is_near(small_store):
    store = FeatureStore.open(small_store)
    with pytest.raises(NotFound, match=r"'c9'.*Did you mean"):
        store.read("demo.x", "c9")
    with pytest.raises(NotFound, match="'left'"):
        store.read("demo.x", "c4")
    with pytest.raises(NotFound, match="no sound"):
        store.read("demo.x", "bad")
    with pytest.raises(NotFound, match=r"Did you mean `demo\.x`"):
        store.read("demo.y", "c1")
    for call in (store.spec, store.series, store.failures, lambda name: store.missing(name, [])):
        with pytest.raises(NotFound):
            call("nothing")


def test_a_key_written_again_is_replaced_after_commit(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        store.write("demo.x", "c1", None, *make_series(77, rows=2))
        assert equal(store.read("demo.x", "c1"), make_series(1))
        store.commit()
        assert equal(store.read("demo.x", "c1"), make_series(77, rows=2))
    store = FeatureStore.open(small_store)
    assert equal(store.read("demo.x", "c1"), make_series(77, rows=2))
    assert store.coverage()["demo.x"] == (5, 5, 4 + 2 + 6 + 7 + 5, 1)
    assert sum(item.clip_id == "c1" for item in store.series("demo.x")) == 1


def test_of_two_pending_series_of_one_key_the_later_wins(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for seed in (1, 2, 3):
            store.write("demo.x", "a", None, *make_series(seed))
            store.write("demo.x", "b", None, *make_series(seed + 10))
        store.commit()
        assert equal(store.read("demo.x", "a"), make_series(3))
        assert equal(store.read("demo.x", "b"), make_series(13))
        assert len(store.series("demo.x")) == 2


def test_a_failure_never_hides_a_series(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        store.record_failure("demo.x", "c1", None, "later trouble")
        store.write("demo.x", "new", None, *make_series(9))
        store.record_failure("demo.x", "new", None, "after the fact")
        store.record_failure("demo.x", "bad", None, "still no sound")
        store.record_failure("demo.x", "mended", None, "before the fact")
        store.write("demo.x", "mended", None, *make_series(10))
        store.commit()
        assert equal(store.read("demo.x", "c1"), make_series(1))
        assert equal(store.read("demo.x", "new"), make_series(9))
        assert equal(store.read("demo.x", "mended"), make_series(10))
        assert store.failures("demo.x") == [("bad", None, "still no sound")]


def test_a_series_ends_the_failure_of_its_key(small_store, make_series):
    with FeatureStore.open(small_store, "a") as store:
        store.write("demo.x", "bad", None, *make_series(5))
        store.commit()
        assert store.failures("demo.x") == []
        assert store.missing("demo.x", [("bad", None)]) == []


def test_creating_again_with_the_same_recipe_does_nothing(small_store, make_spec):
    before = FeatureStore.open(small_store).info()
    with FeatureStore.open(small_store, "a") as store:
        store.create(make_spec(unhashed={"device": "other"}))
    assert FeatureStore.open(small_store).info() == before


def test_another_recipe_under_a_used_name_is_refused_field_by_field(small_store, make_spec):
    other = make_spec(weights={"source": "none", "seed": 8}, layer="3")
    with FeatureStore.open(small_store, "a") as store, pytest.raises(Conflict) as caught:
        store.create(other)
    assert "recipe.weights.seed: 7 -> 8" in str(caught.value)
    assert "recipe.layer: None -> '3'" in str(caught.value)
    assert "dim" not in str(caught.value)


def test_equal_content_gives_equal_bytes(tmp_path, make_spec, make_series):
    contents = []
    for name in ("one.zarr", "two.zarr"):
        with FeatureStore.open(tmp_path / name, "a") as store:
            store.create(make_spec())
            for i in range(3):
                values, times, valid = make_series(i)
                values = values.copy()
                values[~valid] = np.nan if name == "one.zarr" else 5  # what is not valid is not stored
                store.write("demo.x", f"c{i}", None, values, times, valid)
            store.commit()
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]


def test_info_says_what_a_program_needs(small_store, layout, make_spec):
    info = FeatureStore.open(small_store).info()
    told = info["feature_sets"]["demo.x"]
    assert info["format"] == 2
    assert told["bytes"] == sum(path.stat().st_size for path in layout(small_store).files() if "demo.x" in path.parts)
    expected = {"kind": "numeric", "series": 5, "clips": 5, "rows": 27, "dim": 3, "dtype": "float32", "rate_hz": 50.0}
    assert {key: told[key] for key in expected} == expected
    assert (told["failed"], told["segments"], told["broken_segments"]) == (1, 2, 0)
    assert told["fingerprint"] == make_spec().fingerprint
    assert Recipe.from_json(told["recipe"]) == make_spec().recipe


def test_series_can_be_indexed_and_sliced_like_a_list(small_store):
    series = FeatureStore.open(small_store).series("demo.x")
    assert series[-1] == ("c4", "left", 5)
    assert [item.clip_id for item in series[1:3]] == ["c1", "c2"]
    for i in (5, -6):
        with pytest.raises(IndexError):
            series[i]
