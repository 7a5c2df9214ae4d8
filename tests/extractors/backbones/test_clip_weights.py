"""CLIP's weights in all their published forms give one network; anything else is refused with the difference."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from still_pictures import clip, extract
from torch import nn

from cuebank.extractors.backbones import _clip, _clip_names
from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.import_weights import import_weights
from cuebank.extractors.media.demand import PictureShape
from cuebank.extractors.networks import clip_image
from cuebank.extractors.registry import load
from cuebank.extractors.torchvision_ops import ensure_torchvision

TINY = _clip.TINY
CONFIG = {
    "model_type": "clip",
    "projection_dim": TINY.embed,
    "vision_config": {
        "hidden_size": TINY.width,
        "intermediate_size": 4 * TINY.width,
        "num_hidden_layers": TINY.layers,
        "num_attention_heads": TINY.heads,
        "image_size": TINY.side,
        "patch_size": TINY.patch,
    },
    "text_config": {
        "hidden_size": TINY.text_width,
        "intermediate_size": 4 * TINY.text_width,
        "num_hidden_layers": TINY.text_layers,
        "num_attention_heads": TINY.text_heads,
    },
}


def loaded(name: str, weights: Path | str, **settings: Any) -> Any:
    return load(name, ExtractorSettings(weights=str(weights), **settings))


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    """Tensors of the tiny network by OpenAI's names."""
    torch.manual_seed(4)
    sizes = clip_image.shapes(clip_image.build(TINY, texts=True))
    return {name: 0.2 * torch.randn(size) for name, size in sizes.items()}


class _Skeleton(nn.Module):
    """Modules that have tensors by these names, and do nothing."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        inside: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            first, _, rest = name.partition(".")
            if rest:
                inside.setdefault(first, {})[rest] = tensor
            else:
                self.register_buffer(first, tensor)
        for name, part in inside.items():
            self.add_module(name, _Skeleton(part))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def archived(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A TorchScript archive as OpenAI published them, with its remarks, in half precision."""
    remarks = {name: torch.tensor(number) for name, number in (("input_resolution", 32), ("context_length", 77))}
    half = {name: tensor.half() for name, tensor in tensors.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(_Skeleton({**half, **remarks}), torch.ones(1)), str(path))
    return path


@pytest.mark.parametrize("backbone", ["clip-tiny", "clip-prompts-tiny"])
def test_every_form_gives_the_same_rows(tmp_path: Path, plain: dict[str, torch.Tensor], backbone: str) -> None:
    pictures = clip(3)
    remarks = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77), "vocab_size": torch.tensor(9)}
    forms: dict[str, Any] = {
        "openai": {**plain, **remarks},
        "viper": {"epoch": 3, "model_state_dict": plain, "loss": 0.5},
        "parallel": {"state_dict": {f"module.{name}": tensor for name, tensor in plain.items()}},
        "transformers": _clip_names.to_transformers(plain),
        "custom-text": {
            name if name.startswith(("visual.", "logit")) else f"text.{name}": t for name, t in plain.items()
        },
    }
    found = []
    for form, content in forms.items():
        torch.save(content, tmp_path / f"{form}.pt")
        extractor = loaded(backbone, tmp_path / f"{form}.pt")
        assert extractor.specs[0].name == f"{backbone}.{form}@last"
        found.append(extract(extractor, pictures)[0].values)
    save_file(plain, tmp_path / "safe.safetensors")
    found.append(extract(loaded(backbone, tmp_path / "safe.safetensors"), pictures)[0].values)
    assert all(np.array_equal(rows, found[0]) for rows in found)


def test_openais_archives_are_read_without_running_them(tmp_path: Path, plain: dict[str, torch.Tensor]) -> None:
    (found,) = extract(loaded("clip-tiny", archived(tmp_path / "ViT.pt", plain)), clip(3))
    torch.save({name: tensor.half() for name, tensor in plain.items()}, tmp_path / "half.pt")
    (expected,) = extract(loaded("clip-tiny", tmp_path / "half.pt"), clip(3))
    assert np.array_equal(found.values, expected.values)


