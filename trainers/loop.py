"""The training loop to read: one head, one run, plain torch. `fused` does the same for many runs at once.

AdamW, gradient-norm clipping, one order of visits and one set of dropout masks per epoch, selection on the
validation rows. Features are arrays in memory; there is no data loader and no worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store.errors import BadInput
from .heads._base import Head
from .labels import ItemLabels, RowLabels, labels_of
from .losses import Loss
from .metrics import Metric
from .row_inputs import RowInputs
from .runs import Draws, Inputs, Outcome, Run, Selection, TrainConfig, check_finite
from .schedule import next_lr

# Called after each epoch with the run, the epoch (from 1) and the outputs for its validation rows (M, outputs).
OnEpoch = Callable[[Run, int, Tensor], None]
BETA2 = 0.999  # of Adam, in all published systems


@dataclass(frozen=True, eq=False)
class BatchTarget:
    """What one step is trained towards, see `heads._base.Target`.

    Args:
        labels: of the run.
        items: item numbers of the batch, (B,).
        criterion: the run's loss.
        epoch: counted from 1.
    """

    labels: ItemLabels | RowLabels
    items: Tensor
    criterion: Loss
    epoch: int

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the loss of outputs (B, outputs) or (B, T, outputs) against the batch's labels."""
        return self.loss_of(*self.labels.pick(outputs, self.items))

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return the labels of all rows, (B, T) or (B, T, K), and which of them count, (B, T)."""
        labels = self.labels
        if isinstance(labels, ItemLabels):
            raise BadInput(
                "The losses of a head were to be computed row by row.",
                "The task has one label for each clip.",
                "Use a task of unit `row` (`cuebank tasks` lists them), or another head.",
            )
        index, inside = (part.to(labels.labelled.device) for part in labels.spans.padded(self.items.cpu()))
        return labels.values[index], labels.labelled[index] & inside

    def loss_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of outputs (n, outputs) against labels (n,) or (n, K)."""
        return loss_of(self.criterion, outputs, labels)


def train_alone(
    head: Head, run: Run, config: TrainConfig, device: str = "cpu", on_epoch: OnEpoch | None = None
) -> Outcome:
    """Train one head.

    Args:
        head: as initialised; it is changed.
        run: rows, features and draws.
        config: how to train.
        device: torch's name of where to compute.
        on_epoch: called after each epoch.

    Raises:
        BadInput: if the loss or the outputs become NaN or infinite.
    """
    head.to(device)
    inputs = run.inputs(device)
    labels, criterion = labels_of(run.labels).to(device), config.criterion()
    dtype = next(head.parameters()).dtype
    draws = Draws(run, config, head.dropout_sites())
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(head.parameters(), lr=config.lr, betas=(config.beta1, BETA2), weight_decay=config.weight_decay)
    selection, outcome = Selection(config), Outcome(run.name)
    with torch.random.fork_rng():  # for heads that draw from torch's global generator
        torch.manual_seed(run.entropy("global"))
        for epoch in range(1, config.epochs + 1):
            head.train()
            dropped = {site: mask.to(device) for site, mask in draws.dropout(dtype).items()}
            losses = []
            for step, items in enumerate(draws.batches(epoch)):
                items = items.to(device)  # (B,)
                arguments = inputs.arguments(items)
                arguments["dropout"] = {site: mask[step, : len(items)] for site, mask in dropped.items()}
                value = head.training_loss(arguments, BatchTarget(labels, items, criterion, epoch))
                optimizer.zero_grad()
                value.backward()
                if config.clip_norm:
                    torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
                optimizer.step()
                losses.append(value.detach())
            for group in optimizer.param_groups:
                group["lr"] = next_lr(config, group["lr"], epoch)
            finish_epoch(outcome, selection, head, run, inputs, epoch, torch.stack(losses), config, on_epoch)
            if selection.stop:
                break
    return outcome


def loss_of(criterion: Loss, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of outputs (…, B, outputs) against labels (…, B): (…).

    Of K outputs against labels (…, B, K), it is the mean of their losses.
    """
    if criterion.kind != "regression":
        return criterion(outputs, labels)
    if labels.ndim == outputs.ndim:
        return criterion(outputs.transpose(-1, -2), labels.transpose(-1, -2)).mean(-1)
    return criterion(outputs.squeeze(-1), labels)


def evaluate(head: Head, inputs: Inputs | RowInputs, items: npt.NDArray[np.int64]) -> Tensor:
    """Return the head's outputs for some items, without dropout, on the CPU.

    They are (items, outputs); of a head that gives outputs for rows, those of all rows, item after item.
    """
    head.eval()
    with torch.no_grad():
        return inputs.outputs(head, items).cpu()


def decide(outputs: Tensor, kind: str) -> npt.NDArray[Any]:
    """Return predictions (N,) or (N, K), from outputs (N, C).

    For `regression` the outputs themselves, for `classes` the class of the largest one, for `scores` the probability
    of class 1.
    """
    if kind == "classes":
        return outputs.argmax(-1).numpy()
    if kind == "scores":
        return outputs.double().softmax(-1)[..., 1].numpy()
    return (outputs.squeeze(-1) if outputs.shape[-1] == 1 else outputs).numpy()


def score_of(metric: Metric, outputs: Tensor, labels: Tensor) -> float:
    """Return the metric of outputs (N, C) against labels (N,) or (N, K)."""
    return float(metric(decide(outputs, metric.kind), labels.numpy()))


def finish_epoch(
    outcome: Outcome,
    selection: Selection,
    head: Head,
    run: Run,
    inputs: Inputs | RowInputs,
    epoch: int,
    losses: Tensor,
    config: TrainConfig,
    on_epoch: OnEpoch | None,
) -> None:
    """Score the validation rows, note the epoch, and keep the head's state if it is the best so far.

    Args:
        outcome, selection: of the run; both are changed.
        head: after the epoch's last step.
        run: for its rows and labels.
        inputs: the run's features on the head's device.
        epoch: counted from 1.
        losses: of the epoch's steps, (steps,).
        config: for the loss.
        on_epoch: called with the validation outputs.
    """
    check_finite(losses, run.name, epoch, config)
    outputs = evaluate(head, inputs, run.validation)
    keep, labels = labels_of(run.labels).of(run.validation)
    outputs = outputs if keep is None else outputs[keep]
    check_finite(outputs, run.name, epoch, config)
    score = score_of(selection.metric, outputs, labels)
    outcome.batch_losses += losses.tolist()
    outcome.curves["train_loss"].append(float(losses.mean()))
    outcome.curves["validation_loss"].append(float(loss_of(config.criterion(), outputs, labels)))
    outcome.curves["validation_score"].append(score)
    improved = selection.update(epoch, score)
    outcome.best_epoch = selection.epoch
    ends = selection.stop or epoch == config.epochs
    if improved or (ends and selection.epoch == 0):
        outcome.best_score = score
        outcome.state = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in head.state_dict().items()
        }
    if on_epoch is not None:
        on_epoch(run, epoch, outputs)
