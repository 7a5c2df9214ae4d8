"""What the tensors of CLIP are called: by OpenAI (and open_clip), and by transformers; both ways.

They are not only called otherwise: transformers keeps queries, keys and values apart, and projections the other way
round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_PLAIN = (  # OpenAI, transformers
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    ("visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"),
    ("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"),
    ("visual.ln_post.weight", "vision_model.post_layernorm.weight"),
    ("visual.ln_post.bias", "vision_model.post_layernorm.bias"),
    ("visual.proj", "visual_projection.weight"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("ln_final.weight", "text_model.final_layer_norm.weight"),
    ("ln_final.bias", "text_model.final_layer_norm.bias"),
    ("text_projection", "text_projection.weight"),
    ("logit_scale", "logit_scale"),
)
_TURNED = ("visual.proj", "text_projection")
_BLOCKS = (("visual.transformer.resblocks.", "vision_model"), ("transformer.resblocks.", "text_model"))
_INSIDE = (
    ("attn.out_proj.", "self_attn.out_proj."),
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
)
_JOINED = ("q_proj", "k_proj", "v_proj")  # as in_proj, one above the other


def transformers_names(name: str) -> list[str]:
    """Return what transformers calls a tensor: one name, or three where it keeps it in parts.

    Example:
        >>> transformers_names("visual.transformer.resblocks.2.ln_1.bias")
        ['vision_model.encoder.layers.2.layer_norm1.bias']
        >>> transformers_names("transformer.resblocks.0.attn.in_proj_bias")[0]
        'text_model.encoder.layers.0.self_attn.q_proj.bias'
    """
    for ours, theirs in _PLAIN:
        if name == ours:
            return [theirs]
    for start, model in _BLOCKS:
        found = re.fullmatch(re.escape(start) + r"(\d+)\.(.+)", name)
        if found is None:
            continue
        block, inside = f"{model}.encoder.layers.{found[1]}", found[2]
        joined = re.fullmatch(r"attn\.in_proj_(weight|bias)", inside)
        if joined is not None:
            return [f"{block}.self_attn.{part}.{joined[1]}" for part in _JOINED]
        for ours, theirs in _INSIDE:
            if inside.startswith(ours):
                return [f"{block}.{theirs}{inside.removeprefix(ours)}"]
    return [name]


def is_transformers(names: Iterable[str]) -> bool:
    """Tell whether these are transformers' names."""
    return any(name.startswith(("vision_model.", "text_model.")) for name in names)


def to_transformers(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors under transformers' names, from those under OpenAI's."""
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        theirs = transformers_names(name)
        parts = tensor.chunk(len(theirs)) if len(theirs) > 1 else [tensor.T if name in _TURNED else tensor]
        found.update(zip(theirs, parts, strict=True))
    return found


def from_transformers(tensors: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """Return tensors under OpenAI's names, from those under transformers'.

    Args:
        tensors: as they are in the file.
        wanted: OpenAI's names of what the network needs. What is missing stays missing; what is not asked for keeps its
            name.
    """
    import torch

    left = dict(tensors)
    found: dict[str, Any] = {}
    for name in wanted:
        theirs = transformers_names(name)
        if not all(part in left for part in theirs):
            continue
        parts = [left.pop(part) for part in theirs]
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        found[name] = whole.T.contiguous() if name in _TURNED and whole.ndim == 2 else whole
    return {**left, **found}
