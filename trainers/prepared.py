"""All that training needs, read and checked: items with features and labels, the folds, and what rows are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store import FeatureSpec, Key
from .aligned_rows import RowTable
from .batches import LeftOut
from .features import Features, Scaling, fixed_min_max, min_max, standard
from .groups import Groups, Ints
from .labels import RowLabels, labels_of
from .protocol import SplitPlan
from .row_features import RowFeatures
from .row_scalings import fold_scalings
from .runs import Run


class Tested(NamedTuple):
    """The labelled rows of some items, n of them.

    `keys`: of each row; `times`: (n,) seconds, None where an item is a whole clip or entity; `groups`: (n,) codes;
    `labels`: (n,) or (n, K).
    """

    keys: list[Key]
    times: npt.NDArray[np.float64] | None
    groups: Ints
    labels: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that training needs. N items have a label and inputs.

    Args:
        keys: what each item is about, (N,); one of scope `clip` has no entity.
        labels: (N,) float32, (N, K) for several outputs, or (N,) int64 class ids; or a label for each row.
        column: where the labels come from.
        classes: names by class id; empty for regression.
        names: of the outputs of a regression.
        features: of the items, and behind them, for training, windows of them.
        specs: role -> feature set.
        groups: of the items.
        plan: the folds.
        left_out: clips of the table that take no part.
        notes: sentences for the report.
        table: for unit `row`: what each row is about; where each item is one row, in the order of the items.
        windows: the items that each fold is trained on, in place of its whole ones.
        clock: for unit `row`: the label set and how inputs are put on its clock.
    """

    keys: Sequence[Key]
    labels: Tensor | RowLabels
    column: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    features: Features | RowFeatures
    specs: Mapping[str, FeatureSpec]
    groups: Groups
    plan: SplitPlan
    left_out: LeftOut
    notes: tuple[str, ...]
    table: RowTable | None = None
    windows: tuple[Ints, ...] | None = None
    clock: Mapping[str, Any] | None = None

    @property
    def outputs(self) -> int:
        """How many outputs a head needs."""
        return len(self.classes) or len(self.names)

    def weights(self) -> Ints:
        """Return how many labelled rows each item has, (N,)."""
        if isinstance(self.labels, RowLabels):
            return self.labels.counts().numpy()[: len(self.keys)]
        return np.ones(len(self.keys), dtype=np.int64)

    def tested(self, items: Ints) -> Tested:
        """Return the labelled rows of some items, in the order of the outputs of `loop.evaluate`."""
        if isinstance(self.labels, RowLabels) and self.table is not None:
            keep, labels = self.labels.of(items)
            rows = self.labels.spans.flat(torch.from_numpy(items))[keep].numpy()
            groups = np.repeat(self.groups.codes[items], self.weights()[items])
            keys = [self.table.keys[code] for code in self.table.key_of_row[rows].tolist()]
            return Tested(keys, self.table.times[rows], groups, labels.numpy())
        times = None if self.table is None else self.table.times[items]
        _, labels = labels_of(self.labels).of(items)
        return Tested([self.keys[i] for i in items.tolist()], times, self.groups.codes[items], labels.numpy())

    def runs(self, seeds: Sequence[int], normalise: str, openface_norm: str | Path | None) -> list[Run]:
        """Return one run for each seed and fold, seed by seed; scalings are fitted on each fold's training rows."""
        folds = self.plan.folds
        if isinstance(self.features, RowFeatures):
            scalings = _row_scalings(self.features, [fold.train for fold in folds], normalise, openface_norm)
        else:
            scalings = [
                _scalings(self.features, torch.from_numpy(fold.train), normalise, openface_norm) for fold in folds
            ]
        trains = [fold.train for fold in folds] if self.windows is None else list(self.windows)
        return [
            Run(run_name(seed, i), seed, self.features, self.labels, trains[i], fold.validation, scalings[i])
            for seed in seeds
            for i, fold in enumerate(folds)
        ]


def _scalings(features: Features, rows: Tensor, normalise: str, openface_norm: str | Path | None) -> dict[str, Scaling]:
    scalings = {}
    for role, values in features.split(features.matrix).items():
        if role == "openface" and openface_norm != "none":
            fitted = openface_norm is None
            scalings[role] = min_max(values[rows]) if fitted else fixed_min_max(str(openface_norm), values.shape[1])
        elif role != "openface" and normalise == "standard":
            scalings[role] = standard(values[rows])
    return scalings


def _row_scalings(
    features: RowFeatures, trains: Sequence[Ints], normalise: str, openface_norm: str | Path | None
) -> list[dict[str, Scaling]]:
    how = {role: "standard" for role in features.dims if role != "openface" and normalise == "standard"}
    fixed: dict[str, Scaling] = {}
    if "openface" in features.dims and openface_norm is None:
        how["openface"] = "min_max"
    elif "openface" in features.dims and openface_norm != "none":
        fixed["openface"] = fixed_min_max(str(openface_norm), features.dims["openface"])
    return [{**fitted, **fixed} for fitted in fold_scalings(features, trains, how)]


def run_name(seed: int, fold: int) -> str:
    """Return the name of the run of a fold (counted from 0) under a seed."""
    return f"seed{seed}.fold{fold}"


def seen_rows(plan: SplitPlan) -> Ints:
    """Return the items that any fold was trained on or selected by, ascending."""
    return np.unique(np.concatenate([np.concatenate([fold.train, fold.validation]) for fold in plan.folds]))
