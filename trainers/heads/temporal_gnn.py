"""Graph network over the rows of a scene, linked by nearness in time: SPELL's and KEMDy20's.

Source: SPELL (ECCV 2022, active speakers) and the temporal-graph emotion recognition of KEMDy20, written independently
from a description and checked against recorded outputs; original checkpoints load (see `_graph_net`). What differs:
graphs are built from times and entities when they are needed; boxes are an input of their own instead of columns behind
the features; the result is logits. The published KEMDy20 system applied the softmax twice (`double_softmax`).

KEMDy20: one input of 1536 columns (skin conductance, temperature, speech), `splits=3`, 7 outputs. SPELL: inputs
`visual` and `audio` of 512 and `boxes` of 4 (centre x, centre y, width, height), `time_edge_s=0.9`, 1 output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...store.errors import BadInput
from ..graphs import GraphConfig, graph_of
from ._base import Head, HeadCard
from ._graph_batch import joined
from ._graph_layers import Layers, reference_layers
from ._graph_net import GraphNet, Rows

ROLES = ("visual", "video", "audio", "text")  # order of the projections; other roles follow, by name


@dataclass(frozen=True)
class TemporalGnnConfig:
    """Settings of the head; the defaults are those of the published KEMDy20 command.

    Args:
        time_edge_s: rows at most this many seconds apart are linked; SPELL: 0.9.
        cross_identity: also those of different entities (simultaneous ones always are).
        block_rows: rows of one graph; rows of different blocks are never linked.
        hidden_size: columns of the projections and the first layers.
        second_size: columns of the second layer.
        splits: cut each input into this many equal slices with projections of their own; KEMDy20: 3.
        boxes_with: the input beside which `boxes` are seen; none: they are an input like any other.
        order: order of the projections; default: visual, video, audio, text, then others by name.
        dropout: probability, after the first and second layers; 0 <= p < 1.
        edge_dropout: probability with which an edge is left out of a first layer; 0 <= p < 1.
        edge_dropout_always: leave out edges in evaluation too, which is then no longer repeatable.
        shared_layers: one second layer and batch norm for the three branches, as published.
        double_softmax: return probabilities, of which a loss then takes the softmax once more, as published for
            KEMDy20.
        reference: compute with PyTorch Geometric's own layers: slower, equal within rounding.
    """

    time_edge_s: float = 7.2
    cross_identity: bool = False
    block_rows: int = 2000
    hidden_size: int = 64
    second_size: int = 16
    splits: int = 1
    boxes_with: str | None = "visual"
    order: tuple[str, ...] | None = None
    dropout: float = 0.2
    edge_dropout: float = 0.0
    edge_dropout_always: bool = False
    shared_layers: bool = True
    double_softmax: bool = False
    reference: bool = False

    def __post_init__(self) -> None:
        if not (
            min(self.hidden_size, self.second_size, self.splits) >= 1
            and 0 <= self.dropout < 1
            and 0 <= self.edge_dropout < 1
        ):
            raise BadInput(
                "A head `temporal-gnn` was described.",
                f"Found hidden_size={self.hidden_size}, second_size={self.second_size}, splits={self.splits}, "
                f"dropout={self.dropout}, edge_dropout={self.edge_dropout}.",
                "Sizes and splits are 1 or more, and probabilities are at least 0 and less than 1.",
            )
        self.graphs()

    def graphs(self) -> GraphConfig:
        """Return how rows are linked."""
        return GraphConfig(self.time_edge_s, self.cross_identity, self.block_rows)


class TemporalGnn(GraphNet, Head):
    """The network of `TemporalGnnConfig`.

    It takes the rows of all entities of a clip, sorted by time, and links them by their times and entities. A row that
    no role has is no node: it has no neighbours and its result is 0.
    """

    takes: ClassVar[str] = "rows"
    scope: ClassVar[str] = "clip"

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: TemporalGnnConfig) -> None:
        roles = _roles(input_dims, config)
        if config.double_softmax and outputs == 1:
            raise BadInput(
                "A head `temporal-gnn` with `double_softmax` was built.",
                "It has one output, of which there is no softmax.",
                "Leave it out: the published loss of one output is that of these logits.",
            )
        super().__init__(
            {role: input_dims[role] for role in roles},
            config.splits,
            config.boxes_with if "boxes" in input_dims else None,
            (config.hidden_size, config.second_size, outputs),
            config.shared_layers,
            config.dropout,
            config.edge_dropout,
            config.edge_dropout_always,
            reference_layers() if config.reference else Layers(),
        )
        self.config = config
        self.roles = roles
        self.outputs = outputs

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, T, outputs), 0 where no role has a row; see `Head.forward`.

        Raises:
            BadInput: without times and entities, for times that are not float64 or fall, and in training for a batch
                of fewer than two rows.
        """
        if times is None or entities is None or any(features[role].ndim != 3 for role in self.roles):
            raise BadInput(
                "The head `temporal-gnn` was given a batch.",
                "It has no rows with times and entities.",
                "Use it in tasks of unit `row`: it links the rows of a clip.",
            )
        there = {role: masks[role] if masks and role in masks else entities >= 0 for role in self.roles}  # (B, T) each
        nodes = torch.stack(list(there.values())).any(0)  # (B, T)
        counts = nodes.sum(1).tolist()
        result = features[self.roles[0]].new_zeros(*nodes.shape, self.outputs)  # (B, T, outputs)
        if self.training and sum(counts) < 2:
            raise BadInput(
                "The head `temporal-gnn` was given a batch to train on.",
                f"It has {sum(counts)} valid rows, and batch norm needs at least two.",
                "Use larger batches, or leave out clips without valid rows.",
            )
        if not any(counts):
            return result
        graphs = [
            graph
            for seconds, who in zip(
                _times(there, times)[nodes].cpu().split(counts), entities[nodes].cpu().split(counts), strict=True
            )
            for graph in graph_of(seconds.numpy(), who.numpy(), self.config.graphs())
        ]
        rows = {role: _rows(features[role], there[role], nodes) for role in self.roles}
        answers = self.answers(rows, joined(graphs, result.device))  # (n, outputs)
        if self.config.double_softmax:
            answers = answers.softmax(-1)
        if sum(counts) == nodes.numel():
            return answers.view_as(result)
        return result.masked_scatter(nodes[..., None], answers)


