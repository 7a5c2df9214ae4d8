"""The graph network of SPELL and KEMDy20: from the rows of a batch and who is beside whom to an answer for each row.

n is rows of the batch. Inputs, each projected and summed -> batch norm -> ReLU -> three branches, which differ in the
edges they listen to: largest answer of an edge network -> batch norm -> ReLU -> dropout -> mean of neighbours -> batch
norm (these two are one layer for all three, as published) -> ReLU -> dropout -> mean of neighbours; their sum.

State-dict names are the original's: `layer011`, `layer012`, ... project, `layerspf` looks at boxes, `batch01`, then
`layer{11,12,13}`, `batch{11,12,13}`, `layer21`, `batch21`, `layer{31,32,33}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._graph_batch import BRANCHES, Neighbours
from ._graph_layers import Layers
from ._graph_threads import without_helpers

# The rows of one role that are there: their values, piece by piece (r_i, D), and their places among the batch's n rows;
# None if they are all of them, in order.
Rows = tuple[Sequence[Tensor], Tensor | None]


class GraphNet(nn.Module):
    """See the module.

    Args:
        dims: role -> columns, in the order of the projections.
        splits: how many equal slices each role is cut into, each with a projection of its own.
        boxes_with: the role that is seen beside the projected `boxes`, if there are any.
        sizes: columns after the projections, after the shared layer, and at the end.
        shared: one second layer and norm for all branches.
        dropout: probability, after the first and second layers.
        edge_dropout: probability with which an edge is left out of a first layer.
        always: leave out edges in evaluation too.
        layers: what it is made of.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        splits: int,
        boxes_with: str | None,
        sizes: tuple[int, int, int],
        shared: bool,
        dropout: float,
        edge_dropout: float,
        always: bool,
        layers: Layers,
    ) -> None:
        super().__init__()
        first, second, last = sizes
        self.hidden_size = first
        self.boxes_with = boxes_with
        self.dropout, self.edge_dropout, self.always = dropout, edge_dropout, always
        self.alone = layers.alone
        if boxes_with is not None:
            self.layerspf = nn.Linear(dims["boxes"], first)
        self.projections: dict[str, list[str]] = {}  # role -> names of its layers
        number = 0
        for role, dim in dims.items():
            if boxes_with is not None and role == "boxes":
                continue
            extra = first if role == boxes_with else 0
            self.projections[role] = []
            for _ in range(splits):
                number += 1
                self.projections[role].append(f"layer01{number}")
                self.add_module(f"layer01{number}", nn.Linear(dim // splits + extra, first))
        self.batch01 = layers.norm(first)
        branches = range(1, len(BRANCHES) + 1)
        for b in branches:
            self.add_module(f"layer1{b}", layers.edge_conv(first, first))
            self.add_module(f"batch1{b}", layers.norm(first))
        for b in branches if not shared else (1,):
            self.add_module(f"layer2{b}", layers.sage_conv(first, second))
            self.add_module(f"batch2{b}", layers.norm(second))
        for b in branches:
            self.add_module(f"layer3{b}", layers.sage_conv(second, last))
        self.second = dict.fromkeys(branches, 1) if shared else {b: b for b in branches}  # branch -> its second layer

    def answers(self, rows: Mapping[str, Rows], neighbours: Neighbours) -> Tensor:
        """Return (n, outputs).

        Args:
            rows: role -> what is there of it.
            neighbours: of the n rows.
        """
        projected = self._projected(rows, neighbours)  # (n, first)
        if not self.alone:
            return self._answers(projected, neighbours)
        layers = [part for name, part in self.named_children() if not name.startswith("layer0") and name != "layerspf"]
        parameters = [one for part in layers for one in part.parameters()]
        return without_helpers(lambda x: self._answers(x, neighbours), projected, parameters)

    def _answers(self, projected: Tensor, neighbours: Neighbours) -> Tensor:
        """Return (n, outputs) for what was projected, (n, first)."""
        x = functional.relu(self.batch01(projected))
        results = []
        for b, parts in enumerate(BRANCHES, 1):
            branch = neighbours.branch(parts)
            leave_out = self.edge_dropout and (self.training or self.always)
            edges = branch.thinned(self.edge_dropout) if leave_out else branch
            y = getattr(self, f"layer1{b}")(x, edges)  # (n, first)
            y = self._cut(getattr(self, f"batch1{b}")(y))
            y = getattr(self, f"layer2{self.second[b]}")(y, branch)  # (n, second)
            y = self._cut(getattr(self, f"batch2{self.second[b]}")(y))
            results.append(getattr(self, f"layer3{b}")(y, branch))  # (n, outputs)
        return _added(results)

    def _cut(self, y: Tensor) -> Tensor:
        return functional.dropout(functional.relu(y, inplace=True), self.dropout, self.training)

    def _projected(self, rows: Mapping[str, Rows], neighbours: Neighbours) -> Tensor:
        """Return the sum of the projections, (n, first); a role that a row lacks adds nothing there."""
        n = neighbours.spans[-1][1]
        results = []
        for role, names in self.projections.items():
            layers = [getattr(self, name) for name in names]
            bias = torch.stack([layer.bias for layer in layers]).sum(0)
            weight = torch.cat([layer.weight for layer in layers], 1)  # slices side by side: one product for all
            dim = weight.shape[1] - (self.hidden_size if role == self.boxes_with else 0)
            parts: list[tuple[Rows, Tensor, Tensor | None]] = [(rows[role], weight[:, :dim], bias)]
            if role == self.boxes_with:
                pieces, places = rows["boxes"]
                parts.append((([self.layerspf(piece) for piece in pieces], places), weight[:, dim:], None))
            for (pieces, places), columns, shift in parts:
                y = torch.cat([functional.linear(piece, columns, shift) for piece in pieces])
                results.append(y if places is None else y.new_zeros(n, y.shape[1]).index_copy(0, places, y))
        return _added(results)


def _added(results: list[Tensor]) -> Tensor:
    """Return the sum of tensors of one shape; at least one."""
    total, *others = results
    for other in others:
        total = total + other
    return total
