"""The folds of a training run, by its protocol and what the clips table says of each item."""

from __future__ import annotations

from collections.abc import Sequence

from ..store import Clip
from .choices import Wanted, split_protocol
from .groups import Groups
from .protocol import SplitPlan, plan_splits


def plan_for(clips: Sequence[Clip], groups: Groups, wanted: Wanted) -> tuple[str, SplitPlan]:
    """Plan the folds.

    Args:
        clips: the row of the clips table that stands for each item, (N,).
        groups: of the items.
        wanted: protocol, folds, share of validation.

    Returns:
        The name of the way to split, and the folds.

    Raises:
        NotFound, BadInput: as `split_protocol` and `plan_splits`.
    """
    name = split_protocol(wanted.protocol, clips)
    plan = plan_splits(
        name,
        groups,
        folds=wanted.folds,
        fold_column=[clip.fold for clip in clips],
        split_column=[clip.split for clip in clips],
        selection="test" if name == "sempi" else "inner",
        validation_fraction=wanted.validation_fraction,
    )
    return name, plan


def ignored_split(protocol: str, clips: Sequence[Clip]) -> list[str]:
    """Say so if the table has a split that this way to split does not look at."""
    if protocol == "table-split" or all(clip.split is None for clip in clips):
        return []
    return [f"The table has a split, which `{protocol}` does not look at; --protocol table-split does."]
