"""HuBERT as a torch module: transformers' network, with a way to read several layers from one forward.

Source: Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units", 2021;
fairseq (MIT), transformers (Apache-2.0). What differs: the weight norm of the positional convolution is computed once
instead of in each forward, and blocks above the highest layer that is wanted are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...store.errors import MissingExtra
from ..torchvision_ops import ensure_torchvision
from .hubert_shape import HubertShape

# Measured on a CPU: equal to `eager` up to 2.4e-6, as repeatable, as fast at 10 s and twice as fast at 60 s.
ATTENTION = "sdpa"
POSITIONAL = "encoder.pos_conv_embed.conv.weight"

HubertNetwork = Any  # transformers' HubertModel, which can be named only once transformers is imported


def build(shape: HubertShape) -> HubertNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    The positional convolution has a plain weight (`POSITIONAL`) instead of weight norm's two parts.

    Raises:
        MissingExtra: if transformers is not installed.
    """
    ensure_torchvision()
    try:
        from transformers import HubertConfig, HubertModel
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra("HuBERT", "hf", "transformers") from error
    config = HubertConfig(
        hidden_size=shape.dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        conv_dim=list(shape.conv_dims),
        conv_kernel=list(shape.conv_kernels),
        conv_stride=list(shape.conv_strides),
        conv_bias=shape.conv_bias,
        num_conv_pos_embeddings=shape.pos_kernel,
        num_conv_pos_embedding_groups=shape.pos_groups,
        feat_extract_norm=shape.conv_norm,
        do_stable_layer_norm=shape.pre_norm,
        layer_norm_eps=shape.norm_eps,
        mask_time_prob=0.0,  # leaves out the mask embedding, which only training uses
        mask_feature_prob=0.0,
        attn_implementation=ATTENTION,
    )
    with torch.device("meta"):
        network = HubertModel(config)
    torch.nn.utils.parametrize.remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")
    return network.eval().requires_grad_(False)


def shapes(network: HubertNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the network needs, by name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def join_weight_norm(scale: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Return the weight of the positional convolution from weight norm's two parts.

    Args:
        scale: (1, 1, K), one number per tap.
        direction: (D, D / groups, K).

    Returns:
        (D, D / groups, K): `scale * direction / norm`, the norm taken over the first two axes.
    """
    return torch._weight_norm(direction, scale, 2)


def keep_layers(network: HubertNetwork, count: int) -> None:
    """Drop the blocks above the first `count`."""
    network.encoder.layers = network.encoder.layers[:count]


def install(network: HubertNetwork, tensors: Mapping[str, torch.Tensor], device: str = "cpu") -> None:
    """Give the network its weights: exactly those of `shapes(network)`.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    network.eval().requires_grad_(False).to(device)


def normalise(waveform: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Return a waveform (N,) with zero mean and unit (biased) variance, as the large models were trained on."""
    return nn.functional.layer_norm(waveform, waveform.shape, eps=eps)  # (N,)


def hidden(network: HubertNetwork, waveforms: torch.Tensor, layers: Sequence[int | None]) -> list[torch.Tensor]:
    """Return the outputs of several layers from one forward.

    Args:
        network: with weights.
        waveforms: (B, N) float32 at 16 kHz, all of one length, already normalised where the model wants it.
        layers: k = 1…: output of block k as it is; None: the model's own output, which for models with norms before the
            blocks (large) has one more layer norm.

    Returns:
        One (B, T, D) tensor per entry of `layers`, T = (N - 400) // 320 + 1.
    """
    kept: dict[int, Any] = {}

    def keep(number: int) -> Any:
        # Up to transformers 4, blocks return a tuple.
        return lambda _module, _inputs, output: kept.__setitem__(
            number, output[0] if isinstance(output, tuple) else output
        )

    blocks = network.encoder.layers
    hooks = [blocks[k - 1].register_forward_hook(keep(k)) for k in layers if k is not None]
    try:
        final = network(waveforms).last_hidden_state  # (B, T, D)
    finally:
        for hook in hooks:
            hook.remove()
    return [final if k is None else kept[k] for k in layers]
