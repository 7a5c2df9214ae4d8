"""Train a head for a task on stored features, fold by fold, and report how it does on what it has not seen.

Only the store is read: its clips table gives labels, groups and folds, its feature sets the inputs; media may
be long deleted.

The default protocol keeps groups whole, selects the epoch on groups taken out of the training part, and scores
the test part of each fold once. `sempi` is the published protocol of the engagement task: its own folds, clips
drawn by label, its variants of the losses, and an epoch that is selected on the test part, so that its score is
a best-epoch score.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..store import BadInput, FeatureStore
from . import heads, tasks
from .device import check_device, cpu_threads
from .environment import environment
from .fused import train_fused
from .heads._base import Head, HeadCard
from .loop import decide, evaluate, train_alone
from .losses import loss as find_loss
from .options import configure
from .predictions import Predictions
from .preparation import DEFAULT, Prepared, check_choices, prepare, seen_rows
from .protocol import VALIDATION_FRACTION
from .report import Curve, Report, describe_splits
from .runs import Inputs, Outcome, Run, TrainConfig
from .saved_head import Member, SavedHead, hashes
from .tasks import Task


class Progress(Protocol):
    """What shows how far training is; see `cli`."""

    def start(self, total: int, unit: str, what: str) -> None:
        """Begin, with `total` units of work."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Move on."""

    def close(self) -> None:
        """End."""


