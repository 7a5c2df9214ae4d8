"""The control on shuffled labels: what is shuffled, what chance gives, and that a leak is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuebank.store import FeatureSpec, FeatureStore, Recipe
from cuebank.trainers import control
from cuebank.trainers.control import shuffle
from cuebank.trainers.train_head import train_head

Planted = Callable[..., Path]
QUICK: dict[str, Any] = {"epochs": 12, "lr": 0.01}


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 9), st.booleans())
def test_every_label_is_used_once(raw: list[int], seed: int, turned: bool) -> None:
    order = shuffle(np.array(raw), np.random.default_rng(seed), turned)
    assert sorted(order.tolist()) == list(range(len(raw)))


@pytest.mark.parametrize("turned", [False, True])
def test_groups_of_one_size_get_the_labels_of_another_group_in_another_order(turned: bool) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 12))
    for seed in range(20):
        order = shuffle(groups, np.random.default_rng(seed), turned)
        given_by = groups[order]
        for group in range(7):
            mine = order[groups == group]
            assert len(set(given_by[groups == group])) == 1
            assert given_by[groups == group][0] != group
            theirs = np.flatnonzero(groups == given_by[groups == group][0])
            assert mine.tolist() != theirs.tolist()  # groups that follow one script would keep their labels
            if turned:
                turn = theirs.tolist().index(mine[0])
                assert mine.tolist() == np.roll(theirs, -turn).tolist()


def test_one_group_is_shuffled_within_itself() -> None:
    order = shuffle(np.zeros(30, dtype=np.int64), np.random.default_rng(0))
    assert order.tolist() != list(range(30))


def test_it_runs_by_default_is_printed_and_scores_like_chance(planted: Planted, tmp_path: Path) -> None:
    report = train_head("engagement", planted(), out=tmp_path / "out", **QUICK)
    found = report.to_json()["control"]
    assert found["ok"]
    assert found["low"] < found["score"] < found["high"]
    assert found["low"] < 0 < found["high"]
    assert (found["seed"], found["epochs"], found["metric"]) == (0, 1, "ccc")
    assert found["n"] >= 100
    assert found["groups"] >= 2
    line = next(line for line in report.to_text().splitlines() if line.startswith("Check ok, control"))
    assert "by chance -0." in line
    assert "control: Labels shuffled" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_it_can_be_left_out_and_changes_nothing_else(planted: Planted) -> None:
    store = planted()
    with_it, without = (train_head("engagement", store, control=on, **QUICK) for on in (True, False))
    assert "control" not in without.to_json()
    assert "control" not in without.to_text()
    assert np.array_equal(with_it.predictions.preds, without.predictions.preds)
    assert with_it.metrics == without.metrics
    again = train_head("engagement", store, **QUICK)
    assert again.to_json()["control"] == with_it.to_json()["control"]


def test_labels_among_the_features_are_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted leak: whatever the labels are, the features hold them too."""
    real = control.shuffled_labels

    def leaking(data: Any, rng: Any) -> Any:
        labels = real(data, rng)
        for part in data.features.split(data.features.matrix).values():
            part += labels[:, None] * 20
        return labels

    monkeypatch.setattr(control, "shuffled_labels", leaking)
    report = train_head("engagement", planted(), epochs=60, lr=0.01)
    found = report.to_json()["control"]
    assert not found["ok"]
    assert found["score"] > found["high"]
    assert any("predicted better than chance" in text for text in report.all_warnings())
    assert "Check FOUND, control" in report.to_text()


def test_chance_is_covered_and_alarms_are_rare_over_seeds(planted: Planted) -> None:
    """Labels that depend on the group: what chance gives is wide then, and the control must know."""
    offsets = np.random.default_rng(0).uniform(-0.4, 0.4, 8)
    noise = np.random.default_rng(1).normal(size=160) * 0.1
    store = planted(label=lambda i, score: float(offsets[i % 8] + noise[i]))
    found = [train_head("engagement", store, seeds=(s,), epochs=2, lr=0.01).to_json()["control"] for s in range(12)]
    assert sum(one["ok"] for one in found) >= 11
    assert sum(one["low"] <= one["score"] <= one["high"] for one in found) >= 10


def test_constant_labels_leave_it_without_a_score_but_with_a_reason(planted: Planted) -> None:
    found = train_head("engagement", planted(label=lambda i, s: 0.25), epochs=2).to_json()["control"]
    assert found["score"] in (None, 0.0)
    assert found["ok"]
    assert found["score"] is not None or found["reason"]


def test_labels_of_rows_and_of_classes_have_one_too(planted_rows: Planted, planted: Planted) -> None:
    for head, settings in (("plain-mlp", {}), ("temporal-gnn", {"splits": "1"})):
        store = planted_rows(f"{head}.zarr")
        found = train_head("emotion-kemdy", store, head=head, settings=settings, inputs={"a": "steps.x"}, epochs=2)
        assert found.to_json()["control"]["ok"]
        assert 0 < found.to_json()["control"]["low"] <= found.to_json()["control"]["high"] < 1
    report = train_head("engagement-class", planted("c.zarr"), classes=3, **QUICK)
    assert report.to_json()["control"]["metric"] == "macro_f1"
    assert report.to_json()["control"]["ok"]


def test_a_control_that_cannot_be_trained_says_why(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuebank.store import BadInput

    def fails(*_: Any, **__: Any) -> Any:
        raise BadInput("Asked.", "The loss became NaN.", "Lower it.")

    monkeypatch.setattr(control, "fit_heads", fails)
    report = train_head("engagement", planted(), **QUICK)
    assert report.to_json()["control"]["reason"] == "The loss became NaN."
    assert "no score. The loss became NaN." in report.to_text()


def test_copies_of_clips_are_named(planted: Planted) -> None:
    store = planted(roles=("video",))
    with FeatureStore.open(store, "a") as opened:
        opened.create(FeatureSpec("i3d.two", "numeric", 3, "float32", Recipe("i3d", {"source": "synthetic"})))
        for i in range(160):
            rows = np.random.default_rng(i if i != 7 else 6).standard_normal((2, 3))
            opened.write("i3d.two", f"clip{i:04d}", None, rows, [0.0, 1.0], [True, True])
        opened.commit()
    alone = train_head("engagement", store, inputs={"video": "i3d.two"}, epochs=1)
    assert any("'clip0006' = 'clip0007'" in text for text in alone.all_warnings())
    both = train_head("engagement", store, inputs={"video": "i3d.two", "other": "i3d.k400+mean"}, epochs=1)
    assert not any("more than once" in text for text in both.all_warnings())
