"""What a trained head is to predict: the clips of a store, or the rows of a clock, with its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..store import BadInput, Clip, FeatureStore, Key, NotFound
from . import heads
from .aligned_reader import Clock
from .aligned_rows import any_input, every_input, gather_row_items, vectors_of
from .batches import LeftOut, gather
from .clip_rows import gather_clip_rows
from .features import Features
from .row_features import RowFeatures
from .saved_head import SavedHead


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be predicted: N items, n rows of the result.

    Args:
        features: of the items.
        keys: of each row of the result, (n,). times: (n,), or None.
        rows: which of the outputs of `evaluate` they are, (n,).
        item_keys: (N,), as `train_head` hashed them. item_of_row: (n,).
        left_out: what cannot be predicted.
    """

    features: Features | RowFeatures
    keys: Sequence[Key]
    times: npt.NDArray[np.float64] | None
    rows: npt.NDArray[np.int64]
    item_keys: Sequence[Key]
    item_of_row: npt.NDArray[np.int64]
    left_out: LeftOut


def items_for(
    saved: SavedHead,
    store: FeatureStore,
    inputs: Mapping[str, str],
    clock: str | None,
    limit: int,
    notes: list[str],
) -> Asked:
    """Gather the features that a head looks at."""
    card = heads.head(saved.head)
    if saved.clock is not None:
        return _asked_rows(saved, store, inputs, clock, card.takes, limit, notes)
    clips = _clips(store, next(iter(inputs.values())))
    features: Features | RowFeatures
    if card.takes == "rows":
        found = gather_clip_rows(store, [clip.key for clip in clips], inputs, limit)
        features, kept, left_out = found.features, found.kept, found.left_out
        notes += found.notes
    else:
        gathered = gather(store, clips, inputs)
        features, kept, left_out = gathered.features, gathered.kept, gathered.left_out
    keys = [clips[i].key for i in kept]
    every = np.arange(len(keys))
    return Asked(features, keys, None, every, keys, every, left_out)


def _asked_rows(
    saved: SavedHead,
    store: FeatureStore,
    inputs: Mapping[str, str],
    clock: str | None,
    takes: str,
    limit: int,
    notes: list[str],
) -> Asked:
    """Gather rows on the clock; those without any input (for heads that take vectors: without all) are left out."""
    how = saved.clock or {}
    name = clock or (how["labels"] if how["labels"] in store.feature_sets() else next(iter(inputs.values())))
    notes.append(f"The rows are those of `{name}`.")
    keys = [Key(one.clip_id, one.entity_id) for one in store.series(name)]
    found = gather_row_items(store, keys, inputs, Clock(name, how["align"], how["rate"]), how["scope"], limit)
    notes += found.notes
    usable = any_input(found.features) if takes == "rows" else every_input(found.features)
    rows = np.flatnonzero(usable[: len(found.table.times)].numpy())
    if not rows.size:
        raise BadInput(
            f"The rows of `{name}` were to be predicted.",
            f"None of its {len(found.table.times)} rows has the inputs {', '.join(inputs.values())}.",
            "Extract them, or name another feature set with --clock.",
        )
    item_of_row = np.repeat(np.arange(len(found.items)), found.features.shared.lengths.numpy())[rows]
    item_keys = [members[0] if how["scope"] == "entity" else Key(members[0].clip_id) for members in found.items]
    features: Features | RowFeatures = found.features
    if takes != "rows":
        features = vectors_of(found.features, usable)
    return Asked(
        features=features,
        keys=[found.table.keys[code] for code in found.table.key_of_row[rows].tolist()],
        times=found.table.times[rows],
        rows=rows if takes == "rows" else np.arange(rows.size),
        item_keys=item_keys,
        item_of_row=item_of_row,
        left_out=found.left_out,
    )


def _clips(store: FeatureStore, feature_set: str) -> list[Clip]:
    """Return the clips of the newest clips table; without one, the keys of a feature set."""
    try:
        return list(store.clips())
    except NotFound:
        return [Clip(item.clip_id, Path(), item.entity_id) for item in store.series(feature_set)]
