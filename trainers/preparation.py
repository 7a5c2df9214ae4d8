"""From a store and a task to training runs: which inputs, which clips, which folds, which scalings.

Everything that can be refused is refused here, before any training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..store import BadInput, Clip, ClipsTable, FeatureSpec, FeatureStore, NotFound
from ..store.errors import nearest
from .batches import LeftOut, gather
from .features import NORMALISATIONS, Features, Scaling, fixed_min_max, min_max, standard
from .groups import Groups, resolve_groups
from .heads.mlp import ROLES
from .protocol import PROTOCOLS, SplitPlan, plan_splits
from .runs import Run
from .targets import read_target
from .tasks import Task

# `default` takes the table's own folds or split where it has them, else a group k-fold.
DEFAULT = "default"
_ROLE = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that training needs. N clips have a label and all inputs.

    Args:
        clips: (N,).
        labels: (N,) float32, or int64 class ids.
        column: where the labels come from.
        classes: names by class id; empty for regression.
        features: of the clips.
        specs: role -> feature set.
        groups: of the clips.
        plan: the folds.
        left_out: clips of the table that take no part.
        notes: sentences for the report.
    """

    clips: tuple[Clip, ...]
    labels: Tensor
    column: str
    classes: tuple[str, ...]
    features: Features
    specs: Mapping[str, FeatureSpec]
    groups: Groups
    plan: SplitPlan
    left_out: LeftOut
    notes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """How many outputs a head needs."""
        return len(self.classes) or 1

    def runs(self, seeds: Sequence[int], normalise: str, openface_norm: str | Path | None) -> list[Run]:
        """Return one run for each seed and fold, seed by seed; scalings are fitted on each fold's training rows."""
        scalings = [self._scalings(torch.from_numpy(fold.train), normalise, openface_norm) for fold in self.plan.folds]
        return [
            Run(run_name(seed, i), seed, self.features, self.labels, fold.train, fold.validation, scalings[i])
            for seed in seeds
            for i, fold in enumerate(self.plan.folds)
        ]

    def _scalings(self, rows: Tensor, normalise: str, openface_norm: str | Path | None) -> dict[str, Scaling]:
        scalings = {}
        for role, values in self.features.split(self.features.matrix).items():
            if role == "openface" and openface_norm != "none":
                fitted = openface_norm is None
                scalings[role] = min_max(values[rows]) if fitted else fixed_min_max(str(openface_norm), values.shape[1])
            elif role != "openface" and normalise == "standard":
                scalings[role] = standard(values[rows])
        return scalings


def run_name(seed: int, fold: int) -> str:
    """Return the name of the run of a fold (counted from 0) under a seed."""
    return f"seed{seed}.fold{fold}"


def choose_inputs(task: Task, store: FeatureStore, inputs: Mapping[str, str] | None) -> dict[str, str]:
    """Return role -> feature set in the order of the roles: the given ones, else those whose names fit the
    task.

    Raises:
        NotFound: if there is none, or a given feature set does not exist.
        BadInput: if several fit one role, or a role is no simple word.
    """
    if inputs is None:
        numeric = [name for name in store.feature_sets() if store.spec(name).kind == "numeric"]
        inputs = task.default_inputs(numeric, str(store.path))
    for role in inputs:
        if not _ROLE.fullmatch(role):
            raise BadInput(
                f"An input was given the role {role!r}.",
                "A role is a word of small letters, digits, `-` and `_`.",
                f"Use one of {', '.join(ROLES)}, or another such word.",
            )
    if not inputs:
        raise BadInput(
            f"Task `{task.name}` was given no inputs.", "It needs at least one.", "Use --input ROLE=FEATURE_SET."
        )
    known = [role for role in ROLES if role in inputs]
    return {role: inputs[role] for role in (*known, *sorted(inputs.keys() - set(known)))}


