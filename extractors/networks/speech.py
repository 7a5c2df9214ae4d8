"""HuBERT, wav2vec 2.0 and WavLM as torch modules: transformers' networks, with several layers read from one forward.

Source: Hsu et al., "HuBERT", 2021; Baevski et al., "wav2vec 2.0", 2020; Chen et al., "WavLM", 2022; fairseq (MIT),
transformers (Apache-2.0). What differs: the weight norm of the positional convolution is computed once instead of in
each forward, blocks above the highest layer that is wanted are left out, and WavLM's attention is computed in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...store.errors import MissingExtra
from ..torchvision_ops import ensure_torchvision
from .speech_shape import SpeechShape
from .wavlm import attend_in_pieces

# Measured on a CPU: equal to `eager` up to 2.4e-6, as repeatable, as fast at 10 s and twice as fast at 60 s.
ATTENTION = "sdpa"
POSITIONAL = "encoder.pos_conv_embed.conv.weight"

SpeechNetwork = Any  # transformers' HubertModel and its like, which can be named only once transformers is imported


def build(shape: SpeechShape) -> SpeechNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    The positional convolution has a plain weight (`POSITIONAL`) instead of weight norm's two parts.

    Raises:
        MissingExtra: if transformers is not installed.
    """
    transformers = import_transformers({"hubert": "HuBERT", "wav2vec2": "wav2vec 2.0", "wavlm": "WavLM"}[shape.kind])
    name = {"hubert": "Hubert", "wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}[shape.kind]
    config = getattr(transformers, f"{name}Config")(**configuration(shape))
    with torch.device("meta"):
        network = getattr(transformers, f"{name}Model")(config)
    return prepared(network)


def import_transformers(what: str) -> Any:
    """Return the module `transformers`, which `what` needs.

    Raises:
        MissingExtra: if it is not installed.
    """
    ensure_torchvision()
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra(what, "hf", "transformers") from error
    return transformers


def configuration(shape: SpeechShape) -> dict[str, Any]:
    """Return the measures as arguments of transformers' configuration."""
    arguments: dict[str, Any] = {
        "hidden_size": shape.dim,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "conv_dim": list(shape.conv_dims),
        "conv_kernel": list(shape.conv_kernels),
        "conv_stride": list(shape.conv_strides),
        "conv_bias": shape.conv_bias,
        "num_conv_pos_embeddings": shape.pos_kernel,
        "num_conv_pos_embedding_groups": shape.pos_groups,
        "feat_extract_norm": shape.conv_norm,
        "do_stable_layer_norm": shape.pre_norm,
        "layer_norm_eps": shape.norm_eps,
        "mask_time_prob": 0.0,  # leaves out the mask embedding, which only training uses
        "mask_feature_prob": 0.0,
    }
    if shape.kind == "wavlm":  # has an attention of its own, without a choice
        return arguments | {"num_buckets": shape.buckets, "max_bucket_distance": shape.max_distance}
    return arguments | {"attn_implementation": ATTENTION}


def prepared(network: SpeechNetwork) -> SpeechNetwork:
    """Fold the positional convolution's weight norm, and make the network ready for inference."""
    torch.nn.utils.parametrize.remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")
    attend_in_pieces(network)
    return network.eval().requires_grad_(False)


def shapes(network: SpeechNetwork) -> dict[str, tuple[int, ...]]:
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


def keep_layers(network: SpeechNetwork, count: int) -> None:
    """Drop the blocks above the first `count`."""
    network.encoder.layers = network.encoder.layers[:count]


def install(network: SpeechNetwork, tensors: Mapping[str, torch.Tensor], device: str = "cpu") -> None:
    """Give the network its weights: exactly those of `shapes(network)`.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    network.eval().requires_grad_(False).to(device)


def normalise(waveform: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Return a waveform (N,) with zero mean and unit (biased) variance, as the large models were trained on."""
    return nn.functional.layer_norm(waveform, waveform.shape, eps=eps)  # (N,)


def hidden(network: SpeechNetwork, waveforms: torch.Tensor, layers: Sequence[int | None]) -> list[torch.Tensor]:
    """Return the outputs of several layers from one forward.

    Args:
        network: with weights.
        waveforms: (B, N) float32 at 16 kHz, all of one length, already normalised where the model wants it.
        layers: k = 1…: output of block k as it is; 0: what enters block 1; None: the model's own output, which for
            models with norms before the blocks (large) has one more layer norm.

    Returns:
        One (B, T, D) tensor per entry of `layers`, T = (N - 400) // 320 + 1.
    """
    return _read(network, layers, lambda: network(waveforms).last_hidden_state)


def encoded(network: SpeechNetwork, convolved: torch.Tensor, layers: Sequence[int | None]) -> list[torch.Tensor]:
    """Return the outputs of several layers, as `hidden`, from what the convolutions over the waveform gave.

    Args:
        network: with weights.
        convolved: (B, T, C).
        layers: as for `hidden`.

    Returns:
        One (B, T, D) tensor per entry of `layers`.
    """

    def run() -> torch.Tensor:
        projected = network.feature_projection(convolved)
        # All but HuBERT also return the normalised input, for the targets of training.
        return network.encoder(projected[0] if isinstance(projected, tuple) else projected).last_hidden_state

    return _read(network, layers, run)


def _read(network: SpeechNetwork, layers: Sequence[int | None], run: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
    """Run the network, and keep what the layers gave on the way."""
    kept: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        # Up to transformers 4, and in WavLM, blocks return a tuple.
        return lambda _module, _inputs, output: kept.__setitem__(
            number, output[0] if isinstance(output, tuple) else output
        )

    blocks = network.encoder.layers
    hooks = [blocks[k - 1].register_forward_hook(keep(k)) for k in layers if k]
    hooks.append(blocks[0].register_forward_pre_hook(lambda _module, inputs: kept.__setitem__(0, inputs[0])))
    try:
        final = run()  # (B, T, D)
    finally:
        for hook in hooks:
            hook.remove()
    return [final if k is None else kept[k] for k in layers]
