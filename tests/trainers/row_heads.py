"""Small heads that take rows, for tests of everything around heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cuebank.trainers.heads._base import Head, HeadCard


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class EachRow(Head):
    """A linear layer over all inputs of a row, masked ones as zeros: (B, T, outputs)."""

    takes: ClassVar[str] = "rows"

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: Nothing) -> None:
        super().__init__()
        self.layer = nn.Linear(sum(input_dims.values()), outputs)
        self.seen: list[dict[str, Any]] = []

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, T, outputs)."""
        self.seen.append({"features": features, "masks": masks, "times": times, "entities": entities})
        found: Tensor = self.layer(torch.cat(list(features.values()), -1))
        return found


class Scene(EachRow):
    """The same over all entities of a clip, plus the mean over the rows of the same moment."""

    scope: ClassVar[str] = "clip"

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, T, outputs)."""
        each = super().forward(features, masks, times, entities)
        assert times is not None
        assert entities is not None
        moments = next(iter(times.values()))
        together = (moments.unsqueeze(1) == moments.unsqueeze(2)) & (entities >= 0).unsqueeze(1)
        weights = together.to(each.dtype)
        return each + 0.1 * (weights @ each) / weights.sum(-1, keepdim=True).clamp_min(1)


class Pooled(Head):
    """A linear layer over the mean of each input's valid rows, zeros without any: (B, outputs)."""

    takes: ClassVar[str] = "rows"

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: Nothing) -> None:
        super().__init__()
        self.layer = nn.Linear(sum(input_dims.values()), outputs)

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs)."""
        assert masks is not None
        means = [
            torch.where(masks[role][..., None], x, 0.0).sum(1) / masks[role].sum(1, keepdim=True).clamp_min(1)
            for role, x in features.items()
        ]
        found: Tensor = self.layer(torch.cat(means, -1))
        return found


CARDS = {
    name: HeadCard(name, "A head of the tests", Nothing, build)
    for name, build in (("each-row", EachRow), ("scene", Scene), ("pooled", Pooled))
}
