"""Heads of several runs: trained by whichever loop fits them, then asked about the test parts of their folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from .device import threads_for
from .fused import heads_at_once, train_fused
from .groups import Ints
from .heads._base import Head, HeadCard
from .labels import labels_of
from .loop import evaluate, train_alone
from .runs import Outcome, Run, TrainConfig, check_finite


class Progress(Protocol):
    """What shows how far training is; see `cli`."""

    def start(self, total: int, unit: str, what: str) -> None:
        """Begin, with `total` units of work."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Move on."""

    def close(self) -> None:
        """End."""


def worthwhile_threads(models: Sequence[Head], runs: Sequence[Run], config: TrainConfig, fused: bool) -> int:
    """Return how many CPU threads the training steps are worth."""
    together = min(len(models), heads_at_once(models[0])) if fused else 1
    parameters = sum(p.numel() for p in models[0].parameters())
    return threads_for(together * parameters * max(run.batch_size(config) * run.item_rows() for run in runs))


def fit_heads(
    card: HeadCard,
    models: Sequence[Head],
    runs: Sequence[Run],
    config: TrainConfig,
    device: str,
    fused: bool,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Train all runs, telling of each epoch; heads in closed form have one.

    Raises:
        BadInput: if a loss or outputs become NaN or infinite.
    """
    total, done = len(runs) * (config.epochs if card.fit is None else 1), 0

    def on_epoch(run: Run, epoch: int, outputs: Tensor) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress.advance(f"{run.name}, epoch {epoch}")

    if progress is not None:
        progress.start(total, "epoch", f"{len(runs)} heads")
    try:
        if card.fit is not None:
            outcomes = card.fit(models, runs, config)
        elif fused:
            outcomes = train_fused(models, runs, config, device, on_epoch)
        else:
            outcomes = [
                train_alone(model, run, config, device, on_epoch) for model, run in zip(models, runs, strict=True)
            ]
        if progress is not None and done < total:
            progress.advance("stopped early" if card.fit is None else "fitted", total - done)
    finally:
        if progress is not None:
            progress.close()
    return outcomes


def tested_outputs(
    models: Sequence[Head],
    runs: Sequence[Run],
    outcomes: Sequence[Outcome],
    tests: Sequence[Ints],
    config: TrainConfig,
    device: str,
) -> list[Tensor]:
    """Return the outputs of each run's kept head for the labelled rows of the items it is tested on, (n, outputs).

    Raises:
        BadInput: if they are NaN or infinite.
    """
    outputs = []
    for model, run, outcome, test in zip(models, runs, outcomes, tests, strict=True):
        model.load_state_dict(outcome.state)
        found = evaluate(model.to(device), run.inputs(device), test)
        keep, _ = labels_of(run.labels).of(test)
        found = found if keep is None else found[keep]
        check_finite(found, run.name, outcome.epochs, config)
        outputs.append(found)
    return outputs