def _times(there: Mapping[str, Tensor], times: Mapping[str, Tensor]) -> Tensor:
    """Return the time of each row (B, T), from a role that has it."""
    first, *others = there
    result = times[first]
    for role in others:
        result = torch.where(there[role], times[role], result)
    return result


def _rows(values: Tensor, there: Tensor, nodes: Tensor) -> Rows:
    """Return the rows of one role that are there, without copying where they are the first ones of their item."""
    counts = there.sum(1).tolist()
    every = bool((there == nodes).all())
    places = None if every else there[nodes].nonzero().squeeze(1)
    if sum(counts) == there.numel():
        return [values.flatten(0, 1)], places
    first = there == (torch.arange(there.shape[1], device=there.device) < there.sum(1, keepdim=True))
    pieces = [
        row[:count] if leading else row[mask]
        for row, mask, count, leading in zip(values, there, counts, first.all(1).tolist(), strict=True)
    ]
    return pieces, places


def _roles(input_dims: Mapping[str, int], config: TemporalGnnConfig) -> tuple[str, ...]:
    """Return the roles in the order of their projections."""
    usual = (*(role for role in ROLES if role in input_dims), *sorted(input_dims.keys() - set(ROLES)))
    roles = usual if config.order is None else config.order
    if sorted(roles) != sorted(usual) or not roles:
        raise BadInput(
            "A head `temporal-gnn` was built.",
            f"Its inputs are {', '.join(usual) or 'none'}, and its order is {', '.join(roles) or 'empty'}.",
            "The order names each input once.",
        )
    others = [role for role in roles if role != "boxes"]
    if "boxes" in roles and config.boxes_with is not None and (config.boxes_with not in others or config.splits != 1):
        raise BadInput(
            "A head `temporal-gnn` was built with an input `boxes`.",
            f"They were to be seen beside `{config.boxes_with}`; there are {', '.join(others) or 'none'}, cut by "
            f"splits={config.splits}.",
            "Use splits=1 and name another input with --set boxes_with=...; none: boxes are an input like any other.",
        )
    uneven = [role for role in roles if input_dims[role] % config.splits]
    if uneven:
        raise BadInput(
            "A head `temporal-gnn` was built.",
            f"Its input `{uneven[0]}` has {input_dims[uneven[0]]} columns, which are not {config.splits} equal slices.",
            "Use --set splits=1.",
        )
    return roles


CARD = HeadCard(
    name="temporal-gnn",
    title="Graph network over rows near in time (SPELL, KEMDy20)",
    config=TemporalGnnConfig,
    build=TemporalGnn,
)
