"""Gathering features from a store: pooling over valid rows, entities, what is left out and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import BadInput, Clip, FeatureSpec, FeatureStore, Key, NotFound
from cuebank.trainers import batches
from cuebank.trainers.batches import LeftOut, gather

NAME = "hubert-tiny.x"


@pytest.fixture
def store(tmp_path: Path, spec: Callable[..., FeatureSpec]) -> FeatureStore:
    opened = FeatureStore.open(tmp_path / "f.zarr", "a")
    opened.create(spec(NAME, 3, dtype="float16"))
    return opened


def clip(clip_id: str, entity_id: str | None = None) -> Clip:
    return Clip(clip_id, Path("x.mp4"), entity_id)


def write(store: FeatureStore, clip_id: str, values: object, valid: object, entity_id: str | None = None) -> None:
    array = np.asarray(values, dtype=np.float64)
    store.write(NAME, clip_id, entity_id, array, np.arange(len(array), dtype=float), valid)


def test_a_clip_is_the_float32_mean_of_its_valid_rows(store: FeatureStore) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 3)).astype(np.float16)
    valid = rng.random(50) < 0.5
    write(store, "a", rows, valid)
    write(store, "b", np.full((2000, 3), 100.0), np.ones(2000, dtype=bool))  # the sum overflows float16
    write(store, "c", [[1, 2, 3]], [True])
    store.commit()
    found = gather(store, [clip("a"), clip("b"), clip("c")], {"audio": NAME})
    values = found.features.split(found.features.matrix)["audio"].numpy()
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0], rows[valid].astype(np.float64).mean(0), rtol=1e-5)
    np.testing.assert_array_equal(values[1:], [[100, 100, 100], [1, 2, 3]])
    assert found.kept.tolist() == [0, 1, 2]
    assert found.left_out.items() == []


def test_clips_without_features_are_left_out_with_their_reason(store: FeatureStore) -> None:
    write(store, "good", [[1, 2, 3]], [True])
    write(store, "silent", [[1, 2, 3], [4, 5, 6]], [False, False])
    write(store, "empty", np.empty((0, 3)), np.empty(0, dtype=bool))
    store.record_failure(NAME, "broken", None, "no audio stream")
    store.commit()
    clips = [clip(name) for name in ("silent", "never", "broken", "good", "empty")]
    found = gather(store, clips, {"audio": NAME})
    assert found.kept.tolist() == [3]
    assert found.features.matrix[:, :3].tolist() == [[1, 2, 3]]
    reasons = {str(item["clip_id"]): item["reason"] for item in found.left_out.items()}
    assert reasons == {
        "silent": f"no valid row in `{NAME}`",
        "empty": f"no valid row in `{NAME}`",
        "never": f"not in `{NAME}`",
        "broken": f"extraction of `{NAME}` failed: no audio stream",
    }
    assert found.left_out.counts()[f"no valid row in `{NAME}`"] == 2
    assert f"2 clips were left out, no valid row in `{NAME}`: 'silent', 'empty'." in found.left_out.sentences()


def test_an_entity_takes_its_own_series_and_else_that_of_its_clip(store: FeatureStore) -> None:
    write(store, "a", [[1, 1, 1]], [True])
    write(store, "a", [[2, 2, 2]], [True], entity_id="left")
    store.record_failure(NAME, "b", None, "truncated")
    store.commit()
    found = gather(store, [clip("a", "left"), clip("a", "right"), clip("b", "left")], {"audio": NAME})
    assert found.features.matrix[:, 0].tolist() == [2, 1]
    assert found.left_out.items() == [
        {"clip_id": "b", "entity_id": "left", "reason": f"extraction of `{NAME}` failed: truncated"}
    ]


def test_a_clip_needs_every_input_and_columns_follow_the_order_of_the_inputs(
    store: FeatureStore, spec: Callable[..., FeatureSpec]
) -> None:
    store.create(spec("i3d.x", 2))
    for name in ("a", "b"):
        write(store, name, [[1, 2, 3]], [True])
    store.write("i3d.x", "b", None, [[8.0, 9.0]], [0.0], [True])
    store.commit()
    found = gather(store, [clip("a"), clip("b")], {"video": "i3d.x", "audio": NAME})
    assert found.kept.tolist() == [1]
    assert found.features.matrix[0, :5].tolist() == [8, 9, 1, 2, 3]
    assert found.features.dims == {"video": 2, "audio": 3}
    assert found.specs["video"].name == "i3d.x"


def test_nothing_left_is_an_error_that_says_why_and_what_to_run(store: FeatureStore) -> None:
    store.record_failure(NAME, "broken", None, "no audio stream")
    store.commit()
    with pytest.raises(BadInput, match=r"no audio stream.*cuebank extract"):
        gather(store, [clip("broken")], {"audio": NAME})


def test_a_feature_set_that_is_not_there_or_no_numbers_is_refused(store: FeatureStore) -> None:
    with pytest.raises(NotFound, match=r"hubert-tiny.x"):
        gather(store, [clip("a")], {"audio": "hubert-tiny.y"})
    store.create(FeatureSpec("label.x", "label", 1, "float32", store.spec(NAME).recipe))
    with pytest.raises(BadInput, match="Its kind is label"):
        gather(store, [clip("a")], {"audio": "label.x"})
    store.create(FeatureSpec("words.x", "text", 1, "int64", store.spec(NAME).recipe))
    store.write("words.x", "a", None, ["spoken"], [0], [True])
    store.commit()
    with pytest.raises(BadInput, match="Its kind is text"):
        gather(store, [clip("a")], {"audio": "words.x"})


def test_a_clip_whose_features_are_no_numbers_is_left_out(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write(store, name, [[1, 2, 3]], [True])
    store.commit()
    real = batches._pool

    def spoilt(opened: FeatureStore, feature_set: str, key: Key, into: np.ndarray) -> bool:
        found = real(opened, feature_set, key, into)
        if key.clip_id == "b":  # a store that something else than cuebank wrote
            into[1] = np.nan
        return found

    monkeypatch.setattr(batches, "_pool", spoilt)
    found = gather(store, [clip("a"), clip("b"), clip("c")], {"audio": NAME})
    assert found.kept.tolist() == [0, 2]
    assert found.features.matrix[:, :3].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert found.left_out.counts() == {f"NaN or infinite numbers in `{NAME}`": 1}


def test_many_clips_left_out_are_named_by_the_first_three_and_counted() -> None:
    left_out = LeftOut()
    for i in range(5):
        left_out.add("not there", Key(f"c{i}", "e" if i == 1 else None))
    assert left_out.sentences() == ["5 clips were left out, not there: 'c0', ('c1', 'e'), 'c2', …."]
