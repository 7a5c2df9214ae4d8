"""Settings of a dataclass from words (as on the command line) or from JSON, checked by its annotations."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ..store.errors import BadInput, NotFound, nearest

Config = TypeVar("Config")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def configure(config: type[Config], settings: Mapping[str, Any], what: str) -> Config:
    """Make a frozen dataclass of settings.

    Args:
        config: with fields of type bool, int, float, str, a tuple of str, or any of these or None.
        settings: field -> value of its type, or a word that says one; `none` is None, a tuple is separated by
            commas.
        what: whose settings these are, for messages.

    Raises:
        NotFound: for a setting that does not exist, with the nearest names.
        BadInput: for a value of another type, or one that the dataclass refuses.

    Example:
        >>> from .heads import head
        >>> configure(head("mlp").config, {"hidden_size": "64", "order": "audio,text"}, "Head `mlp`").order
        ('audio', 'text')
    """
    hints = typing.get_type_hints(config)
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]
    values = {}
    for name, value in settings.items():
        if name not in known:
            raise NotFound(f"{what} was given the setting `{name}`.", "It has none of this name.", nearest(name, known))
        try:
            values[name] = _converted(value, hints[name])
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"{what} was given the setting {name}={value}.",
                "It is of another type.",
                f"It takes {_said(hints[name])}.",
            ) from error
    return config(**values)


def _converted(value: Any, hint: Any) -> Any:
    """Return the value as the annotated type; raises ValueError or TypeError if it is none."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in kinds:
        if value is None or value == "none":
            return None
        hint = next(kind for kind in kinds if kind is not type(None))
    if typing.get_origin(hint) is tuple:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        if not all(isinstance(part, str) for part in value):
            raise TypeError
        return tuple(value)
    if hint is bool:
        if isinstance(value, str):
            if value.lower() not in _WORDS:
                raise ValueError
            return _WORDS[value.lower()]
        if not isinstance(value, bool):
            raise TypeError
        return value
    if isinstance(value, bool) or (hint is str and not isinstance(value, str)):
        raise TypeError
    if hint is int and isinstance(value, float) and not value.is_integer():
        raise ValueError
    return hint(value)


def _said(hint: Any) -> str:
    """Name a type for people."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "none"}
    return " or ".join(words.get(kind, "words separated by commas") for kind in kinds)
