"""How a feature set was made, and the fingerprint of what changes its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import BadInput
from .timebase import Timebase

KINDS = ("numeric", "text", "label")
_ABOUT_WEIGHTS = ("source", "licence")
DTYPES = ("float16", "float32", "float64", "uint8", "int64")
CODECS = ("none", "zstd", "blosc")
_OF_TEXT = {"dim": 1, "dtype": "int64", "codec": "none"}  # `values` are the sizes of the texts


@dataclass(frozen=True)
class Recipe:
    """Everything that went into a feature set.

    Args:
        backbone: name of the card, e.g. `hubert-base`.
        weights: sha256, or for random weights the seed and the rule; and, recorded but not hashed, where they came from
            (`source`) and their `licence`: the same weights under another file name are the same weights.
        layer: which output, e.g. `9` or `last`; None where there is no choice.
        pooling: `none` or `mean`.
        preprocessing: steps in order, each `{"step": name, …numbers}`.
        precision: of the computation, `fp32` or `bf16`.
        extractor_version: raised by the backbone's author whenever its numbers change.
        unhashed: what was recorded but does not define the features: device, threads, versions, date.
    """

    backbone: str
    weights: Mapping[str, Any]
    layer: str | None = None
    pooling: str = "none"
    preprocessing: tuple[Mapping[str, Any], ...] = ()
    precision: str = "fp32"
    extractor_version: int = 1
    unhashed: Mapping[str, Any] = field(default_factory=dict)

    def hashed(self) -> dict[str, Any]:
        """Return the fields that change the numbers, as plain JSON values."""
        return {
            "backbone": self.backbone,
            "weights": {key: value for key, value in self.weights.items() if key not in _ABOUT_WEIGHTS},
            "layer": self.layer,
            "pooling": self.pooling,
            "preprocessing": [dict(step) for step in self.preprocessing],
            "precision": self.precision,
            "extractor_version": self.extractor_version,
        }

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return {**self.hashed(), "weights": dict(self.weights), "unhashed": dict(self.unhashed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what `to_json` wrote.

        Raises:
            BadInput: if a field is missing or of another type.
        """
        try:
            return cls(
                backbone=str(data["backbone"]),
                weights=dict(data["weights"]),
                layer=None if data["layer"] is None else str(data["layer"]),
                pooling=str(data["pooling"]),
                preprocessing=tuple(dict(step) for step in data["preprocessing"]),
                precision=str(data["precision"]),
                extractor_version=int(data["extractor_version"]),
                unhashed=dict(data.get("unhashed", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                "A recipe was read from JSON.", f"It is not a recipe: {error!r}.", "Was the store written by cuebank?"
            ) from error


@dataclass(frozen=True)
class FeatureSpec:
    """What one feature set holds.

    Args:
        name: `<backbone>.<weights tag>[@<layer>][+<pooling>]`.
        kind: `numeric`, `text` or `label`.
        dim: columns of `values`, D; 1 for text.
        dtype: numpy name of the stored type of `values`; int64 for text: what is stored there are the sizes of the
            texts, and `read` gives the texts themselves.
        recipe: how it was made.
        timebase: the clock, or None where rows have no constant rate (one row per clip, events).
        scope: `clip` or `entity`.
        codec: how values lie on the disk: `none` (memory-mapped), or losslessly compressed by `zstd`, or by `blosc`
            with shuffled bytes. It does not change the numbers, so the fingerprint does not know it. `none` for text.

    Raises:
        BadInput: for an unknown kind, dtype, scope or codec, a dim below 1, or text with other than the above.
    """

    name: str
    kind: str
    dim: int
    dtype: str
    recipe: Recipe
    timebase: Timebase | None = None
    scope: str = "clip"
    codec: str = "none"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("kind", self.kind, KINDS),
            ("dtype", self.dtype, DTYPES),
            ("scope", self.scope, ("clip", "entity")),
            ("codec", self.codec, CODECS),
        ):
            if value not in known:
                raise BadInput(
                    f"Feature set `{self.name}` was described.", f"Its {what} is {value!r}.", f"Use one of {known}."
                )
        if self.dim < 1:
            raise BadInput(f"Feature set `{self.name}` was described.", f"Its dim is {self.dim}.", "Give 1 or more.")
        found = {field: getattr(self, field) for field in _OF_TEXT}
        if self.is_text and found != _OF_TEXT:
            raise BadInput(
                f"Feature set `{self.name}` was described.",
                f"Its kind is text, with {found}.",
                f"Give {_OF_TEXT}.",
            )

    @property
    def is_text(self) -> bool:
        """Whether its rows are texts, not numbers."""
        return self.kind == "text"

    def defining(self) -> dict[str, Any]:
        """Return what the fingerprint hashes: recipe (without its unhashed part), kind, dim, dtype, timebase, scope."""
        return {
            "recipe": self.recipe.hashed(),
            "kind": self.kind,
            "dim": self.dim,
            "dtype": self.dtype,
            "timebase": None if self.timebase is None else self.timebase.to_json(),
            "scope": self.scope,
        }

    @property
    def fingerprint(self) -> str:
        """Hex sha256 over the canonical JSON of `defining()`."""
        text = json.dumps(self.defining(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def difference(self, other: FeatureSpec) -> list[str]:
        """Return one line for each defining field in which two descriptions differ: `field: mine -> theirs`."""
        mine, theirs = dict(flatten(self.defining())), dict(flatten(other.defining()))
        return [
            f"{key}: {mine.get(key, '(absent)')!r} -> {theirs.get(key, '(absent)')!r}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key, "(absent)") != theirs.get(key, "(absent)")
        ]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values, with the fingerprint."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            **{key: value for key, value in self.defining().items() if key != "recipe"},
            "recipe": self.recipe.to_json(),
            # Left out where there is none, as it was before there were any.
            **({} if self.codec == "none" else {"codec": self.codec}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """Read what `to_json` wrote (the fingerprint is computed anew, not believed).

        Raises:
            BadInput: if a field is missing or of another type.
        """
        try:
            timebase = data["timebase"]
            return cls(
                name=str(data["name"]),
                kind=str(data["kind"]),
                dim=int(data["dim"]),
                dtype=str(data["dtype"]),
                recipe=Recipe.from_json(data["recipe"]),
                timebase=None if timebase is None else Timebase.from_json(timebase),
                scope=str(data["scope"]),
                codec=str(data.get("codec", "none")),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                "A feature set's description was read.", f"It is not one: {error!r}.", "Was it written by cuebank?"
            ) from error


def flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested dicts and lists as (dotted path, value)."""
    if isinstance(value, Mapping) and value:
        return [leaf for key in value for leaf in flatten(value[key], f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, (list, tuple)) and value:
        return [leaf for i, item in enumerate(value) for leaf in flatten(item, f"{prefix}[{i}]")]
    return [(prefix, value)]
