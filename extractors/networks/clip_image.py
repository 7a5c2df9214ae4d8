"""CLIP as a torch module: open_clip's network; this file has what looks at pictures, `clip_text` what reads texts.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021; open_clip (MIT).
What differs: features are as the projection gives them, not brought to length 1, and the part that is not wanted is
left out. Tensors go by OpenAI's names, which are open_clip's too: `visual.…` for pictures, the rest for texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...store.errors import MissingExtra
from ..torchvision_ops import ensure_torchvision
from .clip_shape import ClipShape

VISUAL = "visual."
SCALE = "logit_scale"  # a single number, which weighs similarities in training only

ClipNetwork = Any  # open_clip's CLIP, which can be named only once open_clip is imported


def open_clip() -> Any:
    """Return the package.

    Raises:
        MissingExtra: if it, or torchvision, which it imports, is not installed.
    """
    ensure_torchvision()
    try:
        import open_clip
    except ModuleNotFoundError as error:
        if error.name not in ("open_clip", "torchvision"):
            raise  # it is there, but broken: its own message says how
        name = "open_clip_torch" if error.name == "open_clip" else "torchvision"
        raise MissingExtra("CLIP", "clip", name) from error
    return open_clip


def build(shape: ClipShape, texts: bool = False) -> ClipNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    Args:
        shape: its measures.
        texts: whether it shall read texts, too.

    Raises:
        MissingExtra: if open_clip is not installed.
    """
    model = open_clip().model
    vision = model.CLIPVisionCfg(
        layers=shape.layers,
        width=shape.width,
        head_width=shape.width // shape.heads,
        patch_size=shape.patch,
        image_size=shape.side,
        mlp_ratio=float(shape.mlp),
    )
    text = model.CLIPTextCfg(
        context_length=shape.context,
        vocab_size=shape.vocabulary,
        width=shape.text_width,
        heads=shape.text_heads,
        layers=shape.text_layers,
        mlp_ratio=float(shape.mlp),
    )
    with torch.device("meta"):
        network = model.CLIP(shape.embed, vision, text, quick_gelu=shape.quick_gelu)
    if texts:
        # No weight: what comes later in a text is not seen. (Up to here it has no memory either.)
        later = torch.full((shape.context, shape.context), float("-inf")).triu(1)  # (L, L)
        network.register_buffer("attn_mask", later, persistent=False)
    else:
        drop_texts(network)
    return network.eval().requires_grad_(False)


def drop_texts(network: ClipNetwork) -> None:
    """Take away the part that reads texts."""
    for name, _ in [*network.named_children(), *network.named_parameters(recurse=False)]:
        if name != "visual":
            delattr(network, name)
    network.register_buffer("attn_mask", None, persistent=False)


def shapes(network: ClipNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the network needs, by OpenAI's name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def keep_layers(network: ClipNetwork, count: int) -> None:
    """Drop the blocks above the first `count` of those that look at pictures."""
    network.visual.transformer.resblocks = network.visual.transformer.resblocks[:count]


def install(network: ClipNetwork, tensors: Mapping[str, torch.Tensor], device: str = "cpu") -> None:
    """Give the network its weights: exactly those of `shapes(network)`.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    network.eval().requires_grad_(False).to(device)


def embed(network: ClipNetwork, pixels: torch.Tensor, layers: Sequence[int | None]) -> list[torch.Tensor]:
    """Return what becomes of pictures, from one forward.

    Args:
        network: with weights.
        pixels: (B, 3, S, S) float32, scaled as the model was trained.
        layers: None: the embedding, as the projection gives it; k = 1…: the class token behind block k, as it is.

    Returns:
        One (B, embed) or (B, width) tensor per entry of `layers`.
    """
    kept: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        return lambda _module, _inputs, output: kept.__setitem__(number, output)  # (B, 1 + P, D), or turned

    transformer = network.visual.transformer
    hooks = [transformer.resblocks[k - 1].register_forward_hook(keep(k)) for k in layers if k is not None]
    try:
        embedding = network.visual(pixels)  # (B, embed)
    finally:
        for hook in hooks:
            hook.remove()
    # Old versions of open_clip have the tokens on the first axis inside.
    turned = not getattr(transformer, "batch_first", False)
    return [embedding if k is None else (kept[k][0] if turned else kept[k][:, 0]) for k in layers]
