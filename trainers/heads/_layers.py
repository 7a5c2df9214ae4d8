"""Layers that compute one head, or a stack of S independent copies of it whose parameters carry a leading axis
S.

Folds and seeds of a small head differ in their numbers only, so that S of them are one batched matrix product.
Concatenated
inputs are multiplied piece by piece: no copy of the concatenation, and no gradient for pieces that are stored
features. Pieces that are neighbouring columns of one matrix are one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Affine(nn.Linear):
    """A linear layer over the concatenation of its inputs; initialised and named like `nn.Linear`.

    Its weight is (out, in), or (S, out, in) for a stack.
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return (B, out) for inputs (B, D_i) that add up to `in` columns, or (S, B, out) for (S, B, D_i)."""
        if self.weight.ndim == 2:
            stacked = _stacked([x.unsqueeze(0) for x in inputs], self.weight.unsqueeze(0), self.bias.unsqueeze(0))
            return stacked.squeeze(0)
        return _stacked(inputs, self.weight, self.bias)


def _stacked(inputs: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    if len(inputs) > 1:
        inputs = _joined(inputs)
    if len(inputs) == 1:
        return torch.baddbmm(bias.unsqueeze(1), inputs[0], weight.transpose(1, 2))
    result: Tensor = _ConcatAffine.apply(weight, bias, *inputs)
    return result


def _joined(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Join inputs (S, B, D_i) that stand side by side in memory, without copying."""
    joined: list[Tensor] = []
    for x in inputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and not (last.requires_grad or x.requires_grad)
            and last.stride() == x.stride()
            and last.stride(2) == 1
            and last.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
            and last.storage_offset() + last.shape[2] == x.storage_offset()
        ):
            size = (*x.shape[:2], last.shape[2] + x.shape[2])
            joined[-1] = last.as_strided(size, last.stride())
        else:
            joined.append(x)
    return joined


class _ConcatAffine(torch.autograd.Function):
    """`concat(inputs) @ weight^T + bias` without the concatenation; only what needs a gradient gets one."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, *inputs: Tensor) -> Tensor:
        """Return (S, B, out)."""
        ctx.save_for_backward(weight, *inputs)
        columns = weight.transpose(1, 2).split([x.shape[-1] for x in inputs], dim=1)  # each (S, D_i, out)
        result = torch.baddbmm(bias.unsqueeze(1), inputs[0], columns[0])
        for x, part in zip(inputs[1:], columns[1:], strict=True):
            result.baddbmm_(x, part)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight, bias and of those inputs that need one."""
        weight, *inputs = ctx.saved_tensors
        widths = [x.shape[-1] for x in inputs]
        # Laid out as (S, in, out): each input's part is then a block of whole rows that a product can write directly.
        grad_weight = grad.new_empty(weight.shape[0], weight.shape[2], weight.shape[1])
        for x, part in zip(inputs, grad_weight.split(widths, dim=1), strict=True):
            torch.bmm(x.transpose(1, 2), grad, out=part)
        needed = ctx.needs_input_grad[2:]
        grad_inputs = [
            torch.bmm(grad, part) if need else None
            for need, part in zip(needed, weight.split(widths, dim=2), strict=True)
        ]
        return grad_weight.transpose(1, 2), grad.sum(1), *grad_inputs


def masked_mean(rows: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of rows (…, T, D) over those with mask (…, T): (…, D); nan where there is none.

    Example:
        >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    kept = torch.where(mask.unsqueeze(-1), rows, 0.0)  # not a product: what is masked may be nan
    return kept.sum(-2) / mask.sum(-1, keepdim=True)


def drop(values: Tensor, mask: Tensor | None, probability: float, training: bool) -> Tensor:
    """Drop values in training: by the mask (same shape, scaled) where one is given, else by a draw of torch's."""
    if not training or probability == 0:
        return values
    return values * mask if mask is not None else nn.functional.dropout(values, probability)
