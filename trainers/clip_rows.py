"""The rows of clips, each input on its own clock: what a head that takes rows gets in a task of unit `clip`.

A clip that lacks some inputs takes part, with nothing of them; a clip without any valid row is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..store import FeatureSpec, FeatureStore, Key
from .batches import LeftOut, failures_of, find_places, nothing_left, numeric_specs, why_absent
from .row_features import RowFeatures
from .row_store import Part, fill, spoilt_notes


@dataclass(frozen=True, eq=False)
class GatheredRows:
    """Rows of those items that have any.

    Args:
        kept: positions of the items that are there, (N,), ascending.
        features: of those.
        specs: role -> description of the feature set.
        left_out: the other items.
        notes: sentences for the report.
    """

    kept: npt.NDArray[np.int64]
    features: RowFeatures
    specs: Mapping[str, FeatureSpec]
    left_out: LeftOut
    notes: tuple[str, ...]


class ClipReader:
    """Reads series as they are.

    Args:
        store: to read from.
        inputs: role -> feature set.
        places: role -> under which key the series of each item is, None where it has none.
    """

    def __init__(
        self, store: FeatureStore, inputs: Mapping[str, str], places: Mapping[str, Sequence[Key | None]]
    ) -> None:
        self._store, self._inputs, self._places = store, inputs, places
        specs = {role: store.spec(name) for role, name in inputs.items()}
        self.dims = {role: spec.dim for role, spec in specs.items()}
        self.dtypes: dict[str, np.dtype[Any]] = {role: np.dtype(spec.dtype) for role, spec in specs.items()}
        self._nothing = {
            role: Part(np.zeros((0, spec.dim), spec.dtype), np.zeros(0, dtype=bool), np.zeros(0))
            for role, spec in specs.items()
        }

    def lengths(self, role: str) -> list[int]:
        """See `row_store.Reader`."""
        wanted = {key for key in self._places[role] if key is not None}
        rows = {}
        for one in self._store.series(self._inputs[role]):
            key = Key(one.clip_id, one.entity_id)
            if key in wanted:
                rows[key] = one.rows
        return [0 if key is None else rows[key] for key in self._places[role]]

    def read(self, item: int) -> dict[str, Part]:
        """See `row_store.Reader`."""
        return {role: self._part(role, item) for role in self._inputs}

    def rows(self, role: str, item: int, first: int, last: int) -> np.ndarray:
        """See `row_store.Reader`."""
        return self._part(role, item).values[first:last]

    def _part(self, role: str, item: int) -> Part:
        key = self._places[role][item]
        if key is None:
            return self._nothing[role]
        values, times, valid = self._store.read(self._inputs[role], *key)
        return Part(values, valid, times)


def gather_clip_rows(store: FeatureStore, keys: Sequence[Key], inputs: Mapping[str, str], limit: int) -> GatheredRows:
    """Read the rows of clips or entities; an entity's own series are used where there are some, else its clip's.

    Args:
        store: to read from; it must stay open as long as features are streamed.
        keys: of the clips.
        inputs: role -> feature set.
        limit: bytes that may be kept in memory.

    Raises:
        NotFound: if there is no such feature set.
        BadInput: if a feature set holds no numbers, or no clip has any valid row.
        Corrupt: if stored rows do not agree with their checksum.
    """
    specs = numeric_specs(store, inputs)
    left_out = LeftOut()
    places = {role: find_places(store, name, keys) for role, name in inputs.items()}
    failures = {role: failures_of(store, name) for role, name in inputs.items()}
    present = []
    for position, key in enumerate(keys):
        if any(places[role][position] is not None for role in inputs):
            present.append(position)
        else:
            first = next(iter(inputs))
            left_out.add(*why_absent(inputs[first], failures[first], key))
    if not present:
        raise nothing_left(store, len(keys), inputs, left_out)
    reader = ClipReader(store, inputs, {role: [found[i] for i in present] for role, found in places.items()})
    features, spoilt = fill(reader, limit, None)
    rows = {role: valid_rows(features, role) for role in inputs}
    filled = np.stack([counts > 0 for counts in rows.values()]).any(0)
    for position in np.array(present)[~filled].tolist():
        left_out.add("no valid row in any input", keys[position])
    if not filled.any():
        raise nothing_left(store, len(keys), inputs, left_out)
    kept = torch.from_numpy(np.flatnonzero(filled))
    return GatheredRows(
        kept=np.array(present, dtype=np.int64)[filled],
        features=features.subset(kept),
        specs=specs,
        left_out=left_out,
        notes=(
            *spoilt_notes(spoilt, inputs),
            *(
                f"{int((counts[filled] == 0).sum())} of {int(filled.sum())} clips have no valid row in "
                f"`{inputs[role]}`: it is masked there."
                for role, counts in rows.items()
                if (counts[filled] == 0).any()
            ),
        ),
    )


def valid_rows(features: RowFeatures, role: str) -> npt.NDArray[np.int64]:
    """Return how many valid rows each item has in a role, (N,)."""
    spans = features.spans[role]
    sums = torch.cat([torch.zeros(1, dtype=torch.int64), features.valid[role].cumsum(0)])
    return (sums[spans.starts + spans.lengths] - sums[spans.starts]).numpy()
