"""What a SEMPI fusion checkpoint holds: the tensors of its backbones and of its head.

Source: SEMPI engagement baseline (ICMI 2024): a bare state dict of the whole model, with a prefix for each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .checkpoint import MAX_DIFFERENCES, read_file
from .errors import WeightsError

HEAD_PREFIXES = ("extra_mlp.", "out.")
UNUSED_PREFIXES = ("audio_enc.interpreter.",)  # a head that the original makes and never calls


@dataclass(frozen=True)
class Part:
    """A backbone inside the checkpoint.

    prefix: of its tensors. family: whose cards are tried. settings: with which the head's features are extracted.
    """

    prefix: str
    family: str
    settings: Mapping[str, Any]


PARTS = {
    "video": Part("video_enc.", "i3d", {"slots": 16, "slot_rule": "sempi"}),
    "audio": Part("audio_enc.encoder.", "hubert", {"pooling": "mean", "keep_last_s": 10.0}),
    "text": Part("text_enc.", "roberta", {"pooling": "mean", "text": "sempi"}),
}


class Fusion(NamedTuple):
    """parts: by role, tensors by their own names. head: tensors by the original's names. unused: names."""

    parts: dict[str, dict[str, Any]]
    head: dict[str, Any]
    unused: list[str]


def read_fusion(source: Path) -> Fusion:
    """Read a fusion checkpoint.

    Raises:
        WeightsError: if it is unsafe, damaged, or lacks a part, or has tensors of no part; with the difference.
    """
    import torch

    content = read_file(source)
    asked = f"`{source.name}` was to be imported as sempi."
    if not isinstance(content, Mapping):
        found = f"It holds a {type(content).__name__}, not tensors by name."
        raise WeightsError(asked, found, "Give the file that the original program saved.")
    parts: dict[str, dict[str, Any]] = {role: {} for role in PARTS}
    head: dict[str, Any] = {}
    unused, wrong = [], []
    for name, tensor in content.items():
        role = next((role for role, part in PARTS.items() if str(name).startswith(part.prefix)), None)
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            wrong.append(f"not wanted: {str(name)[:80]}, a {type(tensor).__name__}")
        elif role is not None:
            parts[role][name.removeprefix(PARTS[role].prefix)] = tensor
        elif name.startswith(HEAD_PREFIXES):
            head[name] = tensor
        elif name.startswith(UNUSED_PREFIXES):
            unused.append(name)
        else:
            wrong.append(f"not wanted: {name} {tuple(tensor.shape)}")
    absent = [f"missing: {PARTS[role].prefix}*" for role, tensors in parts.items() if not tensors]
    wrong = absent + ([] if head else ["missing: out.*"]) + wrong
    if wrong:
        more = [f"and {len(wrong) - MAX_DIFFERENCES} more"] if len(wrong) > MAX_DIFFERENCES else []
        raise WeightsError(
            asked,
            "It is no SEMPI fusion checkpoint:\n  " + "\n  ".join(wrong[:MAX_DIFFERENCES] + more) + "\n",
            "Give the file that the original program saved, or name the network with --as.",
        )
    return Fusion(parts, head, unused)
