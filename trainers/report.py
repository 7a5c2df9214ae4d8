"""The report of a training run: what was trained on what, how it scored, what is needed to judge or repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import make_folder, write_atomic
from .groups import Groups, Ints
from .intervals import Score, interval_note
from .metrics import metric
from .predictions import Predictions
from .protocol import SplitPlan
from .report_text import document, header, row, terminal

FORMAT = 1


@dataclass(frozen=True)
class Curve:
    """How one run (a fold under a seed) went.

    Args:
        fold: name of the fold.
        seed: of the run.
        train_loss, validation_loss, validation_score: one number per epoch.
        best_epoch: the epoch that was kept, counted from 1; 0 if none was an improvement.
    """

    fold: str
    seed: int
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_score: tuple[float, ...]
    best_epoch: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "fold": self.fold,
            "seed": self.seed,
            "best_epoch": self.best_epoch,
            "train_loss": list(self.train_loss),
            "validation_loss": list(self.validation_loss),
            "validation_score": list(self.validation_score),
        }


def describe_splits(plan: SplitPlan, groups: Groups, weights: Ints | None = None) -> list[dict[str, Any]]:
    """Return for each fold its name, the numbers of rows and groups of each part, and the groups that it tests.

    Args:
        plan: the folds, of N items.
        groups: of the items.
        weights: rows of each item that have a label, (N,); None for one each.
    """
    rows_of = np.ones(groups.codes.size, dtype=np.int64) if weights is None else weights
    described = []
    for fold in plan.folds:
        parts = {part: getattr(fold, part) for part in ("train", "validation", "test")}
        tested = np.unique(groups.codes[fold.test])
        described.append(
            {
                "name": fold.name,
                "rows": {part: int(rows_of[items].sum()) for part, items in parts.items()},
                "groups": {part: int(np.unique(groups.codes[items]).size) for part, items in parts.items()},
                "tested_groups": [groups.names[code] for code in tested],
            }
        )
    return described


@dataclass(frozen=True, eq=False)
class Report:
    """Everything about a training run.

    Args:
        task, task_version, target: what was to be predicted; target is the label column.
        head, head_config: what was trained.
        training: settings of the loop: loss, optimiser, epochs, batch size ….
        inputs: role -> feature set. fingerprints: feature set -> fingerprint.
        metric: name of the one that selected, shown first. metrics: name -> score.
        predictions: out-of-fold.
        protocol, selection: how rows were split, and what selected the epoch. splits: see `describe_splits`.
        seconds: wall time of the whole training.
        environment: see `environment.environment`.
        curves: one per run.
        warnings: sentences that a reader must not miss.
        extra: anything else that is plain JSON.
    """

    task: str
    task_version: int
    target: str
    head: str
    head_config: Mapping[str, Any]
    training: Mapping[str, Any]
    inputs: Mapping[str, str]
    fingerprints: Mapping[str, str]
    metric: str
    metrics: Mapping[str, Score]
    predictions: Predictions
    protocol: str
    selection: str
    splits: Sequence[Mapping[str, Any]]
    seconds: float
    environment: Mapping[str, Any]
    curves: Sequence[Curve] = ()
    warnings: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of tested rows."""
        return len(self.predictions.clip_ids)

    @property
    def groups(self) -> int:
        """Number of tested groups."""
        return self.predictions.tested_groups()

    def all_warnings(self) -> list[str]:
        """Return the given warnings, the one about few groups, and the remarks of each score, each once."""
        note = interval_note(self.groups)
        remarks = [f"{metric(name).title}: {reason}" for name, one in self.metrics.items() for reason in one.reasons]
        return list(dict.fromkeys([*self.warnings, *([note] if note else []), *remarks]))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values only; what is no number is null, with a warning that says where and why."""
        nulls: list[str] = []
        content = {
            "format": FORMAT,
            "task": self.task,
            "task_version": self.task_version,
            "target": self.target,
            "classes": list(self.predictions.classes),
            **self._outputs(),
            "head": self.head,
            "head_config": dict(self.head_config),
            "training": dict(self.training),
            "inputs": dict(self.inputs),
            "fingerprints": dict(self.fingerprints),
            "metric": self.metric,
            "metrics": {name: one.to_json() for name, one in self.metrics.items()},
            "n": self.n,
            "groups": self.groups,
            "seeds": list(self.predictions.seeds),
            "protocol": self.protocol,
            "selection": self.selection,
            "splits": [dict(split) for split in self.splits],
            "seconds": round(float(self.seconds), 3),
            "environment": dict(self.environment),
            "runs": [curve.to_json() for curve in self.curves],
            **self.extra,
        }
        plain = {name: plain_json(value, name, nulls) for name, value in content.items()}
        warnings = self.all_warnings()
        if nulls:
            more = f" and {len(nulls) - 5} more" if len(nulls) > 5 else ""
            warnings.append(f"Not a finite number, hence null: {', '.join(nulls[:5])}{more}.")
        plain["warnings"] = warnings
        return plain

    def _outputs(self) -> dict[str, Any]:
        """Names of several outputs, and the selecting metric of each over all rows, averaged over seeds."""
        if len(self.predictions.names) < 2:
            return {}
        scores = {name: float(np.mean(each)) for name, each in self.predictions.per_output(self.metric).items()}
        return {"outputs": list(self.predictions.names), "per_output": {self.metric: scores}}

    def to_markdown_row(self) -> str:
        """Return one table row; `markdown_header` of reports with the same metrics goes above it."""
        return row(self.to_json())

    def markdown_header(self) -> str:
        """Return the two lines above `to_markdown_row`."""
        return header(self.to_json())

    def to_text(self) -> str:
        """Return the scores as a table for a terminal, with the warnings below."""
        return terminal(self.to_json())

    def write(self, folder: Path, pictures: bool = True) -> None:
        """Write report.json, report.md, predictions.csv and the pictures; each file appears whole or not at
        all.

        Args:
            folder: is created; files of other names in it are left alone.
            pictures: learning_curves.png, and predictions.png or confusion.png.

        Raises:
            BadInput: the folder's name belongs to a file.
        """
        make_folder(folder)
        drawn: list[str] = []
        if pictures:
            from .plots import draw

            drawn = draw(self, folder)
        content = self.to_json()
        write_atomic(folder / "predictions.csv", self.predictions.to_csv())
        write_atomic(folder / "report.md", document(content, drawn))
        # Last: who finds a report.json finds all files that it goes with.
        write_atomic(folder / "report.json", json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def plain_json(value: Any, where: str, nulls: list[str]) -> Any:
    """Return a value as plain JSON: numpy scalars and tuples converted, NaN and Inf as None and noted in `nulls`."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item, f"{where}.{key}", nulls) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_json(item, f"{where}[{i}]", nulls) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        nulls.append(where)
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
