"""The largest answer of an edge network over a row's neighbours, without ever holding all edges.

n rows, H columns of the hidden layer, C of the result, K neighbours of a row. An edge network is
W2 relu(W1 [x_i, x_j - x_i] + b1) + b2. Its first layer splits into two products per row, u_i + v_j, so that an edge
costs one sum, one cut-off and one product by W2. Rows go through in chunks that stay in the processor's cache: rows of
like degree together, short lists filled up with their last neighbour, which changes no maximum. Only which neighbour
won is kept, for each row and column; the way back looks at those alone and computes their hidden values again.

Where several neighbours give exactly the same largest value, the last one gets the whole gradient (PyTorch Geometric
shares it out); both are subgradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._graph_batch import Branch
from ._graph_threads import share

Span = tuple[int, int]
# Edges held at once. On the CPU two arrays of this many rows of 64 fit into the cache; elsewhere calls are dear.
CPU_EDGES, OTHER_EDGES = 1 << 13, 1 << 20


def largest(u: Tensor, v: Tensor, weight: Tensor, bias: Tensor, branch: Branch) -> Tensor:
    """Return max over neighbours j of `weight relu(u_i + v_j) + bias` for each row i, (n, C); 0 for rows without.

    Args:
        u: (n, H), what a row adds as the target.
        v: (n, H), what a row adds as a source.
        weight: (C, H).
        bias: (C,).
        branch: who is a neighbour.
    """
    result: Tensor = _Largest.apply(u, v, weight, bias, branch, torch.is_grad_enabled())
    return result


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v: Tensor, weight: Tensor, bias: Tensor, branch: Branch, with_gradient: bool
    ) -> Tensor:
        """Return (n, C)."""
        result = u.new_zeros(len(u), len(weight))
        winners = None
        if with_gradient:
            rows = torch.arange(len(u), dtype=branch.neighbours.sources.dtype, device=u.device)
            winners = rows[:, None].repeat(1, len(weight))  # (n, C); rows without neighbours keep themselves
        share(branch.neighbours.spans, lambda: _search(u, v, weight, bias, branch, result, winners), u.device)
        if winners is not None:
            ctx.branch = branch
            ctx.save_for_backward(u, v, weight, winners)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of u, v, weight and bias."""
        u, v, weight, winners = ctx.saved_tensors
        spans = ctx.branch.neighbours.spans
        grad = grad * (ctx.branch.degrees > 0)[:, None]  # (n, C)
        grad_u, grad_v = torch.empty_like(u), torch.zeros_like(v)
        # One for each graph, added up in order: the sum does not depend on which thread did what.
        grad_weights = weight.new_zeros(len(spans), *weight.shape)
        share(
            range(len(spans)),
            lambda: _return(u, v, weight, winners, grad, spans, (grad_u, grad_v, grad_weights)),
            u.device,
        )
        return grad_u, grad_v, grad_weights.sum(0), grad.sum(0), None, None


def _search(
    u: Tensor, v: Tensor, weight: Tensor, bias: Tensor, branch: Branch, result: Tensor, winners: Tensor | None
) -> Callable[[Span], None]:
    """Return what fills in the results, and the winners, of one graph's rows."""
    columns = weight.t().contiguous()  # (H, C)
    buffers = _Buffers(u)
    sources, begins, ends = branch.neighbours.sources, branch.begins, branch.ends

    def do(span: Span) -> None:
        for rows, k in _chunks(span, branch, buffers.edges):
            m = len(rows)
            begin, end = begins.index_select(0, rows), ends.index_select(0, rows)
            places = torch.arange(k, dtype=begin.dtype, device=begin.device) + begin[:, None]  # (m, K)
            places = torch.minimum(places, end[:, None] - 1)
            beside = sources.index_select(0, places.view(-1))  # (m * K,)
            hidden = torch.index_select(v, 0, beside, out=buffers.take(0, m * k, v.shape[1]))
            hidden.view(m, k, -1).add_(u.index_select(0, rows)[:, None])
            answers = torch.mm(hidden.relu_(), columns, out=buffers.take(1, m * k, len(weight))).view(m, k, -1)
            top = answers.amax(1)  # (m, C)
            result.index_copy_(0, rows, top + bias)
            if winners is not None:
                # The place of the largest: 0 there and -1 elsewhere, times K, plus the place; its maximum. In floats,
                # because a maximum with its index takes as long as the product.
                count = torch.arange(k, dtype=answers.dtype, device=answers.device)[:, None].expand(k, len(weight))
                answers.sub_(top[:, None]).sign_()
                torch.add(count.contiguous(), answers, alpha=k, out=answers)
                won = answers.amax(1).nan_to_num_(0.0).long()  # nan only if the answers are
                winners.index_copy_(0, rows, beside.view(m, k).gather(1, won))

    return do


def _return(
    u: Tensor,
    v: Tensor,
    weight: Tensor,
    winners: Tensor,
    grad: Tensor,
    spans: tuple[Span, ...],
    into: tuple[Tensor, Tensor, Tensor],
) -> Callable[[int], None]:
    """Return what fills in the gradients of one graph: of its rows' u and v, and its part of the weight's."""
    buffers = _Buffers(u)
    grad_u, grad_v, grad_weights = into
    c, h = weight.shape
    at_once = max(1, buffers.edges // c)

    def do(number: int) -> None:
        start, stop = spans[number]
        for first in range(start, stop, at_once):
            some = slice(first, min(first + at_once, stop))
            won = winners[some].reshape(-1)  # (m * C,)
            hidden = torch.index_select(v, 0, won, out=buffers.take(0, len(won), h)).view(-1, c, h)  # (m, C, H)
            hidden.add_(u[some, None]).relu_()
            above = grad[some, :, None]  # (m, C, 1)
            back = buffers.take(1, len(won), h).view(-1, c, h)
            grad_weights[number] += torch.mul(hidden, above, out=back).sum(0)
            torch.mul(weight, above, out=back)
            back.mul_(hidden.sign_())  # hidden values are 0 or more: where they are 0, nothing goes back
            torch.sum(back, 1, out=grad_u[some])
            grad_v.scatter_add_(0, won.long()[:, None].expand(-1, h), back.view(-1, h))

    return do


def _chunks(span: Span, branch: Branch, edges: int) -> Iterator[tuple[Tensor, int]]:
    """Yield rows (m,) with at least one neighbour and their largest number of neighbours K, m * K <= `edges`.

    Rows come by falling number of neighbours; one with more than `edges` comes alone.
    """
    degrees, order = branch.degrees[span[0] : span[1]].sort(descending=True, stable=True)
    order += span[0]
    counts = degrees.tolist()
    first = 0
    while first < len(counts) and counts[first]:
        stop = first + max(1, edges // counts[first])
        while counts[min(stop, len(counts)) - 1] == 0:
            stop = min(stop, len(counts)) - 1
        yield order[first:stop], counts[first]
        first = stop


class _Buffers:
    """Two arrays that a thread uses again for each chunk: fresh memory would cost as much as the sums."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.edges = CPU_EDGES if like.device.type == "cpu" else OTHER_EDGES
        self._held = [like.new_empty(0), like.new_empty(0)]

    def take(self, which: int, rows: int, columns: int) -> Tensor:
        """Return (rows, columns) of unspecified values; overwrites what was taken from the same one before."""
        if self._held[which].numel() < rows * columns:
            self._held[which] = self.like.new_empty(rows * columns)
        return self._held[which][: rows * columns].view(rows, columns)
