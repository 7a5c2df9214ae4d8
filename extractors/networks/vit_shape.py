"""The measures of a vision transformer, and how to read them from a transformers configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu")
_MOST = 65_536  # of any measure; published ones stay far below


class UnreadableShape(ValueError):
    """A configuration describes no network of this family, or one that is not supported."""


@dataclass(frozen=True)
class VitShape:
    """Sizes and style of a vision transformer; the defaults are those of ViT-B/16 at 224 pixels.

    Args:
        dim: width of the blocks, D. layers: blocks. heads: of attention. ffn: width inside the feed-forward parts.
        side: of the square picture, pixels. patch: side of a patch, pixels.
        norm_eps: of the layer norms. activation: in the feed-forward parts, by transformers' name.
        qkv_bias: whether queries, keys and values have biases.
    """

    dim: int = 768
    layers: int = 12
    heads: int = 12
    ffn: int = 3072
    side: int = 224
    patch: int = 16
    norm_eps: float = 1e-12
    activation: str = "gelu"
    qkv_bias: bool = True

    @property
    def patches(self) -> int:
        """Number of patches of a picture."""
        return (self.side // self.patch) ** 2

    def differences(self, other: VitShape) -> list[str]:
        """Return one line for each measure in which another network differs: `name: expected mine, found theirs`."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: expected {mine}, found {theirs}" for name, mine, theirs in pairs if mine != theirs]


_NAMES = {
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "side": "image_size",
    "patch": "patch_size",
    "norm_eps": "layer_norm_eps",
    "activation": "hidden_act",
    "qkv_bias": "qkv_bias",
}


def from_transformers(config: Mapping[str, Any]) -> VitShape:
    """Read a transformers `config.json` of model type `vit`.

    Raises:
        UnreadableShape: for another model type, or a variant that is not supported.

    Example:
        >>> from_transformers({"model_type": "vit", "hidden_size": 192, "num_attention_heads": 3}).dim
        192
    """
    kind = config.get("model_type", "vit")
    if kind != "vit":
        raise UnreadableShape(f"it is a {kind!r} model, not a 'vit' one")
    if config.get("num_channels", 3) != 3:
        raise UnreadableShape(f"it wants pictures of {config['num_channels']!r} channels, not 3")
    defaults = VitShape()
    found: dict[str, Any] = {}
    for ours, theirs in _NAMES.items():
        value = config.get(theirs, getattr(defaults, ours))
        kind_wanted = type(getattr(defaults, ours))
        if kind_wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not kind_wanted or (kind_wanted is int and not 0 < value <= _MOST):
            raise UnreadableShape(f"{theirs} is {value!r}")
        found[ours] = value
    shape = VitShape(**found)
    if shape.activation not in ACTIVATIONS:
        raise UnreadableShape(f"hidden_act is {shape.activation!r}, not one of {', '.join(ACTIVATIONS)}")
    if shape.dim % shape.heads or shape.side < shape.patch or not 0 < shape.norm_eps < 1:
        raise UnreadableShape(f"its measures do not go together: {shape}")
    return shape
