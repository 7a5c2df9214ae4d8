"""The measures of a CLIP network, and how to read them from the configurations that exist of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

CONTEXT = 77
VOCABULARY = 49_408
_MOST = 1 << 20  # of any measure; published ones stay far below
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}


class UnreadableShape(ValueError):
    """A configuration describes no network of this family, or one that is not supported."""


@dataclass(frozen=True)
class ClipShape:
    """Sizes and style of a CLIP network with a vision transformer; the defaults are those of OpenAI's ViT-B/32.

    Args:
        embed: columns of what pictures and texts are embedded into.
        width, layers, heads: of the blocks that look at pictures. side, patch: of a picture and its patches, pixels.
        text_width, text_layers, text_heads: of the blocks that read texts. context: tokens of a text, at most.
        vocabulary: tokens there are. quick_gelu: whether the activation is OpenAI's approximation of GELU.
        mlp: width inside the feed-forward parts, in widths of the blocks.
    """

    embed: int = 512
    width: int = 768
    layers: int = 12
    heads: int = 12
    side: int = 224
    patch: int = 32
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context: int = CONTEXT
    vocabulary: int = VOCABULARY
    quick_gelu: bool = True
    mlp: int = 4

    def differences(self, other: ClipShape) -> list[str]:
        """Return one line for each measure in which another network differs: `name: expected mine, found theirs`."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: expected {mine}, found {theirs}" for name, mine, theirs in pairs if mine != theirs]


def from_transformers(config: Mapping[str, Any]) -> ClipShape:
    """Read a transformers `config.json` of model type `clip`.

    Raises:
        UnreadableShape: for another model type, or a variant that is not supported.
    """
    kind = config.get("model_type", "clip")
    if kind != "clip":
        raise UnreadableShape(f"it is a {kind!r} model, not a 'clip' one")
    vision, text = _part(config, "vision_config"), _part(config, "text_config")
    acts = {part.get("hidden_act", "quick_gelu") for part in (vision, text)}
    if len(acts) != 1 or not acts <= set(_ACTIVATIONS):
        raise UnreadableShape(f"hidden_act is {', '.join(map(repr, sorted(map(str, acts))))}")
    for part in (vision, text):
        if part.get("layer_norm_eps", 1e-5) != 1e-5:
            raise UnreadableShape(f"layer_norm_eps is {part['layer_norm_eps']!r}")
    width, text_width = _number(vision, "hidden_size", 768), _number(text, "hidden_size", 512)
    inside, text_inside = _number(vision, "intermediate_size", 3072), _number(text, "intermediate_size", 2048)
    if inside % width or inside // width * text_width != text_inside:
        raise UnreadableShape(f"intermediate_size is {inside} and {text_inside} at widths {width} and {text_width}")
    return ClipShape(
        embed=_number(config, "projection_dim", 512),
        width=width,
        layers=_number(vision, "num_hidden_layers", 12),
        heads=_divisor(vision, "num_attention_heads", 12, width),
        side=_number(vision, "image_size", 224),
        patch=_number(vision, "patch_size", 32),
        text_width=text_width,
        text_layers=_number(text, "num_hidden_layers", 12),
        text_heads=_divisor(text, "num_attention_heads", 8, text_width),
        context=_number(text, "max_position_embeddings", CONTEXT),
        vocabulary=_number(text, "vocab_size", VOCABULARY),
        quick_gelu=_ACTIVATIONS[acts.pop()],
        mlp=inside // width,
    )


def from_open_clip(config: Mapping[str, Any]) -> ClipShape:
    """Read the `model_cfg` of an `open_clip_config.json`, or one of open_clip's own model configurations.

    Raises:
        UnreadableShape: for a model that is no plain CLIP with a vision transformer.
    """
    vision, text = _part(config, "vision_cfg"), _part(config, "text_cfg")
    usual_vision = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"}
    usual_text = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
    usual = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
    other = [*(set(config) - usual), *(set(vision) - usual_vision), *(set(text) - usual_text)]
    if other:
        raise UnreadableShape(f"{', '.join(sorted(other))} make it more than a plain CLIP")
    width, text_width = _number(vision, "width", 768), _number(text, "width", 512)
    ratios = {part.get("mlp_ratio", 4) for part in (vision, text)}
    if ratios != {4}:
        raise UnreadableShape(f"mlp_ratio is {ratios}")
    return ClipShape(
        embed=_number(config, "embed_dim", 512),
        width=width,
        layers=_number(vision, "layers", 12),
        heads=width // _number(vision, "head_width", 64),
        side=_number(vision, "image_size", 224),
        patch=_number(vision, "patch_size", 16),
        text_width=text_width,
        text_layers=_number(text, "layers", 12),
        text_heads=_divisor(text, "heads", 8, text_width),
        context=_number(text, "context_length", CONTEXT),
        vocabulary=_number(text, "vocab_size", VOCABULARY),
        quick_gelu=bool(config.get("quick_gelu", False)),
    )


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name, {})
    if not isinstance(part, Mapping):
        raise UnreadableShape(f"{name} is {part!r}")
    return part


def _number(part: Mapping[str, Any], name: str, default: int) -> int:
    value = part.get(name, default)
    if type(value) is not int or not 0 < value <= _MOST:
        raise UnreadableShape(f"{name} is {value!r}")
    return value


def _divisor(part: Mapping[str, Any], name: str, default: int, width: int) -> int:
    value = _number(part, name, default)
    if width % value:
        raise UnreadableShape(f"{name} is {value}, and the width {width}")
    return value
