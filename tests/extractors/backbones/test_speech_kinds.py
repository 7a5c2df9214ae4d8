"""Weights of WavLM and wav2vec 2.0 in their published forms; weights of one kind are not taken for another's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cuebank.extractors.backbones._speech_weights import fairseq_name
from cuebank.extractors.backbones.speech import SHAPES
from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.media.audio import Audio
from cuebank.extractors.networks import speech
from cuebank.extractors.random_weights import fill_all
from cuebank.extractors.registry import card, load

AUDIO = Audio((0.1 * np.random.default_rng(5).standard_normal(8000)).astype(np.float32), 16000, 0.0)
KINDS = ("wavlm-tiny", "wavlm-tiny-large", "wav2vec2-tiny")
# What checkpoints hold besides the network.
EXTRA = {
    "wavlm": {"mask_emb": (64,)},
    "wav2vec2": {
        "mask_emb": (64,),
        "quantizer.vars": (1, 640, 8),
        "quantizer.weight_proj.weight": (640, 32),
        "project_q.weight": (16, 16),
        "final_proj.weight": (16, 64),
    },
}


def ours(name: str) -> dict[str, torch.Tensor]:
    return fill_all(speech.shapes(speech.build(SHAPES[name])), seed=3)


def split(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The positional convolution as weight norm's two parts."""
    tensors = dict(tensors)
    weight = tensors.pop(speech.POSITIONAL)
    tensors[f"{speech.POSITIONAL}_v"] = weight * 2
    tensors[f"{speech.POSITIONAL}_g"] = weight.norm(dim=(0, 1), keepdim=True)
    return tensors


def original(name: str) -> dict[str, torch.Tensor]:
    """The tensors under the names of fairseq, or of WavLM's authors."""
    norm = SHAPES[name].conv_norm
    extra = {key: torch.ones(shape) for key, shape in EXTRA[SHAPES[name].kind].items()}
    return {fairseq_name(key, norm): tensor for key, tensor in split(ours(name)).items()} | extra


def told(name: str) -> dict[str, Any]:
    """The configuration of such a checkpoint."""
    shape = SHAPES[name]
    config = {
        "encoder_layers": 2,
        "encoder_embed_dim": 64,
        "encoder_ffn_embed_dim": 128,
        "encoder_attention_heads": 4,
        "extractor_mode": "layer_norm" if shape.pre_norm else "default",
        "layer_norm_first": shape.pre_norm,
        "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
        "conv_bias": False,
        "conv_pos": 128,
        "conv_pos_groups": 16,
        "normalize": shape.pre_norm,
    }
    wavlm = {"relative_position_embedding": True, "num_buckets": 320, "max_distance": 800, "gru_rel_pos": True}
    return config | wavlm if shape.kind == "wavlm" else config


def rows(name: str, weights: Path | str) -> np.ndarray:
    return load(name, ExtractorSettings(weights=str(weights))).extract(AUDIO)[0].values


def expected(name: str) -> np.ndarray:
    """Rows of a network that was given its tensors directly."""
    network = speech.build(SHAPES[name])
    speech.install(network, ours(name))
    wave = torch.from_numpy(AUDIO.samples)
    wave = speech.normalise(wave) if SHAPES[name].pre_norm else wave
    with torch.inference_mode():
        return speech.hidden(network, wave[None], [None])[0][0].numpy()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("flavour", ["plain cfg", "cfg", "args", "neither"])
def test_original_checkpoints_of_every_flavour_give_the_same_rows(tmp_path: Path, name: str, flavour: str) -> None:
    content: dict[str, Any] = {"model": original(name)}
    if flavour == "plain cfg":  # WavLM's authors write it so
        content["cfg"] = told(name)
    elif flavour == "cfg":
        content["cfg"] = {"model": told(name), "task": {"normalize": told(name)["normalize"]}}
    elif flavour == "args":
        content |= {"args": argparse.Namespace(**told(name)), "cfg": None}
    torch.save(content, tmp_path / "model.pt")
    np.testing.assert_allclose(rows(name, tmp_path / "model.pt"), expected(name), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("task", ["Model", "ForCTC", "ForPreTraining"])
def test_folders_that_transformers_saves_are_read_and_compute_the_same(tmp_path: Path, name: str, task: str) -> None:
    import transformers

    kind = {"wavlm": "WavLM", "wav2vec2": "Wav2Vec2"}[SHAPES[name].kind]
    if not hasattr(transformers, kind + task):
        pytest.skip(f"transformers has no {kind}{task}")
    config = speech.configuration(SHAPES[name]) | {"mask_time_prob": 0.05, "vocab_size": 8}
    torch.manual_seed(0)
    model = getattr(transformers, kind + task)(getattr(transformers, kind + "Config")(**config)).eval()
    model.save_pretrained(tmp_path)
    wave = torch.from_numpy(AUDIO.samples)
    wave = speech.normalise(wave) if SHAPES[name].pre_norm else wave
    body = model if task == "Model" else getattr(model, SHAPES[name].kind)
    with torch.inference_mode():
        theirs = body(wave[None]).last_hidden_state[0].numpy()
    np.testing.assert_allclose(rows(name, tmp_path), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_a_bare_file_of_transformers_names_is_read(tmp_path: Path, name: str) -> None:
    save_file(ours(name), tmp_path / "weights.safetensors")
    np.testing.assert_allclose(rows(name, tmp_path / "weights.safetensors"), expected(name), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [("hubert-tiny", "wavlm-tiny"), ("hubert-tiny", "wav2vec2-tiny"), ("wav2vec2-tiny", "wavlm-tiny")],
)
def test_weights_of_another_kind_are_refused_and_the_card_they_belong_to_is_named(
    tmp_path: Path, mine: str, theirs: str
) -> None:
    torch.save({"model": original(theirs)}, tmp_path / "model.pt")
    kinds = f"kind: expected {SHAPES[mine].kind}, found {SHAPES[theirs].kind}"
    with pytest.raises(WeightsError, match=kinds) as caught:
        rows(mine, tmp_path / "model.pt")
    assert f"--backbone {theirs}" in caught.value.todo
    (tmp_path / "config.json").write_text(json.dumps({"model_type": SHAPES[theirs].kind}))
    save_file(ours(theirs), tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=f"it is a '{SHAPES[theirs].kind}' model, not a '{SHAPES[mine].kind}' one"):
        rows(mine, tmp_path)


@pytest.mark.parametrize("change", [{"gru_rel_pos": False}, {"relative_position_embedding": False}])
def test_wavlm_without_its_biases_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    torch.save({"model": original("wavlm-tiny"), "cfg": told("wavlm-tiny") | change}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=f"{next(iter(change))} is False"):
        rows("wavlm-tiny", tmp_path / "model.pt")


def test_other_distances_of_wavlm_are_another_network(tmp_path: Path) -> None:
    torch.save({"model": original("wavlm-tiny"), "cfg": told("wavlm-tiny") | {"max_distance": 128}}, tmp_path / "m.pt")
    with pytest.raises(WeightsError, match="max_distance: expected 800, found 128"):
        rows("wavlm-tiny", tmp_path / "m.pt")


def test_each_family_has_its_default_card() -> None:
    assert card("wavlm").name == "wavlm-base-plus"
    assert card("wav2vec2").name == "wav2vec2-base"
