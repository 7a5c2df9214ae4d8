"""Settings from words: types, none, tuples, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from cuebank.store import BadInput, NotFound
from cuebank.trainers.options import configure


@dataclass(frozen=True)
class Settings:
    size: int = 1
    rate: float = 0.5
    on: bool = True
    name: str = "a"
    width: int | None = None
    order: tuple[str, ...] | None = None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"size": "64"}, {"size": 64}),
        ({"size": 64.0}, {"size": 64}),
        ({"rate": "1e-3"}, {"rate": 1e-3}),
        ({"rate": 1}, {"rate": 1.0}),
        ({"on": "false"}, {"on": False}),
        ({"on": "No"}, {"on": False}),
        ({"width": "none"}, {"width": None}),
        ({"width": "3"}, {"width": 3}),
        ({"order": "b, a"}, {"order": ("b", "a")}),
        ({"order": ["b", "a"]}, {"order": ("b", "a")}),
        ({"name": "none"}, {"name": "none"}),
    ],
)
def test_words_and_values_become_the_annotated_type(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = configure(Settings, given, "A thing")
    assert found == Settings(**wanted)
    assert all(type(getattr(found, name)) is type(value) for name, value in wanted.items())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": "big"}, "size=big.* a whole number"),
        ({"size": 1.5}, "a whole number"),
        ({"size": True}, "a whole number"),
        ({"size": None}, "a whole number"),
        ({"rate": "fast"}, "a number"),
        ({"on": "perhaps"}, "true or false"),
        ({"on": 1}, "true or false"),
        ({"name": 3}, "a word"),
        ({"width": "wide"}, "a whole number or none"),
        ({"order": [1, 2]}, "words separated by commas or none"),
        ({"order": 3}, "words separated by commas or none"),
    ],
)
def test_a_value_of_another_type_is_refused_saying_what_it_takes(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        configure(Settings, given, "A thing")


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match=r"A thing was given the setting `sise`.*Did you mean `size`"):
        configure(Settings, {"sise": 1}, "A thing")
