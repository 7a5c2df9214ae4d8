"""From a store and a task to training runs: which inputs, which clips, which folds, which scalings.

Everything that can be refused is refused here, before any training. Tasks of unit `row` are prepared by
`row_preparation`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..store import BadInput, ClipsTable, FeatureStore
from .batches import gather
from .choices import Wanted, choose_inputs
from .clip_rows import gather_clip_rows
from .features import Features
from .groups import resolve_groups
from .memory import limit_bytes
from .planning import ignored_split, plan_for
from .prepared import Prepared
from .row_features import RowFeatures
from .row_preparation import prepare_rows
from .targets import read_target
from .tasks import Task


def prepare(task: Task, store: FeatureStore, wanted: Wanted, table: ClipsTable | None = None) -> Prepared:
    """Read what is to be trained on, and plan the folds.

    Args:
        task: what to predict.
        store: to read from; it must stay open as long as features are streamed.
        wanted: the choices.
        table: None for the newest in the store.

    Raises:
        NotFound, BadInput: as `choose_inputs`, `read_target`, `gather` and `plan_splits`.
    """
    chosen = choose_inputs(task, store, wanted.inputs)
    table = store.clips() if table is None else table
    if task.unit == "row":
        return prepare_rows(task, store, chosen, table, wanted)
    if wanted.labels is not None or wanted.window_rows is not None:
        raise BadInput(
            f"Task `{task.name}` was given a label series, or rows of a window.",
            "It has one label for each clip, in the clips table.",
            "Leave --labels and --window-rows out.",
        )
    labels = read_target(task, table, wanted.target, wanted.classes)
    features: Features | RowFeatures
    if wanted.takes == "rows":
        rows = gather_clip_rows(store, [clip.key for clip in labels.clips], chosen, limit_bytes(wanted.memory_gib))
        kept, features, specs, left_out, more = rows.kept, rows.features, rows.specs, rows.left_out, rows.notes
    else:
        found = gather(store, labels.clips, chosen)
        kept, features, specs, left_out, more = found.kept, found.features, found.specs, found.left_out, ()
    clips = tuple(labels.clips[i] for i in kept)
    for clip in labels.unlabelled:
        left_out.add(f"no label in `{labels.column}`", clip.key)
    groups = resolve_groups([clip.group_id for clip in clips], [clip.clip_id for clip in clips])
    name, plan = plan_for(clips, groups, wanted)
    return Prepared(
        keys=[clip.key for clip in clips],
        labels=torch.from_numpy(labels.values[kept]),
        column=labels.column,
        classes=labels.classes,
        names=labels.names,
        features=features,
        specs=specs,
        groups=groups,
        plan=plan,
        left_out=left_out,
        notes=(*labels.notes, *plan.notes, *more, *ignored_split(name, clips), *_outside(store, chosen, table)),
    )


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
