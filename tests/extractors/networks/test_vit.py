"""The vision transformer against recorded outputs of the original, and configurations in all their forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors.networks import vit
from cuebank.extractors.networks.vit_shape import UnreadableShape, VitShape, from_transformers

ATOL = 1e-5
TINY = VitShape(dim=48, layers=2, heads=4, ffn=96, side=32, patch=8)


@pytest.mark.golden("viper_vit_tiny")
def test_tokens_and_feature_equal_the_originals(golden_case: Any) -> None:
    described = golden_case.json("viper_backbones_tiny")["vit"]
    shape = from_transformers({**described["constructor"], "layer_norm_eps": described["layer_norm_eps"]})
    network = vit.build(shape)
    tensors = golden_case.state_dict(described["state_dict"])
    needed = vit.shapes(network)
    assert set(tensors) - set(needed) == {"pooler.dense.weight", "pooler.dense.bias"}
    vit.install(network, {name: tensors[name] for name in needed})
    arrays = golden_case.arrays
    with torch.inference_mode():
        (tokens,) = vit.tokens(network, torch.from_numpy(arrays["pixel_values"].copy()), [None])
    np.testing.assert_allclose(tokens, arrays["last_hidden_state"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(tokens[:, 0], arrays["feature"], rtol=0, atol=ATOL)


def test_published_names_are_those_of_the_recorded_state_dict() -> None:
    network = vit.build(TINY)
    names = list(vit.shapes(network))
    assert "encoder.layer.1.attention.attention.query.weight" in names
    assert "encoder.layer.0.output.dense.bias" in names
    assert [vit.published_name(name) for name in names] == names


def test_blocks_above_are_left_out_without_changing_those_below() -> None:
    torch.manual_seed(0)
    tensors = {name: torch.randn(shape) * 0.1 for name, shape in vit.shapes(vit.build(TINY)).items()}
    pixels = torch.randn(2, 3, 32, 32)
    whole, cut = vit.build(TINY), vit.build(TINY)
    vit.keep_layers(cut, 1)
    vit.install(whole, tensors)
    vit.install(cut, {name: tensors[name] for name in vit.shapes(cut)})
    with torch.inference_mode():
        first, last = vit.tokens(whole, pixels, [1, None])
        (alone,) = vit.tokens(cut, pixels, [1])
    assert torch.equal(first, alone)
    assert first.shape == last.shape == (2, 17, 48)


def test_names_or_shapes_that_differ_are_refused() -> None:
    network = vit.build(TINY)
    with pytest.raises(RuntimeError, match="Missing"):
        vit.install(network, {})


def test_the_base_model_has_the_published_number_of_parameters() -> None:
    sizes = vit.shapes(vit.build(VitShape())).values()
    assert sum(int(np.prod(size)) for size in sizes) == 85_798_656
    assert VitShape().patches == 196


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "deit"}, "'deit'"),
        ({"num_channels": 1}, "channels"),
        ({"image_size": [224, 224]}, "image_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": 10**9}, "hidden_size"),
        ({"num_attention_heads": 5}, "do not go together"),
        ({"patch_size": 300}, "do not go together"),
        ({"hidden_act": "exec"}, "hidden_act"),
        ({"layer_norm_eps": True}, "layer_norm_eps"),
        ({"qkv_bias": 1}, "qkv_bias"),
    ],
)
def test_configurations_of_other_networks_are_refused_with_the_reason(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnreadableShape, match=said):
        from_transformers(config)
