"""The layers of the graph networks, named as PyTorch Geometric's so that its checkpoints load, and those themselves.

A layer takes rows (n, D) and the edges of one branch.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ...store.errors import MissingExtra
from ._graph_batch import Branch
from ._graph_max import largest


class EdgeConv(nn.Module):
    """Max over a row's sources j of MLP([x_i, x_j - x_i]), MLP = linear, ReLU, linear: (n, inputs) -> (n, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.nn = nn.Sequential(nn.Linear(2 * inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """Return (n, outputs)."""
        own, other = self.nn.get_parameter("0.weight").chunk(2, dim=1)
        u = functional.linear(x, own - other, self.nn.get_parameter("0.bias"))
        v = functional.linear(x, other)
        return largest(u, v, self.nn.get_parameter("2.weight"), self.nn.get_parameter("2.bias"), branch)


class SageConv(nn.Module):
    """`lin_l` of the mean of a row's sources, plus `lin_r` of the row itself: (n, inputs) -> (n, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_l = nn.Linear(inputs, outputs)
        self.lin_r = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        """Return (n, outputs)."""
        # The product first: outputs are fewer than inputs, so the mean is over fewer columns.
        mean: Tensor = _Mean.apply(functional.linear(x, self.lin_l.weight), branch)
        return mean + self.lin_l.bias + self.lin_r(x)


class Norm(nn.Module):
    """Batch norm over rows (n, columns)."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.module = nn.BatchNorm1d(columns)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, columns)."""
        result: Tensor = self.module(x)
        return result


class _Mean(torch.autograd.Function):
    """Mean over a row's sources; each row must have one."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, branch: Branch) -> Tensor:
        """Return (n, D)."""
        ctx.branch = branch
        return _sum(values, branch) / branch.degrees[:, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the values."""
        return _sum(grad / ctx.branch.degrees[:, None], ctx.branch.turned), None


def _sum(values: Tensor, branch: Branch) -> Tensor:
    """Return the sum over each row's sources, (n, D)."""
    sources, offsets = branch.neighbours.sources, branch.neighbours.offsets
    parts = functional.embedding_bag(sources, values, offsets, mode="sum", include_last_offset=True)  # (3n, D)
    first, last = branch.parts
    return parts.view(len(values), 3, -1)[:, first : last + 1].sum(1)


@dataclass(frozen=True)
class Layers:
    """Which classes a network is made of, and whether they share out their work themselves (`_graph_threads`)."""

    edge_conv: type[nn.Module] = EdgeConv
    sage_conv: type[nn.Module] = SageConv
    norm: type[nn.Module] = Norm
    alone: bool = True


def reference_layers() -> Layers:
    """Return PyTorch Geometric's own layers, with the same names, parameters and calls as ours.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its import uses what torch is about to drop
            from torch_geometric import nn as geometric  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        if error.name != "torch_geometric":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra("The reference graph network", "graph", "torch-geometric") from error

    class ReferenceEdgeConv(geometric.EdgeConv):
        def __init__(self, inputs: int, outputs: int) -> None:
            mlp = nn.Sequential(nn.Linear(2 * inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))
            super().__init__(mlp, aggr="max")

        def forward(self, x: Tensor, branch: Branch) -> Any:
            return super().forward(x, branch.edge_index)

    class ReferenceSageConv(geometric.SAGEConv):
        def forward(self, x: Tensor, branch: Branch) -> Any:
            return super().forward(x, branch.edge_index)

    return Layers(ReferenceEdgeConv, ReferenceSageConv, geometric.BatchNorm, alone=False)
