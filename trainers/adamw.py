"""AdamW over rows of one matrix: each row is all parameters of one head, with a step count of its own.

It calls the kernel under `torch.optim.AdamW(fused=True)` directly, because the first use of `torch.optim`
imports the compiler stack, which takes longer than training a small head. The kernel is private to torch: a
test pins it against the public class, and where it is absent the public class is used.

Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019; torch's defaults for
betas and eps.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


class RowAdamW:
    """AdamW that updates the first k rows of a matrix, each as if it were alone.

    Args:
        values: (S, P), updated in place.
        grads: (S, P), read at each step.
        lr: learning rate; may be changed between steps.
        weight_decay: decoupled weight decay.
    """

    def __init__(self, values: Tensor, grads: Tensor, lr: float, weight_decay: float) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self._values, self._grads = list(values.unbind(0)), list(grads.unbind(0))
        self._mean = [torch.zeros_like(row) for row in self._values]
        self._square = [torch.zeros_like(row) for row in self._values]
        self._counts = [torch.zeros((), device=values.device) for _ in self._values]
        self._public: torch.optim.Optimizer | None = None
        if not hasattr(torch, "_fused_adamw_"):
            self._public = self._public_optimizer()

    def step(self, rows: int) -> None:
        """Update the first `rows` rows."""
        if self._public is not None:
            for i, value in enumerate(self._values):
                value.grad = self._grads[i] if i < rows else None
            for group in self._public.param_groups:
                group["lr"] = self.lr
            self._public.step()
            return
        torch._foreach_add_(self._counts[:rows], 1)
        torch._fused_adamw_(
            self._values[:rows],
            self._grads[:rows],
            self._mean[:rows],
            self._square[:rows],
            [],
            self._counts[:rows],
            lr=self.lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.weight_decay,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )

    def keep(self, rows: list[int], values: Tensor, grads: Tensor) -> None:
        """Go on with some of the rows only, which now are the rows of `values` and `grads`."""
        self._values, self._grads = list(values.unbind(0)), list(grads.unbind(0))
        self._mean = [self._mean[i] for i in rows]
        self._square = [self._square[i] for i in rows]
        self._counts = [self._counts[i] for i in rows]
        if self._public is not None:
            kept = [self._public.state[self._public.param_groups[0]["params"][i]] for i in rows]
            self._public = self._public_optimizer()
            for value, state in zip(self._values, kept, strict=True):
                self._public.state[value] = state

    def _public_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self._values, lr=self.lr, betas=BETAS, eps=EPS, weight_decay=self.weight_decay)
