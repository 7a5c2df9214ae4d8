"""CLIP against recorded outputs of the original, and configurations in all their forms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors.networks import clip_image, clip_text
from cuebank.extractors.networks.clip_shape import ClipShape, UnreadableShape, from_open_clip, from_transformers

ATOL = 1e-5
TINY = ClipShape(32, 128, 2, 2, 32, 8, 64, 2, 2, 20, 50)


def filled(shape: ClipShape, texts: bool = True, seed: int = 0) -> Any:
    """A network with weights."""
    torch.manual_seed(seed)
    tensors = {name: 0.1 * torch.randn(s) for name, s in clip_image.shapes(clip_image.build(shape, texts=True)).items()}
    network = clip_image.build(shape, texts)
    clip_image.install(network, {name: tensors[name] for name in clip_image.shapes(network)})
    return network


def golden_shape(described: dict[str, Any]) -> ClipShape:
    """The measures of a recorded network: OpenAI's rule makes heads of 64 for pictures."""
    made = described["constructor"]
    return ClipShape(
        embed=made["embed_dim"],
        width=made["vision_width"],
        layers=made["vision_layers"],
        heads=made["vision_width"] // 64,
        side=made["image_resolution"],
        patch=made["vision_patch_size"],
        text_width=made["transformer_width"],
        text_layers=made["transformer_layers"],
        text_heads=made["transformer_heads"],
        context=made["context_length"],
        vocabulary=made["vocab_size"],
    )


