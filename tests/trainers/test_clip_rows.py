"""Rows of clips on their own clocks: missing inputs are masked and said, clips without any row are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, FeatureSpec, FeatureStore, Key
from cuebank.trainers.clip_rows import gather_clip_rows, valid_rows

INPUTS = {"audio": "hubert.x", "video": "vit.x"}


@pytest.fixture
def store(tmp_path: Path, spec: Callable[..., FeatureSpec]) -> FeatureStore:
    opened = FeatureStore.open(tmp_path / "f.zarr", "a")
    opened.create(spec("hubert.x", 3, dtype="float16"))
    opened.create(spec("vit.x", 2))
    rng = np.random.default_rng(0)
    for clip, audio, video in (("a", 4, 2), ("b", 7, 0), ("c", 0, 5), ("d", 3, 1)):
        for name, rows, dim in (("hubert.x", audio, 3), ("vit.x", video, 2)):
            if rows:
                valid = np.arange(rows) != 1
                if clip == "d":
                    valid[:] = False
                opened.write(name, clip, None, rng.standard_normal((rows, dim)), np.arange(rows) / 10, valid)
    opened.record_failure("hubert.x", "broken", None, "no sound")
    opened.commit()
    return opened


KEYS = [Key(name) for name in ("d", "b", "broken", "a", "c", "never")]


@pytest.mark.parametrize("limit", [10**9, 0])
def test_each_input_keeps_its_own_clock_and_missing_ones_are_masked(store: FeatureStore, limit: int) -> None:
    found = gather_clip_rows(store, KEYS, INPUTS, limit)
    assert found.kept.tolist() == [1, 3, 4]
    for role, name in INPUTS.items():
        values, mask, times = found.features.batch(role, torch.arange(3))
        for row, position in enumerate(found.kept.tolist()):
            if store.missing(name, [KEYS[position]]):
                assert not mask[row].any()
                continue
            series = store.read(name, *KEYS[position])
            rows = len(series.times)
            np.testing.assert_array_equal(values[row, :rows], series.values.astype(np.float32))
            assert mask[row, :rows].tolist() == series.valid.tolist()
            assert times[row, :rows].tolist() == series.times.tolist()
            assert not mask[row, rows:].any()
    assert valid_rows(found.features, "audio").tolist() == [6, 3, 0]
    assert "1 of 3 clips have no valid row in `vit.x`: it is masked there." in found.notes
    assert "1 of 3 clips have no valid row in `hubert.x`: it is masked there." in found.notes
    reasons = {str(item["clip_id"]): item["reason"] for item in found.left_out.items()}
    assert reasons == {
        "d": "no valid row in any input",
        "broken": "extraction of `hubert.x` failed: no sound",
        "never": "not in `hubert.x`",
    }


def test_an_entity_takes_its_own_rows_and_else_those_of_its_clip(store: FeatureStore) -> None:
    store.write("hubert.x", "a", "left", np.ones((2, 3)), [0.0, 1.0], [True, True])
    store.commit()
    found = gather_clip_rows(store, [Key("a", "left"), Key("a", "right")], {"audio": "hubert.x"}, 10**9)
    assert valid_rows(found.features, "audio").tolist() == [2, 3]


def test_no_row_at_all_is_an_error(store: FeatureStore) -> None:
    with pytest.raises(BadInput, match="no valid row in any input"):
        gather_clip_rows(store, [Key("d")], INPUTS, 10**9)
    with pytest.raises(BadInput, match="no sound"):
        gather_clip_rows(store, [Key("broken")], INPUTS, 10**9)
