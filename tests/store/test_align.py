"""Several feature sets on one grid: which rows are asked for, and what a trainer gets."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cuebank.store import BadInput, FeatureSpec, FeatureStore, NotFound, Recipe, Timebase
from cuebank.store.align import align


def spec(name, rate=None, dtype="float32", scope="clip"):
    timebase = None if rate is None else Timebase(Fraction(rate), 1 / Fraction(2 * rate), 1 / Fraction(rate))
    return FeatureSpec(name, "numeric", 1, dtype, Recipe("demo", {"source": "none"}), timebase, scope)


def put(store, name, clip, entity, times, values, valid=None):
    valid = np.ones(len(times), bool) if valid is None else valid
    store.write(name, clip, entity, np.array(values, float).reshape(-1, 1), np.array(times, float), valid)


@pytest.fixture
def store(store_path):
    """Sound at 50 Hz, faces at 25 Hz with a gap and an invalid row, a pooled set, labels each second, wide numbers."""
    with FeatureStore.open(store_path, "a") as store:
        for one in (
            spec("sound.x", 50, "float16"),
            spec("faces.x", 25, scope="entity"),
            spec("pooled.x"),
            spec("labels.x", 1),
            spec("wide.x", 1, "float64"),
        ):
            store.create(one)
        sound = (np.arange(200) + 0.5) / 50
        put(store, "sound.x", "c", None, sound, np.arange(200))
        faces = np.delete((np.arange(100) + 0.5) / 25, np.arange(25, 50))  # nobody from 1 s to 2 s
        put(store, "faces.x", "c", "left", faces, faces * 25 - 0.5, np.arange(75) != 10)
        put(store, "pooled.x", "c", None, [2.0], [7.0])
        put(store, "labels.x", "c", None, [0.5, 1.5, 2.5, 3.5], [0, 1, 2, 3])
        put(store, "wide.x", "c", None, [0.5], [1e300])
        put(store, "sound.x", "empty", None, [], [])
        put(store, "pooled.x", "empty", None, [2.0], [7.0], np.zeros(1, bool))
        store.commit()
        yield store


def test_sets_of_different_rates_meet_on_the_slower_clock(store):
    got = align(store, ["sound.x", "faces.x"], "c", "left", grid=25, how="mean")
    assert got.times.tolist() == [(2 * k + 1) / 50 for k in range(100)]
    assert got.valid["sound.x"].all()
    assert got.values["sound.x"][:, 0].tolist() == [2 * k + 0.5 for k in range(100)]
    there = [k for k in range(100) if not 25 <= k < 50 and k != 10]
    assert np.flatnonzero(got.valid["faces.x"]).tolist() == there
    assert got.values["faces.x"][there, 0] == pytest.approx(there)
    assert not got.values["faces.x"][~got.valid["faces.x"]].any()


@pytest.mark.parametrize("how", ["nearest", "mean", "linear"])
def test_gaps_and_invalid_rows_stay_gaps_on_a_finer_grid(store, how):
    got = align(store, ["faces.x"], "c", "left", grid=100, how=how)
    missing = got.times[~got.valid["faces.x"]]
    slack = 0.02 if how == "linear" else 0.0  # between two rows, one of which is not there
    for start, stop in ((0.4, 0.44), (1.0, 2.0)):
        inside = got.times[(got.times > start - slack) & (got.times < stop + slack)]
        assert set(inside) <= set(missing)
    edges = 4 if how == "linear" else 0  # before the first row and after the last, nothing is invented
    expected = {"nearest": 4 + 100, "mean": 4 + 100, "linear": 8 + 104}[how]
    assert len(missing) == expected + edges


def test_slow_rows_are_held_for_their_own_step_by_nearest_and_mean(store):
    for how in ("nearest", "mean"):
        got = align(store, ["labels.x"], "c", grid=10, how=how)
        assert got.valid["labels.x"].all()
        assert got.values["labels.x"][:, 0].tolist() == [k // 10 for k in range(40)]


@pytest.mark.parametrize("how", ["nearest", "mean", "linear"])
def test_a_pooled_feature_stands_for_the_whole_clip_if_it_is_valid(store, how):
    got = align(store, ["sound.x", "pooled.x"], "c", grid=50, how=how, max_gap_s=0.05)
    assert got.valid["pooled.x"].all()
    assert (got.values["pooled.x"] == 7).all()
    assert not align(store, ["pooled.x"], "empty", grid=50, how=how, stop_s=1.0).valid["pooled.x"].any()


def test_the_rows_of_one_set_can_be_the_grid_and_so_can_those_of_another(store):
    got = align(store, ["labels.x", "sound.x"], "c", grid="labels.x", how="mean")
    assert got.times.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert got.values["labels.x"][:, 0].tolist() == [0, 1, 2, 3]
    assert got.values["sound.x"][:, 0].tolist() == [24.5, 74.5, 124.5, 174.5]
    other = align(store, ["sound.x"], "c", grid="labels.x", how="mean")
    assert np.array_equal(other.values["sound.x"], got.values["sound.x"])
    whole = align(store, ["sound.x"], "c", grid="pooled.x", how="mean")
    assert whole.values["sound.x"].tolist() == [[99.5]]


def test_the_name_of_a_set_may_begin_like_a_number(store):
    store.create(spec("3d.x"))
    put(store, "3d.x", "c", None, [1.0, 2.0], [5.0, 6.0])
    store.commit()
    assert align(store, ["3d.x", "sound.x"], "c", grid="3d.x").times.tolist() == [1.0, 2.0]


def test_a_range_gives_the_same_rows_as_the_whole_grid(store):
    for grid in (25, "30000/1001", "sound.x"):
        for how in ("nearest", "mean", "linear"):
            whole = align(store, ["sound.x", "faces.x"], "c", "left", grid=grid, how=how)
            part = align(store, ["sound.x", "faces.x"], "c", "left", grid=grid, how=how, start_s=0.33, stop_s=2.5)
            inside = (whole.times >= 0.33) & (whole.times < 2.5)
            assert np.array_equal(part.times, whole.times[inside])
            for name in part.values:
                assert np.array_equal(part.values[name], whole.values[name][inside])
                assert np.array_equal(part.valid[name], whole.valid[name][inside])


def test_a_range_beyond_the_rows_has_moments_but_nothing_valid(store):
    got = align(store, ["sound.x"], "c", grid=10, start_s=100, stop_s=101)
    assert len(got.times) == 10
    assert not got.valid["sound.x"].any()
    assert not align(store, ["sound.x"], "c", grid=10, start_s=1, stop_s=1).times.size


def test_an_empty_series_is_nowhere_valid(store):
    for how in ("nearest", "mean", "linear"):
        assert align(store, ["sound.x"], "empty", grid=10, how=how).values["sound.x"].shape == (0, 1)
        got = align(store, ["sound.x"], "empty", grid=10, how=how, start_s=0, stop_s=1)
        assert got.values["sound.x"].shape == (10, 1)
        assert not got.valid["sound.x"].any()


def test_max_gap_widens_what_linear_bridges_and_what_nearest_reaches(store):
    narrow = align(store, ["labels.x"], "c", grid=10, how="nearest", max_gap_s=0.5)
    assert np.flatnonzero(narrow.valid["labels.x"])[:6].tolist() == [2, 3, 4, 5, 6, 7]
    assert align(store, ["faces.x"], "c", "left", grid=25, how="linear", max_gap_s=2).valid["faces.x"][25:50].all()


def test_what_belongs_to_the_clip_belongs_to_each_entity_but_not_the_other_way_round(store):
    put(store, "sound.x", "c", "left", [0.01], [9.0])
    store.commit()
    got = align(store, ["sound.x", "labels.x"], "c", "left", grid=50, stop_s=0.5)
    assert got.values["sound.x"][0] == 9  # the entity's own
    assert got.valid["labels.x"].all()
    with pytest.raises(NotFound, match="left"):
        align(store, ["faces.x"], "c", grid=50)
    with pytest.raises(NotFound, match="right"):
        align(store, ["faces.x"], "c", "right", grid=50)


def test_numbers_beyond_float32_are_refused_not_made_infinite(store):
    for how in ("nearest", "mean", "linear"):
        with pytest.raises(BadInput, match="float64 values beyond"):
            align(store, ["wide.x"], "c", grid="wide.x", how=how)


def test_the_result_is_the_callers_own_memory(store):
    got = align(store, ["sound.x"], "c", grid="sound.x")
    for array in (got.times, got.values["sound.x"], got.valid["sound.x"]):
        array[:] = 0
    assert store.read("sound.x", "c").values[5, 0] == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grid": 29.97}, "29.97"),
        ({"grid": "29.97"}, "29.97"),
        ({"how": "nearst"}, "Did you mean `nearest`"),
        ({"feature_sets": "sound.x"}, "list of names"),
        ({"feature_sets": []}, "list of names"),
        ({"start_s": 2, "stop_s": 1}, "range of time"),
        ({"max_gap_s": -1}, "largest gap"),
        ({"max_gap_s": float("nan")}, "largest gap"),
    ],
)
def test_bad_questions_are_answered_in_words(store, change, said):
    asked = {"feature_sets": ["sound.x"], "clip_id": "c", "grid": 50, **change}
    with pytest.raises(BadInput, match=said):
        align(store, **asked)


@pytest.mark.parametrize("change", [{"feature_sets": ["sund.x"]}, {"grid": "sund.x"}, {"clip_id": "d"}])
def test_unknown_names_are_not_found(store, change):
    with pytest.raises(NotFound):
        align(store, **{"feature_sets": ["sound.x"], "clip_id": "c", "grid": 50, **change})
