"""What there is to do follows from the table and from what is committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cuebank.extractors.plan import make_plan, refuse_conflicts
from cuebank.store import Clip, ClipsTable, Conflict, FeatureSpec, FeatureStore, Key, Recipe

A, B = (FeatureSpec(name, "numeric", 2, "float16", Recipe(name, {"source": "x"})) for name in ("set.a", "set.b"))
MEDIA = Path("one.wav"), Path("two.wav")


def table(*clips: Clip) -> ClipsTable:
    return ClipsTable(clips)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    opened = FeatureStore.open(tmp_path / "f.zarr", "a")
    yield opened
    opened.close()


def write(store: FeatureStore, spec: FeatureSpec, clip_id: str, entity_id: str | None = None) -> None:
    store.create(spec)
    store.write(spec.name, clip_id, entity_id, np.zeros((1, 2)), [0.5], [True])
    store.commit()


def test_everything_is_to_do_where_there_is_no_store() -> None:
    plan = make_plan(table(Clip("x", MEDIA[0]), Clip("y", MEDIA[1])), [A, B], None, overwrite=False)
    assert [unit.path for unit in plan.units] == list(MEDIA)
    assert plan.units[0].wanted == {Key("x"): ("set.a", "set.b")}
    assert (plan.keys, plan.skipped) == (2, 0)


def test_only_what_is_missing_is_to_do(store: FeatureStore) -> None:
    write(store, A, "x")
    write(store, A, "y")
    write(store, B, "y")
    clips = table(Clip("x", MEDIA[0]), Clip("y", MEDIA[1]))
    plan = make_plan(clips, [A, B], store, overwrite=False)
    assert [unit.wanted for unit in plan.units] == [{Key("x"): ("set.b",)}]
    assert plan.units[0].feature_sets() == {"set.b"}
    assert plan.skipped == 1
    assert make_plan(clips, [A, B], store, overwrite=True).keys == 2


def test_failures_are_to_do_again(store: FeatureStore) -> None:
    store.create(A)
    store.record_failure(A.name, "x", None, "broken")
    store.commit()
    assert make_plan(table(Clip("x", MEDIA[0])), [A], store, overwrite=False).keys == 1


def test_entities_that_share_a_stretch_of_media_are_one_unit(store: FeatureStore) -> None:
    write(store, A, "x", "p2")
    clips = table(
        Clip("x", MEDIA[0], "p1", 1.0, 2.0),
        Clip("y", MEDIA[1], None, 1.0, 2.0),
        Clip("x", MEDIA[0], "p2", 1.0, 2.0),
        Clip("x", MEDIA[0], "p3", 1.0, 2.0),
        Clip("z", MEDIA[0], None, 1.0, 2.5),
    )
    plan = make_plan(clips, [A], store, overwrite=False)
    assert [(unit.path, unit.start_s, unit.end_s) for unit in plan.units] == [
        (MEDIA[0], 1.0, 2.0),
        (MEDIA[1], 1.0, 2.0),
        (MEDIA[0], 1.0, 2.5),
    ]
    assert list(plan.units[0].wanted) == [Key("x", "p1"), Key("x", "p3")]
    assert (plan.keys, plan.skipped) == (4, 1)


def test_another_recipe_under_the_same_name_is_refused_with_the_difference(store: FeatureStore) -> None:
    store.create(A)
    refuse_conflicts(store, [A, B])
    other = FeatureSpec(A.name, "numeric", 2, "float32", A.recipe)
    with pytest.raises(Conflict, match=r"dtype: 'float16' -> 'float32'"):
        refuse_conflicts(store, [B, other])
    assert store.feature_sets() == [A.name]
