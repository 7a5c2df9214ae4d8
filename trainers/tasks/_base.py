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
        target: label column, of the clips table or, for unit `row`, of a label series; several columns are several
            outputs.
        unit: what one prediction is about: `clip` (one row of the clips table), or `row` (one row of a label series).
        kind: `regression` or `classes`.
        inputs: role -> patterns of backbone names (the part of a feature set's name before its first dot), or with `@`
            or `+` in them, of whole names.
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
        training: settings of `TrainConfig` where they differ from its defaults.
        normalise: `none` or `standard`.
        protocol: `default`, or a way to split by name.
        labels: for unit `row`: patterns of label sets, where a store has several with the columns.
        positive: for unit `row`: the one class that counts as positive, all others being the other; None: all classes.
        align: for unit `row`: how inputs are put on the labels' clock: `nearest`, `mean` or `linear`.
        rate: for unit `row`: an exact rate in Hz, such as `4` or `30000/1001`, on which labels and inputs are put; None
            keeps the labels' own clock.
        window_rows: for unit `row`: items are cut into windows of so many rows in training; None: they are not.
    """

    name: str
    version: int
    title: str
    target: str | tuple[str, ...]
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
    training: Mapping[str, Any] = field(default_factory=dict)
    normalise: str = "none"
    protocol: str = "default"
    labels: tuple[str, ...] = ()
    positive: str | None = None
    align: str = "nearest"
    rate: str | None = None
    window_rows: int | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The label columns."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def allowed(self) -> str:
        """How many classes there may be, in words.

        Example:
            >>> from . import task
            >>> task("engagement-class").allowed
            '2 or 3'
        """
        if len(self.classes) > 3 and self.classes[-1] - self.classes[0] == len(self.classes) - 1:
            return f"{self.classes[0]} to {self.classes[-1]}"
        return " or ".join(map(str, self.classes))

    def to_json(self) -> dict[str, Any]:
        """Return what defines the task, as plain JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "target": ", ".join(self.targets),
            "unit": self.unit,
            "kind": self.kind,
            "inputs": {role: list(patterns) for role, patterns in self.inputs.items()},
            "head": self.head,
            "loss": self.loss,
            "sampler": self.sampler,
            "folds": self.folds,
            "metric": self.metric,
            "metrics": list(self.metrics),
            "training": dict(self.training),
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
            fitting = [name for name in feature_sets if any(matches(name, one) for one in patterns)]
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
            lines = "".join(
                f"{'Run:' if i == 0 else ' or'} cuebank extract {options} --clips clips.csv --store {store}"
                for i, options in enumerate(self.extract.values())
            )
            role = next(iter(self.inputs), "audio")
            raise NotFound(
                f"Task `{self.name}` takes features for any of {', '.join(self.inputs)}.",
                f"The store `{store}` has {has}.",
                f"{lines}; or name an input: --input {role}=FEATURE_SET"
                if lines
                else f"Name an input: --input {role}=NAME",
            )
        return chosen


def matches(feature_set: str, pattern: str) -> bool:
    """Whether a name fits a pattern: its backbone, or all of it if the pattern says something of layer or pooling.

    Example:
        >>> matches("hubert-base.ls960@9", "hubert*"), matches("light-asd.ava@audio", "light-asd*@audio")
        (True, True)
    """
    whole = "@" in pattern or "+" in pattern
    return fnmatchcase(feature_set if whole else feature_set.split(".", 1)[0], pattern)
