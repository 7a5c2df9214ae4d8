"""Tasks of unit `row`: label series with inputs on their clock, their groups, folds, and windows for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..store import BadInput, Clip, ClipsTable, FeatureStore, Key
from .aligned_reader import Clock, check_rate
from .aligned_rows import RowItems, RowTable, any_input, every_input, gather_row_items, vectors_of
from .choices import Wanted
from .features import Features
from .groups import Groups, Ints, resolve_groups
from .label_series import LabelColumns, choose_labels, class_names
from .labels import RowLabels
from .memory import limit_bytes
from .planning import ignored_split, plan_for
from .prepared import Prepared
from .protocol import SplitPlan
from .row_features import RowFeatures
from .tasks import Task


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Items, the labels of their rows (R,) or (R, K), which there are (R,), and the names of classes."""

    items: RowItems
    values: npt.NDArray[Any]
    labelled: npt.NDArray[np.bool_]
    classes: tuple[str, ...]


def prepare_rows(
    task: Task, store: FeatureStore, chosen: Mapping[str, str], table: ClipsTable, wanted: Wanted
) -> Prepared:
    """Read what is to be trained on, and plan the folds; see `preparation.prepare`.

    Args:
        task: of unit `row`.
        store: to read from; it must stay open as long as features are streamed.
        chosen: role -> feature set.
        table: says the group, fold and split of each series, by its entity or its clip.
        wanted: the choices.

    Raises:
        NotFound: if there are no labels or features of this name.
        BadInput: if they do not fit the task, or nothing is left of them.
    """
    check_rate(task.rate, task.align)
    if wanted.classes is not None:
        raise BadInput(
            f"{wanted.classes} classes were to be derived from a score.",
            f"Task `{task.name}` takes its classes from a label series.",
            "Import labels that are classes.",
        )
    if wanted.window_rows is not None and wanted.window_rows < 1:
        raise BadInput(
            "Items were to be cut into windows.", f"They have {wanted.window_rows} rows.", "Give 1 row or more."
        )
    columns = choose_labels(task, store, wanted.labels, wanted.target)
    clips, unknown = _clips_of(store, columns.spec.name, table)
    clock = Clock(columns.spec.name, task.align, task.rate)
    scope = wanted.scope if wanted.takes == "rows" else "entity"
    items = gather_row_items(store, list(clips), chosen, clock, scope, limit_bytes(wanted.memory_gib))
    for key in unknown:
        items.left_out.add("not in the clips table", key)
    read = _labels(task, store, columns, clock, items)
    notes = [*items.notes]
    put_together = _with_rows if wanted.takes == "rows" else _with_vectors
    keys, of_items, groups, parts = put_together(read, clips, wanted, notes)
    name, plan = plan_for(of_items, groups, wanted)
    features, labels, windows = parts.features, parts.labels, None
    if wanted.window_rows is not None and isinstance(features, RowFeatures) and isinstance(labels, RowLabels):
        features, labels, windows = _windowed(features, labels, plan, wanted.window_rows)
    return Prepared(
        keys=keys,
        labels=labels,
        column=columns.title,
        classes=read.classes,
        names=() if read.classes else columns.names,
        features=features,
        specs=items.specs,
        groups=groups,
        plan=plan,
        left_out=items.left_out,
        notes=(*notes, *plan.notes, *ignored_split(name, of_items)),
        table=parts.table,
        windows=windows,
        clock={
            "labels": columns.spec.name,
            "fingerprint": columns.spec.fingerprint,
            "align": task.align,
            "rate": task.rate,
            "scope": scope,
        },
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """Features and labels of N items, and what rows are about."""

    features: Features | RowFeatures
    labels: torch.Tensor | RowLabels
    table: RowTable


_Chosen = tuple[Sequence[Key], Sequence[Clip], Groups, _Parts]


def _with_rows(read: _Labelled, clips: Mapping[Key, Clip], wanted: Wanted, notes: list[str]) -> _Chosen:
    """Items with rows: those with a row that counts, which is labelled and has some input."""
    items = read.items
    counts = torch.from_numpy(read.labelled) & any_input(items.features)[: len(read.labelled)]
    _note_unused(read, counts, "any input", notes)
    labels = RowLabels(torch.from_numpy(read.values), counts, items.features.shared)
    kept = torch.nonzero(labels.counts()).flatten()
    chosen = [items.items[i] for i in kept.tolist()]
    _leave_out(items, set(kept.tolist()))
    features = items.features.subset(kept)
    keys = [members[0] if wanted.scope == "entity" else Key(members[0].clip_id) for members in chosen]
    of_items = [_one_clip([clips[key] for key in members]) for members in chosen]
    groups = resolve_groups([clip.group_id for clip in of_items], [key.clip_id for key in keys])
    return keys, of_items, groups, _Parts(features, RowLabels(labels.values, counts, features.shared), items.table)


def _with_vectors(read: _Labelled, clips: Mapping[Key, Clip], wanted: Wanted, notes: list[str]) -> _Chosen:
    """Each row that is labelled and has all inputs is an item with one vector."""
    items = read.items
    counts = torch.from_numpy(read.labelled) & every_input(items.features)[: len(read.labelled)]
    _note_unused(read, counts, "all inputs", notes)
    rows = torch.nonzero(counts).flatten().numpy()
    features = vectors_of(items.features, counts)
    whole = items.table
    table = RowTable(whole.keys, whole.key_of_row[rows], whole.times[rows])
    keys = [table.keys[code] for code in table.key_of_row.tolist()]
    of_items = [clips[key] for key in keys]
    groups = resolve_groups([clip.group_id for clip in of_items], [key.clip_id for key in keys])
    present = set(table.key_of_row.tolist())
    _leave_out(items, {i for i in range(len(items.items)) if i in present})
    return keys, of_items, groups, _Parts(features, torch.from_numpy(read.values[rows]), table)


def _clips_of(store: FeatureStore, feature_set: str, table: ClipsTable) -> tuple[dict[Key, Clip], list[Key]]:
    """Return the row of the clips table for each series: its own, else its clip's; and the keys without one."""
    own = {clip.key: clip for clip in table}
    of_clip: dict[str, Clip] = {}
    for clip in table:
        if clip.entity_id is None or clip.clip_id not in of_clip:
            of_clip[clip.clip_id] = clip
    found: dict[Key, Clip] = {}
    unknown: list[Key] = []
    for one in store.series(feature_set):
        key = Key(one.clip_id, one.entity_id)
        known = own.get(key, of_clip.get(key.clip_id))
        if known is None:
            unknown.append(key)
        else:
            found[key] = known
    if not found:
        raise BadInput(
            f"The label series of `{feature_set}` were to be trained on.",
            f"Of its {len(unknown)} series, the clips table has none.",
            "Import labels of these clips, or give their table with --clips.",
        )
    # In the order of the table, so that it does not matter in which order series were written.
    place = {clip_id: i for i, clip_id in enumerate(of_clip)}
    return dict(sorted(found.items(), key=lambda pair: (place[pair[0].clip_id], pair[0].entity_id or ""))), unknown


def _labels(task: Task, store: FeatureStore, columns: LabelColumns, clock: Clock, items: RowItems) -> _Labelled:
    values, labelled = [], []
    for item, keys in enumerate(items.items):
        parts = [columns.read(clock.series(store, key), task.kind) for key in keys]
        values.append(items.reader.arrange(item, [part[0] for part in parts]))
        labelled.append(items.reader.arrange(item, [part[1] for part in parts]))
    joined, there = np.concatenate(values), np.concatenate(labelled)
    if not there.any():
        raise BadInput(
            f"Task `{task.name}` takes its labels from `{columns.title}` of `{columns.spec.name}`.",
            f"None of its {len(there)} rows is labelled.",
            "Import labels, or name another column with --target.",
        )
    classes = class_names(columns, task, joined[there]) if task.kind == "classes" else ()
    return _Labelled(items, joined, there, classes)


def _note_unused(read: _Labelled, counts: torch.Tensor, what: str, notes: list[str]) -> None:
    """Say how many labelled rows take no part, and refuse if none does."""
    total, used = int(read.labelled.sum()), int(counts.sum())
    if not used:
        raise BadInput(
            f"{total} labelled rows were to be trained on.",
            f"None of them has {what}: labels and features have no time in common.",
            "Check that the times of both are seconds from the start of the clip.",
        )
    if used < total:
        notes.append(f"{total - used} of {total} labelled rows do not have {what}; they take no part.")
    bare = len(read.labelled) - total
    if bare:
        notes.append(f"{bare} of {len(read.labelled)} rows have no label; they are masked.")


def _leave_out(items: RowItems, kept: set[int]) -> None:
    for i, members in enumerate(items.items):
        if i not in kept:
            for key in members:
                items.left_out.add("no labelled row with an input", key)


def _one_clip(clips: Sequence[Clip]) -> Clip:
    """Return the row that stands for all entities of an item.

    Raises:
        BadInput: if they are in different groups, folds or splits.
    """
    first = clips[0]
    for clip in clips[1:]:
        if (clip.group_id, clip.fold, clip.split) != (first.group_id, first.fold, first.split):
            raise BadInput(
                f"The head looks at all entities of clip {first.clip_id!r} together.",
                f"Its entities {first.entity_id!r} and {clip.entity_id!r} are in different groups, folds or splits.",
                "Use a head for single entities, or give the entities of a clip one group_id.",
            )
    return first


def _windowed(
    features: RowFeatures, labels: RowLabels, plan: SplitPlan, rows: int
) -> tuple[RowFeatures, RowLabels, tuple[Ints, ...]]:
    """Add windows of all items; return which of them each fold is trained on: those with a row that counts."""
    items = len(features)
    cut, whole = features.windowed(rows)
    cut_labels = RowLabels(labels.values, labels.labelled, cut.shared)
    useful = (cut_labels.counts() > 0).numpy()
    useful[:items] = False
    belongs = whole.numpy()
    windows = tuple(np.flatnonzero(useful & np.isin(belongs, fold.train)) for fold in plan.folds)
    return cut, cut_labels, windows
