"""Files of I3D weights: as published, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.networks import i3d
from cuebank.extractors.networks.i3d_shape import I3dShape
from cuebank.extractors.registry import load

TINY = I3dShape(divide=8, side=64)


def tensors(shape: I3dShape = TINY) -> dict[str, torch.Tensor]:
    """Weights by the names of a file, counters included."""
    rng = np.random.default_rng(0)
    state = i3d.build(shape).state_dict()
    drawn = {k: torch.from_numpy(rng.random(v.shape).astype(np.float32)) for k, v in state.items()}
    return {k: torch.tensor(9) if i3d.is_counter(k) else v for k, v in drawn.items()}


@pytest.fixture
def loading(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that saves something as a file of weights, and loads it."""

    def load_it(content: Any, **settings: Any) -> Any:
        path = tmp_path / "rgb_imagenet.pt"
        torch.save(content, path)
        return load("i3d-tiny", ExtractorSettings(weights=str(path), **settings))

    return load_it


def without(content: dict[str, Any], *parts: str) -> dict[str, Any]:
    return {name: tensor for name, tensor in content.items() if not any(part in name for part in parts)}


def test_a_file_is_read_with_and_without_counters(loading: Callable[..., Any]) -> None:
    content = tensors()
    for given in (content, without(content, "num_batches_tracked"), without(content, "b0.bn.num_batches_tracked")):
        state = loading(given).network.state_dict()
        assert all(torch.equal(state[k], v) for k, v in without(content, "num_batches_tracked", "logits").items())


def test_the_pickle_of_a_very_old_torch_and_safetensors_are_read(tmp_path: Path) -> None:
    content = without(tensors(), "num_batches_tracked")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(content, tmp_path / "new.safetensors")
    loaded = [
        load("i3d-tiny", ExtractorSettings(weights=str(tmp_path / name))) for name in ("old.pt", "new.safetensors")
    ]
    assert [extractor.specs[0].name for extractor in loaded] == ["i3d-tiny.old@last", "i3d-tiny.new@last"]
    old, new = (extractor.network.state_dict() for extractor in loaded)
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert len(loaded[0].specs[0].recipe.weights["sha256"]) == 64


def test_the_number_of_classes_is_the_files(loading: Callable[..., Any]) -> None:
    charades = loading(tensors(I3dShape(divide=8, side=64, classes=157)), layers=("last", "logits"))
    assert [spec.dim for spec in charades.specs] == [128, 157]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: without(t, "Mixed_4d.b1a.bn.running_var"), r"missing: Mixed_4d\.b1a\.bn\.running_var \(16,\)"),
        (lambda t: {**t, "Mixed_6a.b0.bn.bias": t["logits.conv3d.bias"]}, r"not wanted: Mixed_6a"),
        (lambda t: {**t, "Mixed_5c.b0.bn.bias": torch.zeros(3)}, r"shape: Mixed_5c\.b0\.bn\.bias is \(3,\)"),
        (lambda t: without(t, "logits.conv3d.weight"), r"missing: logits\.conv3d\.weight"),
        (lambda t: {**t, "logits.conv3d.weight": torch.zeros(())}, r"shape: logits\.conv3d\.weight is \(\)"),
        (lambda t: {f"module.{name}": tensor for name, tensor in t.items()}, "missing: Conv3d_1a_7x7"),
        (lambda t: {"state_dict": t}, r"missing: Conv3d_1a_7x7.*and 276 more"),
        (lambda t: {**t, "Mixed_5c.b0.bn.bias": torch.full((48,), float("nan"))}, "NaN"),
        (lambda t: list(t.values()), "holds a list"),
    ],
)
def test_whatever_else_differs_is_refused_by_name(loading: Callable[..., Any], change: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=f"(?s){said}"):
        loading(change(tensors()))


def test_weights_of_the_published_network_do_not_fit_the_tiny_one(loading: Callable[..., Any]) -> None:
    with pytest.raises(WeightsError, match=r"Conv3d_1a_7x7\.conv3d\.weight is \(16, 3, 7, 7, 7\)"):
        loading(tensors(I3dShape(divide=4)))
