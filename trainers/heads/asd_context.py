"""Active speakers beside each other: LoCoNet's and Active Speakers in Context's back ends over stored embeddings.

Source: LoCoNet (CVPR 2024) and Active Speakers in Context (CVPR 2020), written independently from a description and
checked against recorded outputs; names of tensors are the originals' behind `back.`. What differs: context speakers
are drawn in training only (see `_asd_scene`), rows that are missing are masked, and encoders are not trained.

Inputs are `audio` and `visual` (or `video`) of every face track of a clip: 128 columns each in LoCoNet, 512 in ASC. An
item is a clip with all its tracks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ...extractors.networks.asc_context import AscContext
from ...extractors.networks.loconet_back import LoCoNetBack
from ...store.errors import BadInput
from . import _asd_grids, _asd_loconet
from ._asd_inputs import Pair, check_losses, common_width, face_role, pair
from ._asd_views import Placed, scenes_of
from ._base import Head, HeadCard, Target

BACKENDS = ("loconet", "asc")


@dataclass(frozen=True)
class AsdContextConfig:
    """Settings of the head; the defaults are the published ones.

    Args:
        backend: `loconet`, which sees the tracks of context speakers along the target's, or `asc`, which sees a grid of
            moments and speakers around one face.
        speakers: in view, the target among them.
        layers: LoCoNet's pairs of speaker convolution and self-attention.
        moments, stride: ASC's grid: so many moments (odd), so many rows of a track apart.
        hidden_size: columns of ASC's attention and LSTM.
        dropout: probability, within LoCoNet's attention layers; 0 <= p < 1.
        losses: `published`: LoCoNet's loss is over all speakers in view, and adds 0.4 times those of sound alone and of
            face alone. `plain`: the run's loss over the targets.
        contrastive: weight of TalkNCE's loss; 0: none. Only with `loconet`.
        contrastive_temperature: what likeness is divided by in it.
        step_rows: so many rows a training step learns from: whole tracks (LoCoNet) or faces (ASC) are drawn from the
            clips of the batch until there are as many; 0: all. More take more memory.
    """

    backend: str = "loconet"
    speakers: int = 3
    layers: int = 3
    moments: int = 11
    stride: int = 4
    hidden_size: int = 128
    dropout: float = 0.1
    losses: str = "published"
    contrastive: float = 0.0
    contrastive_temperature: float = 0.07
    step_rows: int = 2000

    def __post_init__(self) -> None:
        asked = "A head `asd-context` was described."
        if self.backend not in BACKENDS or not 0 <= self.dropout < 1:
            raise BadInput(
                asked,
                f"Found backend={self.backend!r}, dropout={self.dropout}.",
                f"Use one of {', '.join(BACKENDS)}, or --head asd for light-asd and talknet; and 0 <= dropout < 1.",
            )
        sizes = {name: getattr(self, name) for name in ("speakers", "layers", "moments", "stride", "hidden_size")}
        if min(sizes.values()) < 1 or self.moments % 2 == 0 or self.step_rows < 0:
            raise BadInput(
                asked,
                "Found " + ", ".join(f"{k}={v}" for k, v in {**sizes, "step_rows": self.step_rows}.items()) + ".",
                "Sizes are 1 or more, moments are odd, and step_rows is 0 or more.",
            )
        crosses = self.backend == "loconet"
        check_losses("asd-context", self.losses, self.contrastive, self.contrastive_temperature, crosses)


class AsdContext(Head):
    """The back end of `AsdContextConfig`. The result is 0 for rows that have neither sound nor face."""

    takes: ClassVar[str] = "rows"
    scope: ClassVar[str] = "clip"

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: AsdContextConfig) -> None:
        super().__init__()
        self.config, self.outputs = config, outputs
        self.faces = face_role("asd-context", input_dims)
        self.back: LoCoNetBack | AscContext
        if config.backend == "loconet":
            width = common_width("asd-context", input_dims, attends=True)
            single = config.losses == "published"
            self.back = LoCoNetBack(width, outputs, config.dropout, single, config.speakers, config.layers)
        else:
            columns = sum(input_dims.values())
            self.back = AscContext(columns, outputs, config.moments, config.speakers, config.hidden_size)

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, T, outputs); see `Head.forward`.

        Raises:
            BadInput: without rows with times and entities.
        """
        rows, scenes = self._scenes(features, masks, times, entities)
        if isinstance(self.back, LoCoNetBack):
            return _asd_loconet.answers(self.back, rows, scenes, self.config.speakers, self.outputs)
        return _asd_grids.answers(self.back, rows, scenes, self._grid)

    def training_loss(self, arguments: Mapping[str, Any], target: Target) -> Tensor:
        """Return what `AsdContextConfig` says of losses, over rows that it draws; see `Head.training_loss`."""
        config = self.config
        given = (arguments.get(name) for name in ("masks", "times", "entities"))
        rows, scenes = self._scenes(arguments["features"], *given)
        if isinstance(self.back, LoCoNetBack):
            extra = (config.contrastive, config.contrastive_temperature)
            return _asd_loconet.training_loss(
                self.back, rows, scenes, target, config.speakers, config.step_rows, *extra
            )
        return _asd_grids.training_loss(self.back, rows, scenes, target, self._grid, config.step_rows)

    @property
    def _grid(self) -> tuple[int, int, int]:
        return self.config.moments, self.config.stride, self.config.speakers

    def _scenes(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None,
        times: Mapping[str, Tensor] | None,
        entities: Tensor | None,
    ) -> tuple[Pair, list[Placed]]:
        """Return the two inputs of a batch and its scenes."""
        rows = pair("asd-context", self.faces, features, masks, entities)
        return rows, scenes_of(rows, self.faces, times, entities)


CARD = HeadCard(
    name="asd-context",
    title="Active speakers beside each other (LoCoNet, Active Speakers in Context)",
    config=AsdContextConfig,
    build=AsdContext,
)
