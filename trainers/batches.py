"""Features of clips, gathered once from the store: one vector per clip and input, the mean of its valid rows.

A clip for which an input is missing is left out and counted with its reason; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from ..store import BadInput, Clip, FeatureSpec, FeatureStore, Key
from .features import Features

NAMED = 3  # clips named per reason; the rest is counted


@dataclass(eq=False)
class LeftOut:
    """Clips that take no part, by kind of reason, in the order in which they were found.

    Args:
        by_reason: kind of reason -> clips, each with what was recorded of it, or an empty text.
    """

    by_reason: dict[str, list[tuple[Key, str]]] = field(default_factory=dict)

    def add(self, reason: str, key: Key, detail: str = "") -> None:
        """Note one."""
        self.by_reason.setdefault(reason, []).append((key, detail))

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind of reason."""
        return {reason: len(items) for reason, items in self.by_reason.items()}

    def items(self) -> list[dict[str, str | None]]:
        """Return each clip with its reason, as plain JSON values."""
        return [
            {
                "clip_id": key.clip_id,
                "entity_id": key.entity_id,
                "reason": f"{reason}: {detail}" if detail else reason,
            }
            for reason, items in self.by_reason.items()
            for key, detail in items
        ]

    def sentences(self) -> list[str]:
        """Return one sentence per kind of reason, with the count and the first few clips."""
        found = []
        for reason, items in self.by_reason.items():
            shown = ", ".join(_named(key, detail) for key, detail in items[:NAMED])
            more = ", …" if len(items) > NAMED else ""
            clips = "1 clip was" if len(items) == 1 else f"{len(items)} clips were"
            found.append(f"{clips} left out, {reason}: {shown}{more}.")
        return found


def _named(key: Key, detail: str) -> str:
    name = repr(key.clip_id if key.entity_id is None else tuple(key))
    return f"{name} ({detail})" if detail else name


@dataclass(frozen=True, eq=False)
class Gathered:
    """Features of those clips that have all inputs.

    Args:
        kept: positions of the clips that are there, (N,), ascending.
        features: of those, float32.
        specs: role -> description of the feature set.
        left_out: the other clips.
    """

    kept: npt.NDArray[np.int64]
    features: Features
    specs: Mapping[str, FeatureSpec]
    left_out: LeftOut


def gather(store: FeatureStore, clips: Sequence[Clip], inputs: Mapping[str, str]) -> Gathered:
    """Read the features of clips.

    An entity's own series is used where there is one, else that of its whole clip.

    Args:
        store: to read from.
        clips: rows of a clips table.
        inputs: role -> feature set, in the order that the columns shall have.

    Raises:
        NotFound: if there is no such feature set.
        BadInput: if a feature set holds no numbers, or no clip has all inputs.
        Corrupt: if stored rows do not agree with their checksum.
    """
    specs = numeric_specs(store, inputs)
    left_out = LeftOut()
    places = {role: find_places(store, name, [clip.key for clip in clips]) for role, name in inputs.items()}
    failures = {role: failures_of(store, name) for role, name in inputs.items()}
    present = []
    for position, clip in enumerate(clips):
        absent = next((role for role in inputs if places[role][position] is None), None)
        if absent is None:
            present.append(position)
        else:
            left_out.add(*why_absent(inputs[absent], failures[absent], clip.key))
    features = Features.empty(len(present), {role: spec.dim for role, spec in specs.items()})
    filled = np.ones(len(present), dtype=bool)
    for role, part in features.split(features.matrix).items():
        columns = part.numpy()
        for row, position in enumerate(present):
            key = places[role][position]
            if filled[row] and key is not None and not _pool(store, inputs[role], key, columns[row]):
                filled[row] = False
                left_out.add(f"no valid row in `{inputs[role]}`", clips[position].key)
    finite = torch.isfinite(features.matrix).all(1).numpy()
    for row in np.flatnonzero(filled & ~finite).tolist():
        left_out.add(f"NaN or infinite numbers in `{_spoilt(features, row, inputs)}`", clips[present[row]].key)
    filled &= finite
    if not filled.any():
        raise nothing_left(store, len(clips), inputs, left_out)
    if not filled.all():
        features = Features(features.matrix[torch.from_numpy(filled)], features.dims)
    return Gathered(np.array(present, dtype=np.int64)[filled], features, specs, left_out)


def find_places(store: FeatureStore, feature_set: str, keys: Sequence[Key]) -> list[Key | None]:
    """Return under which key the series of each clip or entity is: its own, else that of its clip, None for neither."""
    missing = set(store.missing(feature_set, keys))
    whole = {Key(key.clip_id) for key in missing if key.entity_id is not None}
    absent = set(store.missing(feature_set, whole))
    places: list[Key | None] = []
    for key in keys:
        of_clip = Key(key.clip_id)
        if key not in missing:
            places.append(key)
        else:
            places.append(of_clip if of_clip in whole and of_clip not in absent else None)
    return places


def _pool(store: FeatureStore, feature_set: str, key: Key, into: npt.NDArray[np.float32]) -> bool:
    """Write the mean of a series' valid rows to `into` (D,); return False if there is no valid row."""
    values, _, valid = store.read(feature_set, *key)
    if len(values) == 1 and valid[0]:
        into[:] = values[0]
        return True
    if not valid.all():
        values = values[valid]
    if not len(values):
        return False
    # Means of float16 rows in float32: the sum of a long clip overflows float16.
    np.divide(values.astype(np.float32, copy=False).sum(axis=0, dtype=np.float32), np.float32(len(values)), out=into)
    return True


def numeric_specs(store: FeatureStore, inputs: Mapping[str, str]) -> dict[str, FeatureSpec]:
    """Return the descriptions of feature sets by role.

    Raises:
        NotFound: if there is no such feature set.
        BadInput: if one holds no numbers.
    """
    specs = {role: store.spec(name) for role, name in inputs.items()}
    for role, spec in specs.items():
        if spec.kind != "numeric":
            raise BadInput(
                f"Feature set `{spec.name}` was to be the input {role}.",
                f"Its kind is {spec.kind}.",
                "Name a numeric one.",
            )
    return specs


def failures_of(store: FeatureStore, feature_set: str) -> dict[Key, str]:
    """Return the reason of each recorded failure."""
    return {Key(failure.clip_id, failure.entity_id): failure.reason for failure in store.failures(feature_set)}


def why_absent(feature_set: str, failures: Mapping[Key, str], key: Key) -> tuple[str, Key, str]:
    """Return kind of reason, key and what was recorded, for a clip or entity that has no series of a feature set."""
    reason = failures.get(key, failures.get(Key(key.clip_id)))
    kind = f"not in `{feature_set}`" if reason is None else f"extraction of `{feature_set}` failed"
    return kind, key, reason or ""


def nothing_left(store: FeatureStore, count: int, inputs: Mapping[str, str], left_out: LeftOut) -> BadInput:
    """Return the error for clips of which none can be used."""
    return BadInput(
        f"The features of {count} clips were to be read from {store.path}.",
        f"None has all inputs ({', '.join(inputs.values())}). {' '.join(left_out.sentences())}".strip(),
        "Run `cuebank extract` for them, or name other inputs with --input ROLE=FEATURE_SET.",
    )


def _spoilt(features: Features, row: int, inputs: Mapping[str, str]) -> str:
    """Return the feature set in which a row is not finite."""
    parts = features.split(features.matrix[row])
    return next(inputs[role] for role, part in parts.items() if not bool(torch.isfinite(part).all()))
