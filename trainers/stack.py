"""The parameters of S equal heads as rows of one matrix, and the modules that see them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .heads._base import Head


class HeadStack:
    """S heads of one build, trained together.

    The heads' own parameters become views of their rows, so that each head can be evaluated and saved by itself
    at any time.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        self.heads = list(heads)
        self.shapes = [(name, tuple(p.shape)) for name, p in heads[0].named_parameters()]
        self.values = (
            heads[0]
            .state_dict()[self.shapes[0][0]]
            .new_empty(len(heads), sum(torch.Size(shape).numel() for _, shape in self.shapes))
        )
        for i, head in enumerate(heads):
            for parameter, view in zip(head.parameters(), self._views(self.values), strict=True):
                view[i].copy_(parameter.detach())
        self._bind(self.values)

    def _bind(self, values: Tensor) -> None:
        self.values, self.grads = values, torch.zeros_like(values)  # both (S, P)
        self.grad_views = self._views(self.grads)
        self._modules: dict[int, tuple[Head, tuple[Tensor, ...]]] = {}
        for i, head in enumerate(self.heads):
            for parameter, view in zip(head.parameters(), self._views(values), strict=True):
                parameter.data = view[i]

    def _views(self, matrix: Tensor) -> list[Tensor]:
        """Return each parameter of all rows, (S, *shape).

        Weights (out, in) lie in memory as (in, out): a batched product then writes their gradient in the order
        of memory, where transposing it would take longer than the product.
        """
        sizes = [torch.Size(shape).numel() for _, shape in self.shapes]
        return [
            part.unflatten(1, shape[::-1]).transpose(1, 2) if len(shape) == 2 else part
            for part, (_, shape) in zip(matrix.split(sizes, dim=1), self.shapes, strict=True)
        ]

    def module(self, count: int) -> tuple[Head, tuple[Tensor, ...]]:
        """Return one module that computes the first `count` heads, and its parameters (count, *shape)."""
        if count not in self._modules:
            module = copy.deepcopy(self.heads[0])
            for (name, _), view in zip(self.shapes, self._views(self.values[:count]), strict=True):
                owner, _, leaf = name.rpartition(".")
                setattr(module.get_submodule(owner), leaf, nn.Parameter(view))
            self._modules[count] = module.train(), tuple(module.parameters())
        return self._modules[count]

    def keep(self, rows: list[int]) -> None:
        """Go on with some of the heads only; the others' parameters stay as they are."""
        self.heads = [self.heads[i] for i in rows]
        self._bind(self.values[rows].clone())
