"""What a task names: target, unit of prediction, inputs, head, loss, folds, metrics. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ...store.errors import BadInput, NotFound


@dataclass(frozen=True)
class Task:
    """One thing that heads are trained for. The version is raised whenever results stop being comparable.

    Args:
        name: as used on the command line.
        version: counts from 1.
        title: one line for lists.
        target: label column of the clips table.
        unit: what one prediction is about: `clip` (one row of the clips table).
        kind: `regression` or `classes`.
        inputs: role -> patterns of backbone names (the part of a feature set's name before its first dot).
        extract: role -> the options of `cuebank extract` that make a feature set for it; roles without are not
            made by it.
        head: name of the default head.
        head_settings: settings of the default head where they differ from its own defaults.
        loss: name of the default loss.
        sampler: `shuffled` or `balanced` (see `sampling`).
        folds: how many, where the clips table has none.
        metric: the one that selects and is shown first.
        metrics: all that are reported.
        classes: how many there may be, for `classes`.
        score_range: lowest and highest value of the score that classes may be derived from.
    """

    name: str
    version: int
    title: str
    target: str
    unit: str
    kind: str
    inputs: Mapping[str, tuple[str, ...]]
    extract: Mapping[str, str]
    head: str
    loss: str
    metric: str
    metrics: tuple[str, ...]
    head_settings: Mapping[str, Any] = field(default_factory=dict)
    sampler: str = "shuffled"
    folds: int = 5
    classes: tuple[int, ...] = ()
    score_range: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return name, version, title, target, unit, kind, inputs, head, loss, sampler, folds, metric and metrics."""
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "target": self.target,
            "unit": self.unit,
            "kind": self.kind,
            "inputs": {role: list(patterns) for role, patterns in self.inputs.items()},
            "head": self.head,
            "loss": self.loss,
            "sampler": self.sampler,
            "folds": self.folds,
            "metric": self.metric,
            "metrics": list(self.metrics),
        }

    def default_inputs(self, feature_sets: Sequence[str], store: str) -> dict[str, str]:
        """Choose the feature set of each role by its name.

        Args:
            feature_sets: names of those in the store.
            store: the store's path, for messages.

        Returns:
            role -> feature set, for the roles that the store has.

        Raises:
            NotFound: if no role has any; the message says what to run.
            BadInput: if a role has several; the message says how to choose.

        Example:
            >>> from . import task
            >>> task("engagement").default_inputs(["hubert-base.ls960@last", "x.y"], "features.zarr")
            {'audio': 'hubert-base.ls960@last'}
        """
        chosen = {}
        for role, patterns in self.inputs.items():
            fitting = [
                name for name in feature_sets if any(fnmatchcase(name.split(".", 1)[0], one) for one in patterns)
            ]
            if len(fitting) > 1:
                raise BadInput(
                    f"Task `{self.name}` takes one feature set as {role}.",
                    f"The store has {len(fitting)}: {', '.join(f'`{name}`' for name in sorted(fitting))}.",
                    f"Choose one, naming all inputs to use: --input {role}={sorted(fitting)[0]}",
                )
            if fitting:
                chosen[role] = fitting[0]
        if not chosen:
            has = ", ".join(f"`{name}`" for name in sorted(feature_sets)) or "no feature set at all"
            lines = " or ".join(
                f"cuebank extract {options} --clips clips.csv --store {store}" for options in self.extract.values()
            )
            raise NotFound(
                f"Task `{self.name}` takes features for any of {', '.join(self.inputs)}.",
                f"The store `{store}` has {has}.",
                f"Run: {lines}; or name an input: --input audio=FEATURE_SET",
            )
        return chosen
