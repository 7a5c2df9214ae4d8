"""What both active-speaker heads have in common: their two inputs, row by row, and what is said of wrong ones.

B is items, T rows, D columns of one input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...extractors.networks.talknet_back import ATTENTION_HEADS
from ...store.errors import BadInput

AUDIO, FACES = "audio", ("visual", "video")  # roles; a head has one of `FACES`
LOSSES = ("published", "plain")
AUXILIARY = 0.4  # weight of the losses of sound alone and face alone, published for TalkNet and LoCoNet


@dataclass(frozen=True)
class Pair:
    """Sound and faces of the same rows.

    Args:
        audio, visual: embeddings (B, T, D), 0 where they are missing.
        audio_there, visual_there: (B, T), where they are not missing.
    """

    audio: Tensor
    visual: Tensor
    audio_there: Tensor
    visual_there: Tensor

    @property
    def there(self) -> Tensor:
        """Which rows have a sound or a face, (B, T)."""
        return self.audio_there | self.visual_there


def face_role(head: str, input_dims: Mapping[str, int]) -> str:
    """Return the role of the faces.

    Raises:
        BadInput: unless the inputs are audio and one of `FACES`.
    """
    faces = sorted(input_dims.keys() & set(FACES))
    if len(faces) != 1 or set(input_dims) != {AUDIO, faces[0]}:
        raise BadInput(
            f"A head `{head}` was built.",
            f"Its inputs are {', '.join(sorted(input_dims)) or 'none'}.",
            "It takes two, audio and visual: --input audio=... --input visual=... (also called video).",
        )
    return faces[0]


def common_width(head: str, input_dims: Mapping[str, int], attends: bool) -> int:
    """Return the columns of both inputs.

    Args:
        head: for messages.
        input_dims: of both.
        attends: whether the back end has attention layers, whose heads share the columns.

    Raises:
        BadInput: if they differ, or cannot be shared.
    """
    widths = set(input_dims.values())
    width = max(widths)
    if len(widths) > 1 or (attends and width % ATTENTION_HEADS):
        raise BadInput(
            f"A head `{head}` was built.",
            "Its inputs have " + ", ".join(f"{dim} columns ({role})" for role, dim in sorted(input_dims.items())) + ".",
            "Both must have the same number" + (f", a multiple of {ATTENTION_HEADS}." if attends else "."),
        )
    return width


def pair(
    head: str,
    faces: str,
    features: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None,
    entities: Tensor | None,
) -> Pair:
    """Return the two inputs of a batch.

    Args:
        head: for messages.
        faces: role of the faces.
        features, masks, entities: see `Head.forward`.

    Raises:
        BadInput: if there are no rows with entities.
    """
    if entities is None or features[AUDIO].ndim != 3 or features[faces].ndim != 3:
        raise BadInput(
            f"The head `{head}` was given a batch.",
            "It has no rows with entities.",
            "Use it in tasks of unit `row`: it answers for each row of a face track.",
        )
    inside = entities >= 0
    there = [inside & masks[role] if masks and role in masks else inside for role in (AUDIO, faces)]
    # not a product: what is masked may be nan
    values = [torch.where(t[..., None], features[role], 0.0) for t, role in zip(there, (AUDIO, faces), strict=True)]
    return Pair(*values, *there)


def check_losses(head: str, losses: str, contrastive: float, contrastive_temperature: float, crosses: bool) -> None:
    """Refuse settings of losses that make no sense.

    Args:
        head: for messages.
        losses, contrastive, contrastive_temperature: the settings.
        crosses: whether the back end has cross-attention, whose two results can be contrasted.
    """
    asked = f"A head `{head}` was described."
    if losses not in LOSSES:
        raise BadInput(asked, f"Its losses are {losses!r}.", f"Use one of {', '.join(LOSSES)}.")
    if not (0 <= contrastive < float("inf") and 0 < contrastive_temperature < float("inf")):
        raise BadInput(
            asked,
            f"Found contrastive={contrastive}, contrastive_temperature={contrastive_temperature}.",
            "The weight is 0 or more, the temperature above 0.",
        )
    if contrastive and not crosses:
        raise BadInput(
            asked,
            "A contrastive loss was wanted of a back end without cross-attention: stored embeddings cannot be trained.",
            "Use --set backend=talknet (head asd) or --set backend=loconet (head asd-context).",
        )
