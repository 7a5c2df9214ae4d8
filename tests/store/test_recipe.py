"""Recipes, descriptions of feature sets, and their fingerprints."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import pytest

from cuebank.store.errors import BadInput
from cuebank.store.recipe import FeatureSpec, Recipe
from cuebank.store.timebase import Timebase

RECIPE = Recipe(
    "hubert-base",
    {"source": "random", "seed": 7},
    "9",
    "none",
    ({"step": "mono", "rate_hz": 16000},),
    "fp32",
    1,
    {"device": "cpu"},
)
SPEC = FeatureSpec(
    "hubert-base.random-7@9",
    "numeric",
    768,
    "float16",
    RECIPE,
    Timebase(Fraction(50), Fraction(1, 80), Fraction(1, 40)),
)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": dataclasses.replace(RECIPE, layer="10")},
        {"recipe": dataclasses.replace(RECIPE, weights={"source": "random", "seed": 8})},
        {"recipe": dataclasses.replace(RECIPE, preprocessing=({"step": "mono", "rate_hz": 8000},))},
        {"recipe": dataclasses.replace(RECIPE, precision="bf16")},
        {"recipe": dataclasses.replace(RECIPE, extractor_version=2)},
        {"dtype": "float32"},
        {"dim": 1024},
        {"timebase": None},
        {"kind": "label"},
        {"scope": "entity"},
    ],
)
def test_whatever_changes_the_numbers_changes_the_fingerprint_and_is_named_in_the_difference(
    change: dict,
) -> None:
    other = dataclasses.replace(SPEC, **change)
    assert other.fingerprint != SPEC.fingerprint
    field = next(iter(change))
    assert SPEC.difference(other)
    assert all(line.startswith(field) for line in SPEC.difference(other))


def test_device_and_name_do_not_change_the_fingerprint() -> None:
    other = dataclasses.replace(SPEC, name="mine", recipe=dataclasses.replace(RECIPE, unhashed={"device": "cuda"}))
    assert other.fingerprint == SPEC.fingerprint
    assert SPEC.difference(other) == []


def test_the_same_weights_under_another_file_name_or_licence_text_are_the_same_weights() -> None:
    one = {"source": "w1.pt", "sha256": "ab" * 32, "licence": "MIT"}
    two = {"source": "w2.pt", "sha256": "ab" * 32, "licence": "not stated"}
    specs = [dataclasses.replace(SPEC, recipe=dataclasses.replace(RECIPE, weights=weights)) for weights in (one, two)]
    assert specs[0].fingerprint == specs[1].fingerprint
    assert specs[0].difference(specs[1]) == []
    assert specs[0].to_json()["recipe"]["weights"] == one


def test_json_round_trip_keeps_everything() -> None:
    again = FeatureSpec.from_json(json.loads(json.dumps(SPEC.to_json())))
    assert again == SPEC
    assert again.fingerprint == SPEC.fingerprint


def test_the_fingerprint_is_the_same_today_as_it_was_when_stores_were_written() -> None:
    assert SPEC.fingerprint == "43f93947f3a514e7937ffd3f4a75a984f26b03e2c192e7e90db5c3733781b0e9"


@pytest.mark.parametrize("change", [{"kind": "video"}, {"dtype": "float8"}, {"dim": 0}, {"scope": "room"}])
def test_an_impossible_description_is_refused(change: dict) -> None:
    with pytest.raises(BadInput, match="hubert-base"):
        dataclasses.replace(SPEC, **change)


def test_json_of_something_else_is_refused() -> None:
    for bad in ({}, {"name": "x"}, {**SPEC.to_json(), "recipe": 3}, {**SPEC.to_json(), "dim": "many"}):
        with pytest.raises(BadInput):
            FeatureSpec.from_json(bad)
