"""Vision transformers as a torch module: transformers' network, with a way to read several layers from one forward.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021; transformers (Apache-2.0). What differs: there is no
pooler (the features are the class token or the patches), and blocks above the highest layer wanted are left out.

Tensors go by the names in published files (`encoder.layer.0.attention.attention.query.weight` ...), whatever the
installed version of transformers calls them inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...store.errors import MissingExtra
from ..torchvision_ops import ensure_torchvision
from .vit_shape import VitShape

ATTENTION = "sdpa"

VitNetwork = Any  # transformers' ViTModel, which can be named only once transformers is imported

# transformers 5 renamed the blocks and what is inside; files kept their names.
_INSIDE = (
    ("attention.q_proj.", "attention.attention.query."),
    ("attention.k_proj.", "attention.attention.key."),
    ("attention.v_proj.", "attention.attention.value."),
    ("attention.o_proj.", "attention.output.dense."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
)


def published_name(name: str) -> str:
    """Return the name in published files of a tensor of the network, as any version of transformers calls it.

    Example:
        >>> published_name("layers.3.attention.o_proj.bias")
        'encoder.layer.3.attention.output.dense.bias'
        >>> published_name("encoder.layer.3.attention.output.dense.bias")
        'encoder.layer.3.attention.output.dense.bias'
    """
    block = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
    if block is None:
        return name
    inside = block[2]
    for theirs, published in _INSIDE:
        if inside.startswith(theirs):
            inside = published + inside.removeprefix(theirs)
    return f"encoder.layer.{block[1]}.{inside}"


def build(shape: VitShape) -> VitNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    Raises:
        MissingExtra: if transformers is not installed.
    """
    ensure_torchvision()
    try:
        from transformers import ViTConfig, ViTModel
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra("ViT", "hf", "transformers") from error
    config = ViTConfig(
        hidden_size=shape.dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        image_size=shape.side,
        patch_size=shape.patch,
        layer_norm_eps=shape.norm_eps,
        hidden_act=shape.activation,
        qkv_bias=shape.qkv_bias,
        attn_implementation=ATTENTION,
    )
    with torch.device("meta"):
        network = ViTModel(config, add_pooling_layer=False)
    return network.eval().requires_grad_(False)


def shapes(network: VitNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the network needs, by published name."""
    return {published_name(name): tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def keep_layers(network: VitNetwork, count: int) -> None:
    """Drop the blocks above the first `count`."""
    if hasattr(network, "layers"):
        network.layers = network.layers[:count]
    else:  # up to transformers 5.0
        network.encoder.layer = network.encoder.layer[:count]


def install(network: VitNetwork, tensors: Mapping[str, torch.Tensor], device: str = "cpu") -> None:
    """Give the network its weights: exactly those of `shapes(network)`.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    names = {published_name(name): name for name in network.state_dict()}
    network.load_state_dict({names.get(name, name): t for name, t in tensors.items()}, strict=True, assign=True)
    network.eval().requires_grad_(False).to(device)


def tokens(network: VitNetwork, pixels: torch.Tensor, layers: Sequence[int | None]) -> list[torch.Tensor]:
    """Return the tokens of several layers from one forward.

    Args:
        network: with weights.
        pixels: (B, 3, S, S) float32, scaled as the model was trained.
        layers: k = 1…: output of block k as it is; None: the model's own output, behind the final layer norm.

    Returns:
        One (B, 1 + P, D) tensor per entry of `layers`: the class token, then the patches row by row.
    """
    kept: dict[int, Any] = {}

    def keep(number: int) -> Any:
        # Up to transformers 4, blocks return a tuple.
        return lambda _module, _inputs, output: kept.__setitem__(
            number, output[0] if isinstance(output, tuple) else output
        )

    blocks = network.layers if hasattr(network, "layers") else network.encoder.layer
    hooks = [blocks[k - 1].register_forward_hook(keep(k)) for k in layers if k is not None]
    try:
        final = network(pixels).last_hidden_state  # (B, 1 + P, D)
    finally:
        for hook in hooks:
            hook.remove()
    return [final if k is None else kept[k] for k in layers]
