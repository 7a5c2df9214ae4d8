"""What a head is: a torch module over named features, and the card that says how to build it.

B is items in a batch, T rows of one item, D columns of one input. A *role* names an input by what it tells
about a person (`video`, `audio`, `text`, `openface`, or any other word); which feature set plays it is decided
outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """A network from named features to (B, outputs). It never sees paths, stores or ids.

    Attributes:
        stackable: whether the same module computes several independent copies of itself at once when each
            parameter
            carries a leading axis S: features are then (S, B, D) and the result is (S, B, outputs). Folds and
                seeds of
            such heads train as one batched program (see `fused`); it takes `_layers.Affine` instead of
            `nn.Linear`, and no other layer with parameters.
    """

    stackable: ClassVar[bool] = False

    def dropout_sites(self) -> dict[str, tuple[int, float]]:
        """Return the places where training drops values: name -> (width, probability), in the order of use.

        Their masks are drawn outside, by each run's own generator, and handed to `forward`. A head that says
        nothing here draws from torch's global generator, which the training loop seeds.
        """
        return {}

    @abstractmethod
    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs).

        Args:
            features: role -> (B, D), one vector per item; or (B, T, D), rows, if `masks` has the role.
            masks: role -> (B, T), True where a row is there. What stands in other rows never matters.
            times: role -> (B, T) seconds from the item's start, for heads that use time.
            entities: (B,) int64, equal for items of one entity, for heads that relate items.
            dropout: site -> (B, width), 0 where dropped and 1 / (1 - p) elsewhere. None in training mode: drawn
                here.
        """


@dataclass(frozen=True)
class HeadCard:
    """One head, as found in its file.

    Args:
        name: as used on the command line.
        title: one line for lists.
        config: frozen dataclass of its settings, all with defaults.
        build: (input dims by role, outputs, config) -> untrained head; raises BadInput for what does not fit
            together.
    """

    name: str
    title: str
    config: type
    build: Callable[[Mapping[str, int], int, Any], Head]

    def to_json(self) -> dict[str, Any]:
        """Return name, title and settings with their defaults."""
        return {
            "name": self.name,
            "title": self.title,
            "settings": {field.name: field.default for field in fields(self.config)},
        }
