"""Label series with inputs on their clock: each row is what `align` says, for entities and for whole clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, FeatureStore, Key
from cuebank.store.align import align
from cuebank.trainers.aligned_reader import Clock, check_rate
from cuebank.trainers.aligned_rows import RowItems, any_input, every_input, gather_row_items, vectors_of

PlantedRows = Callable[..., Path]
INPUTS = {"steps": "steps.x", "face": "face.x@1", "room": "room.x"}
LABELS = "toy.labels"


@pytest.fixture(scope="module")
def store(plant_rows: PlantedRows, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = plant_rows(
        tmp_path_factory.mktemp("rows"),
        clips=4,
        skip=lambda clip, entity, role: (clip == 1 and role == "face") or (clip, entity) == (2, "left"),
    )
    with FeatureStore.open(path) as opened:
        yield opened


def keys_of(store: FeatureStore) -> list[Key]:
    return [Key(one.clip_id, one.entity_id) for one in store.series(LABELS)]


def gathered(store: FeatureStore, limit: int = 10**9, scope: str = "entity", **clock: Any) -> RowItems:
    return gather_row_items(store, keys_of(store), INPUTS, Clock(LABELS, **clock), scope, limit)


@pytest.mark.parametrize("limit", [10**9, 0])
@pytest.mark.parametrize("clock", [{}, {"how": "mean"}, {"how": "linear", "rate": "10"}, {"rate": "30000/1001"}])
def test_each_row_is_what_align_says(store: FeatureStore, limit: int, clock: dict[str, str]) -> None:
    found = gathered(store, limit, **clock)
    assert [item[0] for item in found.items] == keys_of(store)
    for i, (key,) in enumerate(found.items):
        there = [name for role, name in INPUTS.items() if (role, *key) not in absent]
        grid = clock.get("rate", LABELS)
        labels = store.read(LABELS, *key)
        wanted = align(store, [*there, LABELS], *key, grid=grid, how=clock.get("how", "nearest"))
        if "rate" in clock:
            inside = np.isin(wanted.times, align(store, [LABELS], *key, grid=grid).times)
        else:
            inside = np.ones(len(labels.times), dtype=bool)
        for role, name in INPUTS.items():
            values, mask, times = found.features.batch(role, torch.tensor([i]))
            assert times[0].tolist() == wanted.times[inside].tolist()
            if name not in there:
                assert not mask.any()
                continue
            assert mask[0].tolist() == wanted.valid[name][inside].tolist()
            np.testing.assert_allclose(values[0], wanted.values[name][inside] * mask[0].numpy()[:, None], atol=1e-6)
        rows = slice(int(found.features.shared.starts[i]), int(found.features.shared.starts[i]) + inside.sum())
        assert found.table.times[rows].tolist() == wanted.times[inside].tolist()
        assert {found.table.keys[code] for code in found.table.key_of_row[rows]} == {key}


absent = {
    ("face", "clip01", "left"),
    ("face", "clip01", "right"),
    ("face", "clip02", "left"),
    ("steps", "clip02", "left"),
}


def test_nearest_rows_stay_in_the_stored_type_and_means_do_not(store: FeatureStore) -> None:
    assert gathered(store).features.values["face"].rows.dtype == torch.float16
    assert gathered(store, how="mean").features.values["face"].rows.dtype == torch.float32


def test_a_scene_has_the_rows_of_all_entities_by_time_then_entity(store: FeatureStore) -> None:
    alone, together = gathered(store), gathered(store, scope="clip")
    assert [item[0].clip_id for item in together.items] == ["clip00", "clip01", "clip02", "clip03"]
    assert together.items[0] == (Key("clip00", "left"), Key("clip00", "right"))
    for i, item in enumerate(together.items):
        values, mask, times = together.features.batch("steps", torch.tensor([i]))
        entities = together.features.entity_batch(torch.tensor([i]))
        assert entities is not None
        pairs = list(zip(times[0].tolist(), entities[0].tolist(), strict=True))
        assert pairs == sorted(pairs)
        for code, key in enumerate(item):
            own = torch.tensor([alone.items.index((key,))])
            rows = entities[0] == code
            wanted = alone.features.batch("steps", own)
            assert torch.equal(values[0][rows], wanted.values[0])
            assert torch.equal(mask[0][rows], wanted.mask[0])
            assert times[0][rows].tolist() == wanted.times[0].tolist()
        start = int(together.features.shared.starts[i])
        codes = together.table.key_of_row[start : start + len(pairs)]
        assert [together.table.keys[code] for code in codes] == [item[code] for code in entities[0]]


@pytest.mark.parametrize("clock", [{}, {"how": "linear"}, {"rate": "10"}])
@pytest.mark.parametrize("scope", ["entity", "clip"])
def test_windows_of_streamed_items_are_those_of_items_in_memory(
    store: FeatureStore, scope: str, clock: dict[str, str]
) -> None:
    kept = gathered(store, scope=scope, **clock).features.windowed(7)[0]
    streamed = gathered(store, limit=0, scope=scope, **clock).features.windowed(7)[0]
    items = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))
    for role in INPUTS:
        for found, wanted in zip(streamed.batch(role, items), kept.batch(role, items), strict=True):
            assert torch.equal(found, wanted)


def test_rows_at_one_moment_are_told_apart_when_streamed(store: FeatureStore, tmp_path: Path) -> None:
    with FeatureStore.open(tmp_path / "same.zarr", "a") as made:
        for name in ("steps.x", LABELS):
            spec = store.spec(name)
            made.create(spec)
            values = np.arange(6 * spec.dim).reshape(6, spec.dim)
            made.write(name, "a", None, values, [0.0, 1, 1, 1, 2, 3], np.ones(6, bool))
        made.commit()
        found = [
            gather_row_items(made, [Key("a")], {"steps": "steps.x"}, Clock(LABELS), "entity", limit).features
            for limit in (10**9, 0)
        ]
        cuts = [one.windowed(2)[0].batch("steps", torch.arange(1, 4)).values for one in found]
        assert torch.equal(*cuts)
        assert len(cuts[0].unique(dim=0)) == 3


def test_labels_are_arranged_as_the_rows_are(store: FeatureStore) -> None:
    found = gathered(store, scope="clip")
    for i, item in enumerate(found.items):
        times = found.reader.arrange(i, [store.read(LABELS, *key).times for key in item])
        assert times.tolist() == found.features.batch("steps", torch.tensor([i])).times[0].tolist()


def test_what_is_masked_is_said_and_rows_with_all_inputs_are_told_from_those_with_some(store: FeatureStore) -> None:
    found = gathered(store)
    some, every = any_input(found.features), every_input(found.features)
    assert bool(some.all())  # the room is there for all, and long enough
    assert 0 < int(every.sum()) < len(every)
    assert any("rows have nothing of `face.x@1`" in note for note in found.notes)
    assert not any("`room.x`" in note for note in found.notes)


def test_rows_become_vectors_in_the_order_of_the_rows(store: FeatureStore) -> None:
    found = gathered(store)
    every = every_input(found.features)
    vectors = vectors_of(found.features, every)
    parts = vectors.split(vectors.matrix)
    rows = torch.nonzero(every).flatten()
    for role in INPUTS:
        assert torch.equal(parts[role], found.features.values[role].rows[rows].float())
    streamed = gathered(store, limit=0)
    assert torch.equal(vectors_of(streamed.features, every).matrix, vectors.matrix)


def test_series_without_any_input_are_left_out_and_nothing_left_is_an_error(store: FeatureStore) -> None:
    found = gather_row_items(store, keys_of(store), {"face": "face.x@1"}, Clock(LABELS), "entity", 10**9)
    assert len(found.items) == 5
    assert found.left_out.counts() == {"not in `face.x@1`": 3}
    with pytest.raises(BadInput, match=r"not in `face.x@1`.*cuebank extract"):
        gather_row_items(store, [Key("clip01", "left")], {"face": "face.x@1"}, Clock(LABELS), "entity", 10**9)


@pytest.mark.parametrize(("rate", "how"), [("29.97", "nearest"), ("0", "mean"), (None, "closest")])
def test_inexact_rates_and_unknown_ways_are_refused(rate: str | None, how: str) -> None:
    with pytest.raises(BadInput):
        check_rate(rate, how)
