"""Trained heads and what they predicted: put together as a report, and as a head to save."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .groups import Groups
from .heads._base import HeadCard
from .loop import decide
from .predictions import Predictions
from .prepared import Prepared, seen_rows
from .report import Curve, Report, describe_splits
from .runs import Outcome, Run, TrainConfig
from .saved_head import Member, SavedHead, hashes
from .tasks import Task
from .widening import widening


@dataclass(frozen=True, eq=False)
class Trained:
    """All runs of one training, seed by seed, fold by fold.

    Args:
        task, card, head_config, config, data: what was trained, how, on what.
        seeds: (S,).
        runs, outcomes: of S seeds times F folds.
        outputs: of each run's head for the labelled rows of the test part of its fold, (n, outputs).
    """

    task: Task
    card: HeadCard
    head_config: Any
    config: TrainConfig
    data: Prepared
    seeds: tuple[int, ...]
    runs: Sequence[Run]
    outcomes: Sequence[Outcome]
    outputs: Sequence[Tensor]

    def predictions(self) -> Predictions:
        """Return the predictions for all tested rows."""
        data, folds = self.data, self.data.plan.folds
        parts = [data.tested(fold.test) for fold in folds]
        by_seed = [
            torch.cat(list(self.outputs[start : start + len(folds)])) for start in range(0, len(self.runs), len(folds))
        ]
        return Predictions(
            clip_ids=[key.clip_id for part in parts for key in part.keys],
            entity_ids=[key.entity_id for part in parts for key in part.keys],
            groups=Groups(np.concatenate([part.groups for part in parts]), data.groups.names, data.groups.notes),
            folds=np.repeat(np.arange(len(folds)), [len(part.keys) for part in parts]),
            fold_names=[fold.name for fold in folds],
            labels=np.concatenate([part.labels for part in parts]),
            preds=np.stack([decide(one, self.task.kind) for one in by_seed]),
            seeds=list(self.seeds),
            classes=data.classes,
            probabilities=torch.stack(by_seed).softmax(-1).numpy() if self.task.kind == "classes" else None,
            times=None if any(part.times is None for part in parts) else np.concatenate([part.times for part in parts]),
            names=data.names,
        )

    def report(self, more: Mapping[str, Any], environment: Mapping[str, Any], started: float) -> Report:
        """Score the predictions.

        Args:
            more: further settings of the training.
            environment: where it ran.
            started: `time.perf_counter()` of its start.
        """
        data, predictions = self.data, self.predictions()
        settings = {**dataclasses.asdict(self.config), **more}
        if "openface" not in data.specs:
            settings.pop("openface_norm", None)
        widen = widening(data.plan, predictions.tested_groups(), data.weights())
        metrics = predictions.score(self.task.metrics, widen=widen)
        return Report(
            task=self.task.name,
            task_version=self.task.version,
            target=data.column,
            head=self.card.name,
            head_config=dataclasses.asdict(self.head_config),
            training=settings,
            inputs={role: spec.name for role, spec in data.specs.items()},
            fingerprints={spec.name: spec.fingerprint for spec in data.specs.values()},
            metric=self.task.metric,
            metrics=metrics,
            predictions=predictions,
            protocol=data.plan.protocol,
            selection=data.plan.selection,
            splits=describe_splits(data.plan, data.groups, data.weights()),
            seconds=time.perf_counter() - started,
            environment=environment,
            curves=self._curves(),
            warnings=self._warnings(),
            extra={
                "parameters": sum(value.numel() for value in self.outcomes[0].state.values()),
                "intervals_widened": round(widen, 4),
                "left_out": data.left_out.counts(),
                **({} if data.clock is None else {"clock": dict(data.clock)}),
            },
        )

    def saved(self) -> SavedHead:
        """Return the heads of all runs as one head to save."""
        return SavedHead(
            task=self.task.name,
            task_version=self.task.version,
            target=self.data.column,
            kind=self.task.kind,
            classes=self.data.classes,
            head=self.card.name,
            config=self.head_config,
            outputs=self.data.outputs,
            inputs=self.data.specs,
            members=tuple(
                Member(run.name, outcome.state, run.scalings)
                for run, outcome in zip(self.runs, self.outcomes, strict=True)
            ),
            seen=np.sort(hashes({self.data.keys[i] for i in seen_rows(self.data.plan).tolist()})),
            names=self.data.names if len(self.data.names) > 1 else (),
            clock=self.data.clock,
        )

    def _curves(self) -> list[Curve]:
        names = [fold.name for fold in self.data.plan.folds]
        return [
            Curve(
                fold=names[i % len(names)],
                seed=run.seed,
                train_loss=tuple(outcome.curves["train_loss"]),
                validation_loss=tuple(outcome.curves["validation_loss"]),
                validation_score=tuple(outcome.curves["validation_score"]),
                best_epoch=outcome.best_epoch,
            )
            for i, (run, outcome) in enumerate(zip(self.runs, self.outcomes, strict=True))
        ]

    def _warnings(self) -> list[str]:
        """Return what a reader must not miss."""
        config, found = self.config, [*self.data.notes, *self.data.left_out.sentences()]
        never = ", ".join(outcome.name for outcome in self.outcomes if outcome.best_epoch == 0)
        if never and config.must_exceed is not None:
            found.append(
                f"The validation {config.metric} of {never} never exceeded {config.must_exceed:g}: the original saves "
                "no head then and fails. The head of the last epoch is scored."
            )
        elif never:
            found.append(
                f"The validation {config.metric} of {never} was undefined in every epoch; the head of the last one "
                "is scored."
            )
        return found