def prepare(
    task: Task,
    store: FeatureStore,
    *,
    inputs: Mapping[str, str] | None,
    target: str | None,
    classes: int | None,
    protocol: str,
    folds: int,
    validation_fraction: float,
    table: ClipsTable | None = None,
) -> Prepared:
    """Read what is to be trained on, and plan the folds. Arguments as those of `train_head`.

    Raises:
        NotFound, BadInput: as `choose_inputs`, `read_target`, `gather` and `plan_splits`.
    """
    chosen = choose_inputs(task, store, inputs)
    table = store.clips() if table is None else table
    labels = read_target(task, table, target, classes)
    gathered = gather(store, labels.clips, chosen)
    clips = tuple(labels.clips[i] for i in gathered.kept)
    for clip in labels.unlabelled:
        gathered.left_out.add(f"no label in `{labels.column}`", clip.key)
    groups = resolve_groups([clip.group_id for clip in clips], [clip.clip_id for clip in clips])
    name = _split_protocol(protocol, clips)
    plan = plan_splits(
        name,
        groups,
        folds=folds,
        fold_column=[clip.fold for clip in clips],
        split_column=[clip.split for clip in clips],
        selection="test" if name == "sempi" else "inner",
        validation_fraction=validation_fraction,
    )
    return Prepared(
        clips=clips,
        labels=torch.from_numpy(labels.values[gathered.kept]),
        column=labels.column,
        classes=labels.classes,
        features=gathered.features,
        specs=gathered.specs,
        groups=groups,
        plan=plan,
        left_out=gathered.left_out,
        notes=(*labels.notes, *plan.notes, *_ignored_split(name, clips), *_outside(store, chosen, table)),
    )


def _ignored_split(protocol: str, clips: Sequence[Clip]) -> list[str]:
    """Say so if the table has a split that this way to split does not look at."""
    if protocol == "table-split" or all(clip.split is None for clip in clips):
        return []
    return [f"The table has a split, which `{protocol}` does not look at; --protocol table-split does."]


def _outside(store: FeatureStore, chosen: Mapping[str, str], table: ClipsTable) -> list[str]:
    """Say which inputs have series of clips that the table does not know: they take no part."""
    keys = [clip.key for clip in table]
    notes = []
    for name in chosen.values():
        count = len(store.series(name)) - (len(keys) - len(store.missing(name, keys)))
        if count:
            notes.append(
                f"{count} series of `{name}` belong to clips that the clips table does not list (the newest one in the "
                "store, unless another was given); they take no part. Give a table of all clips with --clips."
            )
    return notes


def _split_protocol(name: str, clips: Sequence[Clip]) -> str:
    """Return the name of the split protocol that a training protocol uses on these clips."""
    if name != DEFAULT:
        if name not in PROTOCOLS:
            raise NotFound(
                f"The protocol `{name}` was asked for.",
                "There is none of this name.",
                nearest(name, [DEFAULT, *PROTOCOLS]),
            )
        return name
    if any(clip.fold is not None for clip in clips):
        return "table-folds"
    if any(clip.split is not None for clip in clips):
        return "table-split"
    return "group-k-fold"


def check_choices(normalise: str, seeds: Sequence[int]) -> None:
    """Refuse an unknown normalisation, and seeds that are none, negative or repeated.

    Raises:
        NotFound, BadInput: accordingly.
    """
    if normalise not in NORMALISATIONS:
        raise NotFound(
            f"Normalisation `{normalise}` was asked for.",
            "There is none of this name.",
            nearest(normalise, list(NORMALISATIONS)),
        )
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise BadInput(
            f"Training with the seeds {', '.join(map(str, seeds)) or 'none'} was asked for.",
            "Seeds are different whole numbers from 0 to 4294967295, at least one.",
            "Mend --seed.",
        )


def seen_rows(plan: SplitPlan) -> np.ndarray:
    """Return the rows that any fold was trained on or selected by, ascending."""
    return np.unique(np.concatenate([np.concatenate([fold.train, fold.validation]) for fold in plan.folds]))
