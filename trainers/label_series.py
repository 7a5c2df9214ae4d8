"""Labels on their own clock: a feature set of kind `label`, some of whose columns are the target of a task.

What `cuebank import-labels` writes says in its recipe which columns there are, and the classes of those that held
names. A row counts as labelled where it is valid and its target columns are finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store import BadInput, FeatureSpec, FeatureStore, NotFound, Series
from ..store.errors import nearest
from ..store.import_labels import STEP
from .tasks import Task
from .tasks._base import matches


@dataclass(frozen=True, eq=False)
class LabelColumns:
    """Where a task's labels are in a label set.

    Args:
        spec: of the feature set.
        positions: of the target columns.
        names: of these.
        classes: names of the column's classes by id; empty for numbers, and where the set does not say.
        positive: for two classes, which id is the positive one; all others are the other. None: ids are taken as they
            are.
    """

    spec: FeatureSpec
    positions: tuple[int, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...] = ()
    positive: int | None = None

    @property
    def title(self) -> str:
        """The target in words."""
        return ", ".join(self.names)

    def read(self, series: Series, kind: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return the labels of a series' rows and which there are.

        Args:
            series: of the label set.
            kind: `regression` or `classes`.

        Returns:
            (T,) int64 class ids, or (T,) or (T, K) float32; and (T,) bool.

        Raises:
            BadInput: if a class id is no whole number of its classes.
        """
        values = np.asarray(series.values, dtype=np.float64)[:, list(self.positions)]
        labelled = series.valid & np.isfinite(values).all(1)
        values = np.where(labelled[:, None], values, 0.0)
        if kind == "regression":
            return (values if len(self.positions) > 1 else values[:, 0]).astype(np.float32), labelled
        ids = values[:, 0].astype(np.int64)
        most = len(self.classes) or 4096
        if (ids != values[:, 0]).any() or (ids < 0).any() or (ids >= most).any():
            wrong = values[(ids != values[:, 0]) | (ids < 0) | (ids >= most), 0][0]
            raise BadInput(
                f"Column `{self.title}` of `{self.spec.name}` was read as classes.",
                f"It holds {wrong:g}, which is no class.",
                "Name a column of classes with --target.",
            )
        return (ids if self.positive is None else (ids == self.positive).astype(np.int64)), labelled


def columns_of(spec: FeatureSpec) -> tuple[list[str], Mapping[str, Sequence[str]]]:
    """Return the names of a label set's columns, and the classes of those that have names.

    A set whose recipe does not say has the columns `0`, `1`, ….
    """
    for step in spec.recipe.preprocessing:
        if step.get("step") == STEP and len(step.get("columns", ())) == spec.dim:
            classes = step.get("classes", {})
            return [str(name) for name in step["columns"]], {str(key): list(map(str, classes[key])) for key in classes}
    return [str(i) for i in range(spec.dim)], {}


def choose_labels(
    task: Task, store: FeatureStore, feature_set: str | None = None, target: Sequence[str] | None = None
) -> LabelColumns:
    """Find the labels of a task in a store.

    Args:
        task: of unit `row`.
        store: to look into.
        feature_set: name of the label set; None: the only one that fits.
        target: columns; None: the task's.

    Raises:
        NotFound: if there is none, or it has no such column.
        BadInput: if several fit, or the columns are not what the task predicts.
    """
    wanted = tuple(target or task.targets)
    asked = f"Task `{task.name}` takes its labels, `{', '.join(wanted)}`, from a label series."
    spec = _set(task, store, feature_set, wanted, asked)
    names, classes = columns_of(spec)
    if len(names) == 1 and names == ["0"] and len(wanted) == 1:
        names = list(wanted)  # one column, whose name nobody recorded
    absent = next((name for name in wanted if name not in names), None)
    if absent is not None:
        raise NotFound(
            asked, f"`{spec.name}` has no column `{absent}`.", f"{nearest(absent, names)} Name it with --target."
        )
    if task.kind == "classes" and len(wanted) > 1:
        raise BadInput(asked, "Classes can be predicted for one column only.", "Name one column with --target.")
    named = tuple(classes.get(wanted[0], ()))
    if task.kind == "regression" and any(name in classes for name in wanted):
        raise BadInput(asked, f"It holds names, such as {named[:1] or 'a class'}.", "Name a column of numbers.")
    found = LabelColumns(spec, tuple(names.index(name) for name in wanted), wanted, named)
    return found if task.positive is None else _binary(found, task.positive, asked)


def _binary(found: LabelColumns, positive: str, asked: str) -> LabelColumns:
    """Tell one class from all others; a column of numbers has 1 for it."""
    if found.classes and positive not in found.classes:
        known = list(found.classes)
        raise BadInput(asked, f"None of its classes is `{positive}`. {nearest(positive, known)}", "Mend the labels.")
    place = found.classes.index(positive) if found.classes else 1
    return LabelColumns(found.spec, found.positions, found.names, found.classes, place)


def _set(task: Task, store: FeatureStore, feature_set: str | None, wanted: Sequence[str], asked: str) -> FeatureSpec:
    """Return the label set that was named, else the only one with the columns."""
    if feature_set is not None:
        spec = store.spec(feature_set)
        if spec.kind != "label":
            raise BadInput(asked, f"`{feature_set}` is of kind {spec.kind}.", "Name a feature set of kind label.")
        return spec
    labels = [spec for spec in map(store.spec, store.feature_sets()) if spec.kind == "label"]
    fitting = [spec for spec in labels if any(matches(spec.name, one) for one in task.labels)] or labels
    holding = [spec for spec in fitting if set(wanted) <= set(columns_of(spec)[0])] or fitting
    if not holding:
        raise NotFound(
            asked,
            f"The store {store.path} has none.",
            f"Run: cuebank import-labels labels.csv --as {task.name} --store {store.path}",
        )
    if len(holding) > 1:
        names = ", ".join(f"`{spec.name}`" for spec in holding)
        raise BadInput(asked, f"The store has several: {names}.", f"Choose one: --labels {holding[0].name}")
    return holding[0]


def class_names(found: LabelColumns, task: Task, ids: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the names of the classes by id.

    Args:
        found: the columns.
        task: says how many classes there may be.
        ids: of all labelled rows, (n,).

    Raises:
        BadInput: if there are too few or too many, or only one that occurs.
    """
    counts = np.bincount(ids, minlength=1)
    asked = f"Task `{task.name}` takes its classes from `{found.title}` of `{found.spec.name}`."
    if found.positive is not None:
        other = next((name for i, name in enumerate(found.classes) if i != found.positive), "other")
        positive = found.classes[found.positive] if found.classes else str(task.positive)
        names: tuple[str, ...] = (other if len(found.classes) == 2 else f"not {positive}", positive)
    else:
        names = found.classes or tuple(map(str, range(counts.size)))
    if len(names) not in task.classes:
        raise BadInput(asked, f"It has {len(names)} classes.", f"It knows {task.allowed}.")
    if np.count_nonzero(counts) < 2:
        raise BadInput(asked, "All labelled rows are of one class.", "Classes need at least two different labels.")
    return names
