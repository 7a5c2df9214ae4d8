"""What a training run is asked for: its inputs, its way to split, its seeds. Checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..store import BadInput, Clip, FeatureStore, NotFound
from ..store.errors import nearest
from .features import NORMALISATIONS
from .heads.mlp import ROLES
from .protocol import PROTOCOLS, VALIDATION_FRACTION
from .tasks import Task

# `default` takes the table's own folds or split where it has them, else a group k-fold.
DEFAULT = "default"
_ROLE = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Wanted:
    """What is to be prepared, beside the task. Fields as the arguments of `train_head`.

    Args:
        takes, scope: of the head, see `Head`.
    """

    inputs: Mapping[str, str] | None = None
    target: Sequence[str] | None = None
    labels: str | None = None
    classes: int | None = None
    protocol: str = "default"
    folds: int = 5
    validation_fraction: float = VALIDATION_FRACTION
    takes: str = "vector"
    scope: str = "entity"
    window_rows: int | None = None
    memory_gib: float | None = None


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


def split_protocol(name: str, clips: Sequence[Clip]) -> str:
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
