"""Social-MAE's fine-tuning head on stored embeddings: layer norm, then a linear layer.

Source: Social-MAE (FG 2024, BSD-2-Clause), written from a description and checked against recorded outputs. The input
is the mean over the tokens of the normalised path, 768 columns, in any of its modes (audio and video, audio only, video
only); the same head serves emotion and laughter (classes) and personality (regression). State-dict names are the
original's (`mlp_head.0.*` the norm, `mlp_head.1.*` the linear layer). What differs: several inputs are concatenated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...store.errors import BadInput
from ._base import Head, HeadCard
from ._inputs import ordered, pooled
from ._layers import Affine, drop


@dataclass(frozen=True)
class SocialMaeHeadConfig:
    """Settings of the head; the original has none.

    Args:
        dropout: probability, between the norm and the linear layer; 0 <= p < 1.
        order: order of concatenation of several inputs; default: video, audio, text, openface, then others by name.

    Raises:
        BadInput: for a probability out of range.
    """

    dropout: float = 0.0
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise BadInput(
                "A head `social-mae-head` was described.", f"Its dropout is {self.dropout}.", "Use 0 <= dropout < 1."
            )


class Norm(nn.LayerNorm):
    """Layer norm that also computes a stack: its parameters are (D,), or (S, D) for inputs (S, B, D)."""

    def forward(self, values: Tensor) -> Tensor:
        """Return values normalised over their last axis."""
        if self.weight.ndim == 1:
            return super().forward(values)
        normalised = functional.layer_norm(values, self.normalized_shape, eps=self.eps)
        return normalised * self.weight.unsqueeze(1) + self.bias.unsqueeze(1)


class SocialMaeHead(Head):
    """The network of `SocialMaeHeadConfig`; the linear layer starts Xavier uniform, its bias 0, as the original's."""

    stackable: ClassVar[bool] = True

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: SocialMaeHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.roles = ordered("social-mae-head", input_dims, config.order)
        self.width = sum(input_dims.values())
        linear = Affine(self.width, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        self.mlp_head = nn.Sequential(Norm(self.width), linear)

    def dropout_sites(self) -> dict[str, tuple[int, float]]:
        """Return what enters the linear layer, if values are dropped there."""
        return {"normalised": (self.width, self.config.dropout)} if self.config.dropout else {}

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); see `Head.forward`. Rows are averaged under their mask; times have no effect."""
        parts = [pooled(role, features, masks) for role in self.roles]
        normalised = self.mlp_head[0](parts[0] if len(parts) == 1 else torch.cat(parts, -1))  # (B, D)
        kept = drop(normalised, (dropout or {}).get("normalised"), self.config.dropout, self.training)
        result: Tensor = self.mlp_head[1](kept)  # (B, outputs)
        return result


CARD = HeadCard(
    name="social-mae-head",
    title="Layer norm and linear layer on Social-MAE's mean token (emotion, personality, laughter)",
    config=SocialMaeHeadConfig,
    build=SocialMaeHead,
)