def test_names_go_both_ways(plain: dict[str, torch.Tensor]) -> None:
    theirs = _clip_names.to_transformers(plain)
    assert _clip_names.is_transformers(theirs)
    assert not _clip_names.is_transformers(plain)
    back = _clip_names.from_transformers(theirs, plain)
    assert set(back) == set(plain)
    assert all(torch.equal(back[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize("act", ["quick_gelu", "gelu"])
def test_transformers_own_model_gives_the_same_embeddings(tmp_path: Path, act: str) -> None:
    """An independent implementation: pictures, and texts through it, from a folder it saved."""
    ensure_torchvision()
    from transformers import CLIPConfig, CLIPModel

    from cuebank.extractors.networks import clip_text

    torch.manual_seed(0)
    parts = {name: {**CONFIG[name], "hidden_act": act} for name in ("vision_config", "text_config")}
    # In texts, transformers looks for the end by this number; the usual one of CLIP is kept for old models.
    parts["text_config"]["eos_token_id"] = 49407
    model = CLIPModel(CLIPConfig(projection_dim=TINY.embed, **parts)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    model.save_pretrained(tmp_path / "model")
    backbone = "clip-tiny"
    if act == "gelu":
        with pytest.raises(WeightsError, match="quick_gelu: expected True, found False"):
            loaded(backbone, tmp_path / "model")
        return
    pictures = clip(3)
    extractor = loaded(backbone, tmp_path / "model", layers=("1", "last"))
    first, last = extract(extractor, pictures)
    pixels = extractor.loaded.look.pixels(pictures.frames, torch.device("cpu"))
    with torch.inference_mode():
        vision = model.vision_model(pixel_values=pixels, output_hidden_states=True)
        expected = model.visual_projection(vision.pooler_output)
    np.testing.assert_allclose(last.values, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(first.values, vision.hidden_states[1][:, 0], rtol=0, atol=1e-4)
    tokens = clip_text.tokenize(["a face", "a longer text about a face"], TINY)
    network = clip_image.build(TINY, texts=True)
    needed = clip_image.shapes(network)
    clip_image.install(network, _clip_names.from_transformers(dict(model.state_dict()), needed))
    with torch.inference_mode():
        texts = model.text_projection(model.text_model(input_ids=tokens).pooler_output)
        np.testing.assert_allclose(clip_text.embed(network, tokens), texts, rtol=0, atol=1e-4)


def folder(path: Path, tensors: dict[str, torch.Tensor], **files: Any) -> Path:
    path.mkdir()
    torch.save(tensors, path / "pytorch_model.bin")
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def test_folders_say_what_network_and_what_look(tmp_path: Path, plain: dict[str, torch.Tensor]) -> None:
    processor = {"size": 40, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "resample": 3}
    path = folder(tmp_path / "a", _clip_names.to_transformers(plain), config=CONFIG, preprocessor_config=processor)
    extractor = loaded("clip-tiny", path)
    assert extractor.needs.pictures.shape == PictureShape("short-side", 40, 0, "bicubic", (32, 32))
    usual = loaded("clip-tiny", "random").needs.pictures.shape
    assert usual == PictureShape("short-side", 32, 0, "bicubic", (32, 32))
    wide = {**CONFIG, "projection_dim": 64}
    with pytest.raises(WeightsError, match="embed: expected 32, found 64"):
        loaded("clip-tiny", folder(tmp_path / "b", plain, config=wide))
    with pytest.raises(WeightsError, match="'siglip'"):
        loaded("clip-tiny", folder(tmp_path / "c", plain, config={"model_type": "siglip"}))
    own = {"model_cfg": {"embed_dim": 512, "vision_cfg": {"patch_size": 32}, "text_cfg": {}}}
    with pytest.raises(WeightsError, match=r"(?s)side: expected 32, found 224.*--backbone clip-vit-b-32-laion2b"):
        loaded("clip-tiny", folder(tmp_path / "d", plain, open_clip_config=own))


def test_missing_and_superfluous_tensors_are_listed(tmp_path: Path, plain: dict[str, torch.Tensor]) -> None:
    content = dict(plain)
    content["surplus"] = content.pop("visual.proj")
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"(?s)missing: visual\.proj \(128, 32\).*not wanted: surplus"):
        loaded("clip-tiny", tmp_path / "w.pt")
    pictures_only = {name: tensor for name, tensor in plain.items() if name.startswith("visual.")}
    torch.save(pictures_only, tmp_path / "v.pt")
    assert extract(loaded("clip-tiny", tmp_path / "v.pt"), clip(2))[0].values.shape == (2, 32)
    with pytest.raises(WeightsError, match=r"missing: positional_embedding"):
        loaded("clip-prompts-tiny", tmp_path / "v.pt")


@pytest.mark.parametrize("form", ["archive", "transformers"])
def test_imported_weights_give_the_rows_of_the_original(
    tmp_path: Path, plain: dict[str, torch.Tensor], form: str
) -> None:
    if form == "archive":
        original = archived(tmp_path / "ViT.pt", plain)
    else:
        original = folder(tmp_path / "model", _clip_names.to_transformers(plain), config=CONFIG)
    import_weights(original, "clip-tiny", out=tmp_path / "imported")
    for backbone in ("clip-tiny", "clip-prompts-tiny"):  # one folder serves both
        (found,) = extract(loaded(backbone, tmp_path / "imported"), clip(3))
        (expected,) = extract(loaded(backbone, original), clip(3))
        assert np.array_equal(found.values, expected.values)
