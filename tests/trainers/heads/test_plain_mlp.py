"""The plain perceptron: what it computes, how many parameters it has, where it drops, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cuebank.store import BadInput
from cuebank.trainers.heads.plain_mlp import PlainMlp, PlainMlpConfig

DIMS = {"text": 3, "gait": 2, "video": 4}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_it_is_torchs_linear_layers_in_this_order() -> None:
    torch.manual_seed(0)
    model = PlainMlp(DIMS, 2, PlainMlpConfig(projection_dim=5, hidden_size=6, layers=2, activation="tanh")).eval()
    assert model.roles == ("video", "text", "gait")
    features = {role: torch.randn(7, dim) for role, dim in DIMS.items()}
    linear = nn.functional.linear
    parts = [
        linear(features[role], layer.weight, layer.bias).tanh()
        for role, layer in zip(model.roles, model.project, strict=True)
    ]
    hidden = torch.cat(parts, 1)
    for layer in model.hidden:
        hidden = linear(hidden, layer.weight, layer.bias).tanh()
    torch.testing.assert_close(model(features), linear(hidden, model.out.weight, model.out.bias))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (4 + 3 + 2 + 3) * 32 + (96 + 1) * 64 + 65 * 2),
        ({"projection_dim": None}, (9 + 1) * 64 + 65 * 2),
        ({"projection_dim": None, "layers": 0}, (9 + 1) * 2),
        ({"projection_dim": 8, "layers": 3, "hidden_size": 16}, 12 * 8 + 25 * 16 + 2 * 17 * 16 + 17 * 2),
    ],
)
def test_the_number_of_parameters_follows_from_the_settings(settings: dict[str, Any], wanted: int) -> None:
    assert count(PlainMlp(DIMS, 2, PlainMlpConfig(**settings))) == wanted


def test_without_projection_and_layers_it_is_linear() -> None:
    model = PlainMlp({"video": 4}, 1, PlainMlpConfig(projection_dim=None, layers=0)).double()
    one, other = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    middle = model({"video": (one + other) / 2})
    torch.testing.assert_close(middle, (model({"video": one}) + model({"video": other})) / 2)
    assert model.dropout_sites() == {}


def test_each_hidden_layer_is_dropped_with_the_mask_handed_in() -> None:
    torch.manual_seed(0)
    model = PlainMlp({"video": 4}, 2, PlainMlpConfig(hidden_size=6, layers=2, dropout=0.5)).train()
    features = {"video": torch.randn(5, 4)}
    ones = {"hidden0": torch.ones(5, 6), "hidden1": torch.ones(5, 6)}
    assert model.dropout_sites() == {"hidden0": (6, 0.5), "hidden1": (6, 0.5)}
    torch.testing.assert_close(model(features, dropout=ones), model.eval()(features))
    model.train()
    bias = model.out.bias.expand(5, 2)
    torch.testing.assert_close(model(features, dropout={**ones, "hidden1": torch.zeros(5, 6)}), bias)
    assert not torch.equal(model(features, dropout={**ones, "hidden0": torch.zeros(5, 6)}), bias)
    assert not torch.equal(model(features), model(features))  # without masks: torch's own draws


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation": "sigmoid"}, "gelu"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"projection_dim": 0}, "projection_dim=0"),
        ({"layers": -1}, "layers=-1"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": float("nan")}, "dropout=nan"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        PlainMlpConfig(**settings)


def test_an_order_that_does_not_name_each_input_once_is_refused() -> None:
    with pytest.raises(BadInput, match="names each input once"):
        PlainMlp(DIMS, 1, PlainMlpConfig(order=("video", "text")))
    assert PlainMlp(DIMS, 1, PlainMlpConfig(order=("gait", "video", "text"))).roles == ("gait", "video", "text")
