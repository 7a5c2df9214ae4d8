"""Many runs of one head at once: folds and seeds as one batched program.

The parameters of S heads are rows of one matrix, so that a step is a handful of batched products, one clipping
and one AdamW. Each run keeps its own data, order, dropout, step count and selection, and ends as if it had
trained alone (up to the rounding of batched against single products). Runs stand in order of their number of
steps: those with a step left are always the first k rows, and a run that stopped early is taken out; nothing is
computed and masked away.

S is runs, B rows per step, D columns of one input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from .adamw import RowAdamW
from .gathering import Gatherer
from .heads._base import Head
from .loop import OnEpoch, finish_epoch, loss_of
from .runs import Draws, Inputs, Outcome, Run, Selection, TrainConfig, one_each, vectors
from .schedule import next_lr
from .stack import HeadStack

# Parameters of all heads of one program: beyond it they leave the cache, and batching stops paying.
PARAMETERS_AT_ONCE = 600_000
CLIP_EPS = 1e-6  # as torch.nn.utils.clip_grad_norm_ has it


def train_fused(
    heads: Sequence[Head],
    runs: Sequence[Run],
    config: TrainConfig,
    device: str = "cpu",
    on_epoch: OnEpoch | None = None,
) -> list[Outcome]:
    """Train one head per run, all of the same build and `stackable`.

    Args:
        heads: as initialised; they are changed.
        runs: one for each head.
        config: how to train all of them.
        device: torch's name of where to compute.
        on_epoch: called after each epoch of each run.

    Returns:
        One outcome for each run, in the order of `runs`.

    Raises:
        BadInput: if a loss or outputs become NaN or infinite.
    """
    size = heads_at_once(heads[0])
    done: dict[int, Outcome] = {}
    # Equal batch sizes only: a run with fewer rows than a batch has smaller steps than the others.
    by_batch = sorted(range(len(runs)), key=lambda i: runs[i].batch_size(config))
    for _, alike in groupby(by_batch, key=lambda i: runs[i].batch_size(config)):
        members = sorted(alike, key=lambda i: -runs[i].steps(config))
        for start in range(0, len(members), size):
            some = members[start : start + size]
            program = _Program([heads[i] for i in some], [runs[i] for i in some], config, device)
            done.update(zip(some, program.train(on_epoch), strict=True))
    return [done[i] for i in range(len(runs))]


def heads_at_once(head: Head) -> int:
    """Return how many heads of this build are trained as one program."""
    return max(1, PARAMETERS_AT_ONCE // sum(p.numel() for p in head.parameters()))


class _Program:
    """Runs with equal batch sizes, in order of falling numbers of steps, trained together."""

    def __init__(self, heads: Sequence[Head], runs: Sequence[Run], config: TrainConfig, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.criterion = config.criterion()
        self.stack = HeadStack([head.to(self.device) for head in heads])
        self.optimizer = RowAdamW(self.stack.values, self.stack.grads, config.lr, config.weight_decay)
        self.runs = list(runs)
        # What runs share is moved once.
        features = {id(run.features): vectors(run.features) for run in runs}
        moved = {key: one.to(self.device) for key, one in features.items()}
        self.inputs = [Inputs(moved[id(run.features)], run.scalings) for run in runs]
        self.labels = [one_each(run.labels).to(self.device) for run in runs]
        self.draws = [Draws(run, config, head.dropout_sites()) for run, head in zip(runs, heads, strict=True)]
        self.selections = [Selection(config) for _ in runs]
        self.outcomes = [Outcome(run.name) for run in runs]
        self.gatherer = Gatherer(self.inputs, self.labels)

    def train(self, on_epoch: OnEpoch | None) -> list[Outcome]:
        """Train until every run has ended; return the outcomes in the order of the runs given."""
        results = list(self.outcomes)
        for epoch in range(1, self.config.epochs + 1):
            losses = self._epoch(epoch)
            self.optimizer.lr = next_lr(self.config, self.optimizer.lr, epoch)
            for i, run in enumerate(self.runs):
                finish_epoch(
                    self.outcomes[i],
                    self.selections[i],
                    self.stack.heads[i],
                    run,
                    self.inputs[i],
                    epoch,
                    losses[i, : run.steps(self.config)],
                    self.config,
                    on_epoch,
                )
            going = [i for i, selection in enumerate(self.selections) if not selection.stop]
            if not going:
                break
            if len(going) < len(self.runs):
                self._keep(going)
        return results

    def _keep(self, rows: list[int]) -> None:
        self.stack.keep(rows)
        self.optimizer.keep(rows, self.stack.values, self.stack.grads)
        for name in ("runs", "inputs", "labels", "draws", "selections", "outcomes"):
            setattr(self, name, [getattr(self, name)[i] for i in rows])
        self.gatherer = Gatherer(self.inputs, self.labels)

    def _epoch(self, epoch: int) -> Tensor:
        """Take one epoch's steps; return the loss of each step, (S, steps), nan where a run has no step."""
        steps = [run.steps(self.config) for run in self.runs]
        dtype = self.stack.values.dtype
        orders = [draw.order(epoch).to(self.device) for draw in self.draws]  # each (steps of the run, B)
        dropped = self._stacked_masks([draw.dropout(dtype) for draw in self.draws], steps[0])
        losses = torch.full((len(self.runs), steps[0]), torch.nan, dtype=dtype, device=self.device)
        for start, inputs, labels in self.gatherer.chunks(orders):
            for step in range(start, start + labels.shape[1]):
                count = sum(step < some for some in steps)
                losses[:count, step] = self._step(
                    count,
                    {role: values[:count, step - start] for role, values in inputs.items()},
                    labels[:count, step - start],
                    {site: mask[:count, step] for site, mask in dropped.items()},
                )
        return losses

    def _stacked_masks(self, masks: list[dict[str, Tensor]], steps: int) -> dict[str, Tensor]:
        """Return site -> (S, steps, B, width)."""
        stacked = {}
        for site, first in masks[0].items():
            stacked[site] = first.new_zeros((len(masks), steps, *first.shape[1:]))
            for into, one in zip(stacked[site], masks, strict=True):
                into[: one[site].shape[0]] = one[site]
        return {site: mask.to(self.device) for site, mask in stacked.items()}

    def _step(self, count: int, inputs: dict[str, Tensor], labels: Tensor, dropped: dict[str, Tensor]) -> Tensor:
        """Update the first `count` heads on one batch each; return their losses, (count,)."""
        module, parameters = self.stack.module(count)
        losses = loss_of(self.criterion, module(inputs, dropout=dropped), labels)
        gradients = torch.autograd.grad(losses.sum(), parameters)
        with torch.no_grad():
            for view, grad in zip(self.stack.grad_views, gradients, strict=True):
                view[:count].copy_(grad)
            grads = self.stack.grads[:count]
            if self.config.clip_norm:
                norms = torch.linalg.vector_norm(grads, dim=1, keepdim=True)
                grads.mul_((self.config.clip_norm / (norms + CLIP_EPS)).clamp(max=1.0))
            self.optimizer.step(count)
        return losses.detach()
