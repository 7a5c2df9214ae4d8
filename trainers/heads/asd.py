"""Active speakers, track by track: Light-ASD's and TalkNet's back ends over stored embeddings of sound and face.

Source: Light-ASD (CVPR 2023) and TalkNet (ACM MM 2021), written independently from a description and checked against
recorded outputs; names of tensors are the originals' behind `back.`. What differs: rows that are missing are masked,
and encoders are not trained.

Inputs are `audio` and `visual` (or `video`), 128 columns each in the originals. For context speakers see `asd_context`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...extractors.networks.light_asd_back import LightAsdBack
from ...extractors.networks.talknet_back import TalkNetBack
from ...store.errors import BadInput
from ._asd_inputs import AUXILIARY, check_losses, common_width, face_role, pair
from ._asd_losses import contrastive_loss, loss_of_some, speaking, temperature
from ._base import Head, HeadCard, Target

BACKENDS = ("light-asd", "talknet")


@dataclass(frozen=True)
class AsdConfig:
    """Settings of the head.

    Args:
        backend: `light-asd`, two GRUs, or `talknet`, cross-attention and self-attention.
        dropout: probability, within TalkNet's attention layers; 0 <= p < 1.
        losses: `published`: Light-ASD's loss divides logits by 1.3, by 0.02 less in each further epoch (its second
            loss, of faces alone, trains nothing that the result depends on when embeddings are stored); TalkNet's adds
            0.4 times those of sound alone and of face alone. `plain`: the run's loss.
        contrastive: weight of TalkNCE's loss; 0: none. Only with `talknet`.
        contrastive_temperature: what likeness is divided by in it.
    """

    backend: str = "light-asd"
    dropout: float = 0.1
    losses: str = "published"
    contrastive: float = 0.0
    contrastive_temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS or not 0 <= self.dropout < 1:
            raise BadInput(
                "A head `asd` was described.",
                f"Found backend={self.backend!r}, dropout={self.dropout}.",
                f"Use one of {', '.join(BACKENDS)}, or --head asd-context for loconet and asc; and 0 <= dropout < 1.",
            )
        check_losses(
            "asd", self.losses, self.contrastive, self.contrastive_temperature, crosses=self.backend == "talknet"
        )


class Asd(Head):
    """The back end of `AsdConfig`. The result is 0 for rows that have neither sound nor face."""

    takes: ClassVar[str] = "rows"

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: AsdConfig) -> None:
        super().__init__()
        self.config, self.outputs = config, outputs
        self.faces = face_role("asd", input_dims)
        width = common_width("asd", input_dims, attends=config.backend == "talknet")
        self.back: LightAsdBack | TalkNetBack
        if config.backend == "light-asd":
            self.back = LightAsdBack(width, outputs, visual_classifier=False)
        else:
            self.back = TalkNetBack(width, outputs, config.dropout, single_classifiers=config.losses == "published")

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, T, outputs); see `Head.forward`. Rows count by their order; times have no effect.

        Raises:
            BadInput: without rows with entities.
        """
        rows = pair("asd", self.faces, features, masks, entities)
        if isinstance(self.back, LightAsdBack):
            logits = self.back(rows.audio, rows.visual, rows.there)
        else:
            logits = self.back(rows.audio, rows.visual, rows.audio_there, rows.visual_there)
        return torch.where(rows.there[..., None], logits, 0.0)

    def training_loss(self, arguments: Mapping[str, Any], target: Target) -> Tensor:
        """Return the run's loss with what `AsdConfig.losses` and `contrastive` say; see `Head.training_loss`."""
        config, back = self.config, self.back
        if isinstance(back, LightAsdBack):
            logits = self(**arguments)
            warm = config.losses == "published" and self.outputs > 1  # a single output is no logit of a softmax
            return target.loss(logits / temperature(target.epoch) if warm else logits)
        rows = pair("asd", self.faces, arguments["features"], arguments.get("masks"), arguments.get("entities"))
        audio, visual = back.cross(rows.audio, rows.visual, rows.audio_there, rows.visual_there)
        fused = back.fuse(audio, visual, rows.there)
        total = target.loss(torch.where(rows.there[..., None], back.lossAV["FC"](fused), 0.0))
        labels, counts = target.rows()
        if back.lossA is not None and back.lossV is not None:
            for classifier, seen, there in (
                (back.lossA, audio, rows.audio_there),
                (back.lossV, visual, rows.visual_there),
            ):
                chosen = counts & there
                total = total + AUXILIARY * loss_of_some(target, classifier["FC"](seen[chosen]), labels[chosen])
        if config.contrastive:
            chosen = speaking(labels, counts) & rows.audio_there & rows.visual_there
            sounds, faces = (
                [track[mask] for track, mask in zip(part, chosen, strict=True)] for part in (audio, visual)
            )
            total = total + config.contrastive * contrastive_loss(sounds, faces, config.contrastive_temperature)
        return total


CARD = HeadCard(
    name="asd",
    title="Active speakers, track by track (Light-ASD, TalkNet)",
    config=AsdConfig,
    build=Asd,
)