@pytest.mark.golden("viper_clip_tiny")
def test_features_similarities_and_the_chosen_prompt_equal_the_originals(golden_case: Any) -> None:
    described, arrays = golden_case.json("viper_backbones_tiny")["clip"], golden_case.arrays
    network = clip_image.build(golden_shape(described), texts=True)
    assert clip_image.shapes(network) == {name: tuple(size) for name, size in described["state_dict"].items()}
    clip_image.install(network, golden_case.state_dict(described["state_dict"]))
    with torch.inference_mode():
        (pictures,) = clip_image.embed(network, torch.from_numpy(arrays["images"].copy()), [None])
        texts = clip_text.embed(network, torch.from_numpy(arrays["tokens"].copy()))
    np.testing.assert_allclose(pictures, arrays["image_features"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(texts, arrays["text_features"], rtol=0, atol=ATOL)
    found = clip_text.similarities(pictures.numpy(), texts.numpy())
    np.testing.assert_allclose(found, arrays["similarity"], rtol=0, atol=ATOL)
    assert found.argmax(1).tolist() == arrays["chosen"].tolist()


@pytest.mark.golden("viper_clip_tiny")
def test_pictures_need_no_texts(golden_case: Any) -> None:
    described, arrays = golden_case.json("viper_backbones_tiny")["clip"], golden_case.arrays
    network = clip_image.build(golden_shape(described))
    tensors = golden_case.state_dict(described["state_dict"])
    needed = clip_image.shapes(network)
    assert set(needed) == {name for name in tensors if name.startswith("visual.")}
    clip_image.install(network, {name: tensors[name] for name in needed})
    with torch.inference_mode():
        (pictures,) = clip_image.embed(network, torch.from_numpy(arrays["images"].copy()), [None])
    np.testing.assert_allclose(pictures, arrays["image_features"], rtol=0, atol=ATOL)


def test_layers_are_class_tokens_and_blocks_above_can_be_left_out() -> None:
    whole, cut, pixels = filled(TINY), filled(TINY), torch.randn(3, 3, 32, 32)
    clip_image.keep_layers(cut, 1)
    with torch.inference_mode():
        first, second, last = clip_image.embed(whole, pixels, [1, 2, None])
        (alone,) = clip_image.embed(cut, pixels, [1])
        visual = whole.visual
        again = visual.ln_post(second) @ visual.proj
    assert torch.equal(first, alone)
    assert first.shape == second.shape == (3, 128)
    torch.testing.assert_close(last, again, rtol=0, atol=ATOL)


def test_a_text_is_not_changed_by_what_follows_its_end() -> None:
    network = filled(TINY)
    tokens = torch.tensor([[48, 3, 4, 49] + [0] * 16, [48, 3, 4, 49] + [7] * 16])
    with torch.inference_mode():
        one, other = clip_text.embed(network, tokens)
    torch.testing.assert_close(one, other, rtol=0, atol=ATOL)


def test_tokens_are_open_clips() -> None:
    shape = ClipShape()
    tokens = clip_text.tokenize(["A photo of a Face", "x " * 100], shape)
    assert tokens.shape == (2, 77)
    assert tokens[0, :7].tolist() == [49406, 320, 1125, 539, 320, 1710, 49407]
    assert tokens[0, 7:].tolist() == [0] * 70
    assert tokens[1, -1] == 49407  # cut, and the end kept
    with pytest.raises(ValueError, match="50 tokens"):
        clip_text.tokenize(["a"], TINY)


def test_similarities_are_cosines_row_by_row() -> None:
    rng = np.random.default_rng(0)
    pictures, texts = rng.standard_normal((9, 32)).astype(np.float32), rng.standard_normal((53, 32)).astype(np.float32)
    found = clip_text.similarities(pictures, texts)
    expected = (
        torch.nn.functional.normalize(torch.tensor(pictures)) @ torch.nn.functional.normalize(torch.tensor(texts)).T
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert found.dtype == np.float32
    for row in range(9):
        assert np.array_equal(clip_text.similarities(pictures[row : row + 1], texts)[0], found[row])
    assert clip_text.similarities(pictures[:0], texts).shape == (0, 53)
    assert not np.isnan(clip_text.similarities(np.zeros((1, 32)), texts)).any()


def test_the_published_sizes_have_the_published_number_of_parameters() -> None:
    sizes = clip_image.shapes(clip_image.build(ClipShape(), texts=True))
    assert sum(int(np.prod(size)) for size in sizes.values()) == 151_277_313


def test_open_clips_own_configurations_are_read() -> None:
    folder = Path(clip_image.open_clip().__file__).parent / "model_configs"

    def read(name: str) -> ClipShape:
        return from_open_clip(json.loads((folder / f"{name}.json").read_text()))

    assert read("ViT-B-32-quickgelu") == ClipShape()
    assert read("ViT-B-32") == replace(ClipShape(), quick_gelu=False)
    large = read("ViT-L-14-quickgelu")
    assert (large.embed, large.width, large.heads, large.patch, large.text_heads) == (768, 1024, 16, 14, 12)
    assert read("ViT-H-14").heads == 16
    for other in ("RN50", "ViT-B-16-SigLIP", "coca_ViT-B-32", "convnext_base", "EVA02-B-16"):
        with pytest.raises(UnreadableShape):
            read(other)


def test_transformers_configurations_are_read() -> None:
    assert from_transformers({"model_type": "clip"}) == ClipShape()
    laion = {"vision_config": {"hidden_act": "gelu"}, "text_config": {"hidden_act": "gelu"}}
    assert from_transformers(laion) == replace(ClipShape(), quick_gelu=False)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "siglip"}, "'siglip'"),
        ({"vision_config": {"hidden_act": "gelu"}}, "hidden_act"),
        ({"vision_config": {"hidden_act": "tanh"}, "text_config": {"hidden_act": "tanh"}}, "hidden_act"),
        ({"vision_config": 3}, "vision_config"),
        ({"vision_config": {"num_attention_heads": 7}}, "num_attention_heads"),
        ({"text_config": {"vocab_size": -1}}, "vocab_size"),
        ({"text_config": {"layer_norm_eps": 1e-6}}, "layer_norm_eps"),
        ({"text_config": {"intermediate_size": 1024}}, "intermediate_size"),
    ],
)
def test_configurations_of_other_networks_are_refused_with_the_reason(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnreadableShape, match=said):
        from_transformers(config)
