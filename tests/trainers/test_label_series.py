"""Finding the labels of a task among the label sets of a store, and reading them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import BadInput, FeatureSpec, FeatureStore, NotFound, Recipe, Series
from cuebank.trainers import tasks
from cuebank.trainers.label_series import choose_labels, class_names, columns_of

TASK = tasks.task("emotion-kemdy")


def label_set(name: str, columns: Sequence[str], classes: Mapping[str, Sequence[str]] | None = None) -> FeatureSpec:
    step = {"step": "labels", "columns": list(columns), "classes": dict(classes or {})}
    recipe = Recipe("labels", {"source": "x.csv"}, preprocessing=(step,))
    return FeatureSpec(name, "label", len(columns), "float32", recipe)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.open(tmp_path / "s.zarr", "a")


def series(values: Any, valid: Any) -> Series:
    return Series(np.asarray(values, np.float32), np.arange(len(valid), dtype=float), np.asarray(valid))


def test_the_set_that_fits_by_its_name_and_columns_is_taken(store: FeatureStore) -> None:
    store.create(label_set("other.valence", ["valence"]))
    store.create(label_set("kemdy.v", ["valence", "arousal"]))
    store.create(label_set("kemdy.e", ["valence", "emotion"], {"emotion": ["a", "b"]}))
    found = choose_labels(TASK, store)
    assert (found.spec.name, found.positions, found.classes) == ("kemdy.e", (1,), ("a", "b"))
    level = dataclasses.replace(TASK, kind="regression", classes=())
    both = choose_labels(level, store, target=("arousal", "valence"))
    assert (both.spec.name, both.positions, both.title) == ("kemdy.v", (1, 0), "arousal, valence")
    assert choose_labels(level, store, "other.valence", ("valence",)).spec.name == "other.valence"
    with pytest.raises(BadInput, match=r"several: `kemdy.e`, `kemdy.v`"):
        choose_labels(level, store, target=("valence",))
    with pytest.raises(BadInput, match="It holds names"):
        choose_labels(level, store, "kemdy.e", ("emotion",))


def test_a_set_that_does_not_name_its_only_column_is_taken_for_the_target(store: FeatureStore) -> None:
    store.create(FeatureSpec("kemdy.plain", "label", 1, "int64", Recipe("x", {"source": "y"})))
    found = choose_labels(TASK, store)
    assert (found.positions, found.names, found.classes) == ((0,), ("emotion",), ())
    assert columns_of(found.spec) == (["0"], {})
    ids, labelled = found.read(series([[3], [0], [1]], [True, False, True]), "classes")
    assert ids.tolist() == [3, 0, 1]
    assert labelled.tolist() == [True, False, True]
    assert class_names(found, TASK, ids[labelled]) == ("0", "1", "2", "3")


def test_a_store_without_label_sets_says_what_to_run(store: FeatureStore) -> None:
    with pytest.raises(NotFound, match=r"cuebank import-labels labels\.csv --as emotion-kemdy"):
        choose_labels(TASK, store)


def test_rows_that_are_not_finite_are_not_labelled(store: FeatureStore) -> None:
    store.create(label_set("kemdy.v", ["valence", "arousal"]))
    level = dataclasses.replace(TASK, kind="regression", classes=())
    found = choose_labels(level, store, target=("valence", "arousal"))
    rows = series([[1, 2], [np.nan, 2], [3, np.inf], [5, 6]], [True, True, True, False])
    values, labelled = found.read(rows, "regression")
    assert labelled.tolist() == [True, False, False, False]
    assert values.tolist() == [[1, 2], [0, 0], [0, 0], [0, 0]]
    assert values.dtype == np.float32


@pytest.mark.parametrize("wrong", [-1, 0.5, 2])
def test_what_is_no_class_is_refused(store: FeatureStore, wrong: float) -> None:
    store.create(label_set("kemdy.e", ["emotion"], {"emotion": ["a", "b"]}))
    found = choose_labels(TASK, store)
    with pytest.raises(BadInput, match=f"It holds {wrong:g}, which is no class"):
        found.read(series([[0], [wrong]], [True, True]), "classes")
    found.read(series([[0], [wrong]], [True, False]), "classes")


def test_one_class_against_all_others_is_found_by_name_or_by_1(store: FeatureStore) -> None:
    task = tasks.task("asd")
    names = ["NOT_SPEAKING", "SPEAKING_AUDIBLE", "SPEAKING_NOT_AUDIBLE"]
    store.create(label_set("ava.label", ["label"], {"label": names}))
    found = choose_labels(task, store)
    ids, _ = found.read(series([[2], [1], [0]], [True, True, True]), "classes")
    assert ids.tolist() == [0, 1, 0]
    assert class_names(found, task, ids) == ("not SPEAKING_AUDIBLE", "SPEAKING_AUDIBLE")
    store.create(label_set("unitalk.label", ["label"]))
    numbers = choose_labels(task, store, "unitalk.label")
    assert numbers.read(series([[2], [1]], [True, True]), "classes")[0].tolist() == [0, 1]
    with pytest.raises(BadInput, match="of one class"):
        class_names(numbers, task, np.array([1, 1]))


def test_as_many_classes_as_the_task_does_not_know_are_refused(store: FeatureStore) -> None:
    store.create(label_set("kemdy.e", ["emotion"], {"emotion": list("abcdefgh")}))
    with pytest.raises(BadInput, match=r"It has 8 classes\. It knows 2 to 7"):
        class_names(choose_labels(TASK, store), TASK, np.array([0, 7]))
