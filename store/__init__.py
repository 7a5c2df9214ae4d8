"""The feature store: extracted features by feature set, clip, entity and time. Needs numpy only; names load lazily."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clips_table import Clip, ClipsTable
    from .errors import BadInput, Conflict, Corrupt, CuebankError, MissingExtra, NotFound
    from .feature_store import FeatureStore
    from .keys import Key, feature_set_name
    from .recipe import FeatureSpec, Recipe
    from .series import Coverage, Failure, Series, SeriesInfo
    from .timebase import Timebase

_HOME = {
    "Clip": "clips_table",
    "ClipsTable": "clips_table",
    "BadInput": "errors",
    "Conflict": "errors",
    "Corrupt": "errors",
    "CuebankError": "errors",
    "MissingExtra": "errors",
    "NotFound": "errors",
    "FeatureStore": "feature_store",
    "Key": "keys",
    "feature_set_name": "keys",
    "FeatureSpec": "recipe",
    "Recipe": "recipe",
    "Coverage": "series",
    "Failure": "series",
    "Series": "series",
    "SeriesInfo": "series",
    "Timebase": "timebase",
}

__all__ = [  # noqa: RUF022 (by subject)
    "FeatureStore",
    "Series",
    "SeriesInfo",
    "Failure",
    "Coverage",
    "FeatureSpec",
    "Recipe",
    "Timebase",
    "Key",
    "feature_set_name",
    "Clip",
    "ClipsTable",
    "CuebankError",
    "NotFound",
    "Conflict",
    "BadInput",
    "Corrupt",
    "MissingExtra",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
