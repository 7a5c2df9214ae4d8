"""The graphs of a batch as one in torch, and its three branches.

n is rows (nodes) of all graphs together, E edges. Graphs stand one after another and have no edges between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..graphs import Graph

# Which neighbours a row listens to, by their part: earlier 0, simultaneous 1, later 2. The names are SPELL's, for the
# direction in which it draws its edges.
FORWARD, BACKWARD, UNDIRECTED = (1, 2), (0, 1), (0, 2)
BRANCHES = (FORWARD, BACKWARD, UNDIRECTED)


@dataclass(frozen=True)
class Neighbours:
    """Who is beside whom in a batch, see `graphs.Graph`.

    Args:
        sources: (E,) int32, row numbers within the batch.
        offsets: (3n + 1,) int32, where the three parts of each row's sources begin.
        spans: first row and end of each graph.
    """

    sources: Tensor
    offsets: Tensor
    spans: tuple[tuple[int, int], ...]

    def branch(self, parts: tuple[int, int]) -> Branch:
        """Return the edges of one branch: the first and last part of each row's sources."""
        return Branch(self, parts)


@dataclass(frozen=True)
class Branch:
    """Some of the edges of a batch.

    Args:
        neighbours: all of them.
        parts: first and last part that count.
    """

    neighbours: Neighbours
    parts: tuple[int, int]

    @cached_property
    def begins(self) -> Tensor:
        """Where each row's sources begin, (n,)."""
        return self.neighbours.offsets[:-1].view(-1, 3)[:, self.parts[0]].contiguous()

    @cached_property
    def ends(self) -> Tensor:
        """Where each row's sources end, (n,)."""
        return self.neighbours.offsets[1:].view(-1, 3)[:, self.parts[1]].contiguous()

    @cached_property
    def degrees(self) -> Tensor:
        """How many sources each row has, (n,)."""
        return self.ends - self.begins

    @property
    def turned(self) -> Branch:
        """The same edges the other way round: who is earlier than a row has that row among its later ones.

        Only for graphs as they are built, not for thinned ones.
        """
        return Branch(self.neighbours, (2 - self.parts[1], 2 - self.parts[0]))

    @cached_property
    def edge_index(self) -> Tensor:
        """Sources above targets, (2, edges) int64, as PyTorch Geometric wants them; targets rise."""
        offsets = self.neighbours.offsets
        part = torch.arange(len(offsets) - 1, device=offsets.device)  # 3 * row + part
        part = part.repeat_interleave(offsets.diff())  # (E,)
        kept = (part % 3 >= self.parts[0]) & (part % 3 <= self.parts[1])
        return torch.stack([self.neighbours.sources[kept].long(), part[kept] // 3])

    def thinned(self, probability: float) -> Branch:
        """Return the branch without some of its edges, drawn from torch's global generator; a row may keep none."""
        whole = self.neighbours
        kept = torch.rand(len(whole.sources), device=whole.sources.device) >= probability
        counts = torch.nn.functional.pad(kept.cumsum(0), (1, 0))
        offsets = counts[whole.offsets].to(whole.offsets.dtype)
        return Branch(Neighbours(whole.sources[kept], offsets, whole.spans), self.parts)


def joined(graphs: Sequence[Graph], device: torch.device) -> Neighbours:
    """Put graphs beside each other.

    Args:
        graphs: in the order of their rows.
        device: where to.
    """
    rows = np.cumsum([0, *(graph.rows for graph in graphs)])
    edges = np.cumsum([0, *(len(graph.neighbours) for graph in graphs)])
    kind = np.int32 if max(edges[-1], rows[-1]) < 2**31 else np.int64
    sources, offsets = np.empty(edges[-1], kind), np.empty(3 * rows[-1] + 1, kind)
    offsets[-1] = edges[-1]
    for graph, row, edge in zip(graphs, rows[:-1], edges[:-1], strict=True):
        np.add(graph.neighbours, row, out=sources[edge : edge + len(graph.neighbours)], casting="same_kind")
        offsets[3 * row : 3 * (row + graph.rows)] = graph.offsets[:-1] + edge
    spans = tuple(zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True))
    return Neighbours(torch.from_numpy(sources).to(device), torch.from_numpy(offsets).to(device), spans)