def train_head(
    task: str,
    store: str | os.PathLike[str] | FeatureStore,
    *,
    out: Path | None = None,
    inputs: Mapping[str, str] | None = None,
    head: str | None = None,
    settings: Mapping[str, Any] | None = None,
    target: str | None = None,
    classes: int | None = None,
    loss: str | None = None,
    protocol: str = DEFAULT,
    folds: int | None = None,
    seeds: Sequence[int] = (0,),
    epochs: int = 30,
    batch_size: int = 8,
    lr: float = 3e-4,
    lr_decay: float = 1.0,
    weight_decay: float = 0.01,
    clip_norm: float = 0.1,
    patience: int = 10,
    sampler: str | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    normalise: str = "none",
    openface_norm: str | Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    fused: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Train one head per fold and seed, predict each fold's test part, and score the predictions.

    Args:
        task: name of a task.
        store: a store, or its path.
        out: folder for the report and the heads; None writes nothing.
        inputs: role -> feature set; None: those of the store whose names fit the task.
        head: name of a head; None: the task's.
        settings: of the head, by name.
        target: label column; None: the task's.
        classes: for a task with classes: how many to derive from a score.
        loss: name; None: the task's.
        protocol: `default` (the table's folds or split where it has them, else a group k-fold), `sempi`, or a
            way to split by name (see `protocol`).
        folds: how many, where the table does not say; None: the task's.
        seeds: of initial weights, order and dropout; folds are the same for all.
        epochs, batch_size, lr, lr_decay, weight_decay, clip_norm, patience: see `TrainConfig`.
        sampler: `shuffled` or `balanced`; None: the task's.
        validation_fraction: share of the training rows that selects the epoch.
        normalise: `none`, or `standard`: mean 0 and deviation 1 on the training rows, all inputs but OpenFace.
        openface_norm: for the input openface: None: -0.5..0.5 on the training rows; a file with SEMPI's fixed
            vectors; `none`.
        device: torch's name of it.
        threads: CPU threads; None: torch's choice.
        fused: train folds and seeds as one program where the head allows it.
        progress: told of each epoch.

    Returns:
        The report, as written to `out`. The same arguments, seeds and threads give the same bits on a CPU.

    Raises:
        NotFound: an unknown task, head, loss, protocol, column or feature set.
        BadInput: options or data that do not fit, before anything is trained; or training that diverges.
        Corrupt: stored features that do not agree with their checksums.
    """
    started = time.perf_counter()
    chosen = tasks.task(task)
    upstream = protocol == "sempi"
    config = TrainConfig(
        loss=_loss(chosen, loss),
        metric=chosen.metric,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        patience=patience,
        sampler=sampler or ("balanced" if upstream else chosen.sampler),
        upstream=upstream,
        must_exceed=0.0 if upstream else None,
    )
    check_choices(normalise, seeds)
    check_device(device)
    card = heads.head(head or chosen.head)
    own = chosen.head_settings if card.name == chosen.head else {}
    head_config: Any = configure(card.config, {**own, **(settings or {})}, f"Head `{card.name}`")
    with cpu_threads(threads):
        with nullcontext(store) if isinstance(store, FeatureStore) else FeatureStore.open(store) as opened:
            data = prepare(
                chosen,
                opened,
                inputs=inputs,
                target=target,
                classes=classes,
                protocol=protocol,
                folds=folds or chosen.folds,
                validation_fraction=validation_fraction,
            )
        runs = data.runs(seeds, normalise, openface_norm)
        outcomes, outputs = _train(card, head_config, data, runs, config, device, fused, progress)
        predictions = _predictions(data, seeds, outputs, chosen.kind)
        report = Report(
            task=chosen.name,
            task_version=chosen.version,
            target=data.column,
            head=card.name,
            head_config=dataclasses.asdict(head_config),
            training={
                **dataclasses.asdict(config),
                "normalise": normalise,
                "openface_norm": _said(data, openface_norm),
                "validation_fraction": validation_fraction,
            },
            inputs={role: spec.name for role, spec in data.specs.items()},
            fingerprints={spec.name: spec.fingerprint for spec in data.specs.values()},
            metric=chosen.metric,
            metrics=predictions.score(chosen.metrics),
            predictions=predictions,
            protocol=data.plan.protocol,
            selection=data.plan.selection,
            splits=describe_splits(data.plan, data.groups),
            seconds=time.perf_counter() - started,
            environment=environment(device),
            curves=_curves(data, runs, outcomes),
            warnings=_warnings(data, outcomes, config),
            extra={
                "parameters": sum(value.numel() for value in outcomes[0].state.values()),
                "left_out": data.left_out.counts(),
            },
        )
    if out is not None:
        _save(chosen, card, head_config, data, runs, outcomes, Path(out))
        report.write(Path(out))
    return report


def _loss(task: Task, name: str | None) -> str:
    """Return the name of the loss, if it is of the task's kind."""
    found = find_loss(name or task.loss)
    if found.kind != task.kind:
        raise BadInput(
            f"Task `{task.name}` was to be trained with the loss `{found.name}`.",
            f"The loss is for {found.kind}, the task is {task.kind}.",
            "Leave --loss out, or use another task.",
        )
    return found.name


def _said(data: Prepared, openface_norm: str | Path | None) -> str | None:
    """Return how OpenFace was normalised, for the report."""
    if "openface" not in data.specs:
        return None
    return "fitted" if openface_norm is None else Path(openface_norm).name


def _train(
    card: HeadCard,
    head_config: Any,
    data: Prepared,
    runs: Sequence[Run],
    config: TrainConfig,
    device: str,
    fused: bool,
    progress: Progress | None,
) -> tuple[list[Outcome], list[Tensor]]:
    """Train all runs; return their outcomes, and each one's outputs for its fold's test rows (n, outputs)."""
    models = [run.new_head(card, data.outputs, head_config) for run in runs]
    done = 0

    def on_epoch(run: Run, epoch: int, outputs: Tensor) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress.advance(f"{run.name}, epoch {epoch}")

    if progress is not None:
        progress.start(len(runs) * config.epochs, "epoch", f"{card.name}, {len(runs)} runs")
    try:
        if fused and models[0].stackable:
            outcomes = train_fused(models, runs, config, device, on_epoch)
        else:
            outcomes = [
                train_alone(model, run, config, device, on_epoch) for model, run in zip(models, runs, strict=True)
            ]
        if progress is not None and done < len(runs) * config.epochs:
            progress.advance("stopped early", len(runs) * config.epochs - done)
    finally:
        if progress is not None:
            progress.close()
    features = data.features.to(device)
    outputs = []
    for i, (run, outcome) in enumerate(zip(runs, outcomes, strict=True)):
        model: Head = models[i]
        model.load_state_dict(outcome.state)
        test = data.plan.folds[i % len(data.plan.folds)].test
        outputs.append(evaluate(model.to(device), Inputs(features, run.scalings), test))
    return outcomes, outputs


def _predictions(data: Prepared, seeds: Sequence[int], outputs: Sequence[Tensor], kind: str) -> Predictions:
    """Put the predictions of all runs together, seed by seed, fold by fold."""
    folds = data.plan.folds
    rows = np.concatenate([fold.test for fold in folds])
    by_seed = [torch.cat(list(outputs[s * len(folds) : (s + 1) * len(folds)])) for s in range(len(seeds))]
    return Predictions(
        clip_ids=[data.clips[i].clip_id for i in rows],
        entity_ids=[data.clips[i].entity_id for i in rows],
        groups=dataclasses.replace(data.groups, codes=data.groups.codes[rows]),
        folds=np.repeat(np.arange(len(folds)), [fold.test.size for fold in folds]),
        fold_names=[fold.name for fold in folds],
        labels=data.labels.numpy()[rows],
        preds=np.stack([decide(one, kind) for one in by_seed]),
        seeds=list(seeds),
        classes=data.classes,
        probabilities=torch.stack(by_seed).softmax(-1).numpy() if kind == "classes" else None,
    )


def _curves(data: Prepared, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> list[Curve]:
    names = [fold.name for fold in data.plan.folds]
    return [
        Curve(
            fold=names[i % len(names)],
            seed=run.seed,
            train_loss=tuple(outcome.curves["train_loss"]),
            validation_loss=tuple(outcome.curves["validation_loss"]),
            validation_score=tuple(outcome.curves["validation_score"]),
            best_epoch=outcome.best_epoch,
        )
        for i, (run, outcome) in enumerate(zip(runs, outcomes, strict=True))
    ]


def _warnings(data: Prepared, outcomes: Sequence[Outcome], config: TrainConfig) -> list[str]:
    """Return what a reader must not miss."""
    found = [*data.notes, *data.left_out.sentences()]
    never = [outcome.name for outcome in outcomes if outcome.best_epoch == 0]
    if never and config.must_exceed is not None:
        found.append(
            f"The validation {config.metric} of {', '.join(never)} never exceeded {config.must_exceed:g}: the original "
            "saves no head then and fails. The head of the last epoch is scored."
        )
    elif never:
        found.append(
            f"The validation {config.metric} of {', '.join(never)} was undefined in every epoch; the head of the last "
            "one is scored."
        )
    return found


def _save(
    task: Task,
    card: HeadCard,
    head_config: Any,
    data: Prepared,
    runs: Sequence[Run],
    outcomes: Sequence[Outcome],
    folder: Path,
) -> None:
    """Write the heads of all runs."""
    SavedHead(
        task=task.name,
        task_version=task.version,
        target=data.column,
        kind=task.kind,
        classes=data.classes,
        head=card.name,
        config=head_config,
        outputs=data.outputs,
        inputs=data.specs,
        members=tuple(
            Member(run.name, outcome.state, run.scalings) for run, outcome in zip(runs, outcomes, strict=True)
        ),
        seen=np.sort(hashes(data.clips[i].key for i in seen_rows(data.plan))),
    ).write(folder)
