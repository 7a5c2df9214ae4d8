"""Plain multi-layer perceptron over any mix of feature sets: a projection of each, then hidden layers.

Rows are averaged over the valid ones. Unlike `mlp`, which is SEMPI's head with its special cases, all inputs are
treated alike, and the number of layers is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...store.errors import BadInput
from ._base import Head, HeadCard
from ._inputs import ordered, pooled
from ._layers import Affine, drop

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class PlainMlpConfig:
    """Settings of the head.

    Args:
        projection_dim: width that each input is projected to, with an activation behind; None concatenates the
            inputs as they are.
        hidden_size: width of the hidden layers.
        layers: how many hidden layers, 0 or more.
        activation: `relu`, `gelu` or `tanh`.
        dropout: probability, behind each hidden layer; 0 <= p < 1.
        order: order of concatenation; default: video, audio, text, openface, then others by name.

    Raises:
        BadInput: for an unknown activation, and for numbers out of range.
    """

    projection_dim: int | None = 32
    hidden_size: int = 64
    layers: int = 1
    activation: str = "relu"
    dropout: float = 0.1
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        asked = "A head `plain-mlp` was described."
        if self.activation not in ACTIVATIONS:
            raise BadInput(asked, f"Its activation is {self.activation!r}.", f"Use one of {', '.join(ACTIVATIONS)}.")
        sizes = (self.hidden_size, 1 if self.projection_dim is None else self.projection_dim)
        if not (min(sizes) >= 1 and self.layers >= 0 and 0 <= self.dropout < 1):
            raise BadInput(
                asked,
                f"Found projection_dim={self.projection_dim}, hidden_size={self.hidden_size}, layers={self.layers}, "
                f"dropout={self.dropout}.",
                "Widths are 1 or more, layers 0 or more, and 0 <= dropout < 1.",
            )


class PlainMlp(Head):
    """The network of `PlainMlpConfig`."""

    stackable: ClassVar[bool] = True

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: PlainMlpConfig) -> None:
        super().__init__()
        self.config = config
        self.roles = ordered("plain-mlp", input_dims, config.order)
        self.activation = ACTIVATIONS[config.activation]
        width = sum(input_dims.values())
        self.project = nn.ModuleList()
        if config.projection_dim is not None:
            self.project.extend(Affine(input_dims[role], config.projection_dim) for role in self.roles)
            width = len(self.roles) * config.projection_dim
        widths = [width, *[config.hidden_size] * config.layers]
        self.hidden = nn.ModuleList(Affine(a, b) for a, b in pairwise(widths))
        self.out = Affine(widths[-1], outputs)

    def dropout_sites(self) -> dict[str, tuple[int, float]]:
        """Return the hidden layers."""
        config = self.config
        return {f"hidden{i}": (config.hidden_size, config.dropout) for i in range(config.layers) if config.dropout}

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); see `Head.forward`. Rows are averaged under their mask; times have no effect."""
        drawn = dropout or {}
        parts = [pooled(role, features, masks) for role in self.roles]
        if len(self.project):
            parts = [self.activation(layer(x)) for layer, x in zip(self.project, parts, strict=True)]
        for i, layer in enumerate(self.hidden):
            hidden = self.activation(layer(*parts))  # (B, hidden)
            parts = [drop(hidden, drawn.get(f"hidden{i}"), self.config.dropout, self.training)]
        result: Tensor = self.out(*parts)  # (B, outputs)
        return result


CARD = HeadCard(
    name="plain-mlp",
    title="Plain multi-layer perceptron: each input projected, then hidden layers",
    config=PlainMlpConfig,
    build=PlainMlp,
)
