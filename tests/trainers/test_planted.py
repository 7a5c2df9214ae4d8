"""Planted signals are found by every head that can see them, nothing is found where nothing is, defects are flagged.

The stores are those of `planted_stores`: 400 series of 20 groups, as much noise in the labels as signal. The long
counts are slow; the default run takes a seeded sample of them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput, Clip, ClipsTable, FeatureStore
from cuebank.trainers import batches, heads, loop, predictions
from cuebank.trainers.metrics import metric
from cuebank.trainers.prepared import Prepared
from cuebank.trainers.report import Report
from cuebank.trainers.train_head import train_head

Planted = Callable[..., Path]


def _beside(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


stores = _beside("planted_stores")


@dataclass(frozen=True)
class Tried:
    """How a head is trained on planted signals.

    Args:
        unit: `clip` or `row`.
        kinds: of the signals that it can see.
        settings, training: where defaults are not what this signal asks for.
        null_epochs: on labels that say nothing; fewer, as there is nothing to learn.
        quick: takes a second, so that it is in the default run as it is; others take one fold there.
    """

    unit: str = "clip"
    kinds: tuple[str, ...] = ("linear",)
    settings: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    null_epochs: int | None = None
    quick: bool = True

    def run(self, head: str, store: Path, seed: int = 0, **more: Any) -> Report:
        task = "engagement" if self.unit == "clip" else stores.ROW_TASK
        options: dict[str, Any] = {"control": False, "threads": 1, **self.training, **more}
        return train_head(task, store, head=head, settings=self.settings, seeds=(seed,), **options)

    def plant(self, path: Path, kind: str, **more: Any) -> Any:
        return (stores.plant_clips if self.unit == "clip" else stores.plant_rows)(path, kind, **more)


TRIED = {
    "linear": Tried(),
    "mlp": Tried(),
    "plain-mlp": Tried(),
    # One linear layer that starts near zero: the loop's default rate is that of SEMPI's head.
    "social-mae-head": Tried(training={"lr": 1e-2}),
    "perceiver": Tried(kinds=("linear", "temporal"), null_epochs=6, quick=False),
    # It links rows as far apart as the signal reaches.
    "temporal-gnn": Tried("row", ("linear", "temporal"), {"time_edge_s": "0.5"}, null_epochs=2, quick=False),
}
SIGNALS = [(head, kind) for head, tried in TRIED.items() for kind in tried.kinds]
QUICK = [head for head, tried in TRIED.items() if tried.quick]


@pytest.mark.parametrize("head", heads.names())
def test_every_head_is_tried_here_or_says_why_not(head: str) -> None:
    if head not in TRIED:
        pytest.skip("it takes inputs of one kind only, and has tests of its own")


@pytest.mark.parametrize(
    ("head", "kind"),
    [pytest.param(*one, marks=[] if one[0] in QUICK else pytest.mark.slow) for one in SIGNALS],
)
def test_a_head_that_can_see_the_signal_reaches_four_fifths_of_the_generating_model(
    tmp_path: Path, head: str, kind: str
) -> None:
    truth = TRIED[head].plant(tmp_path / "f.zarr", kind)
    report = TRIED[head].run(head, tmp_path / "f.zarr")
    assert stores.share_of_generator(report, truth) >= 0.8
    assert [check["ok"] for check in report.extra["checks"]] == [True] * 5


@pytest.mark.parametrize("head", [head for head, tried in TRIED.items() if "temporal" in tried.kinds])
def test_the_temporal_signal_is_found_on_a_single_split(tmp_path: Path, head: str) -> None:
    """The sample of the slow test above: one fold of its five."""
    truth = TRIED[head].plant(tmp_path / "f.zarr", "temporal", split=True)
    report = TRIED[head].run(head, tmp_path / "f.zarr")
    assert len(report.splits) == 1
    assert stores.share_of_generator(report, truth) >= 0.8


def test_the_temporal_signal_is_none_for_heads_that_see_means(tmp_path: Path) -> None:
    truth = stores.plant_clips(tmp_path / "f.zarr", "temporal")
    for head in QUICK:
        assert stores.share_of_generator(TRIED[head].run(head, tmp_path / "f.zarr"), truth) < 0.3


def covered(head: str, folder: Path, seeds: range) -> int:
    """Return in how many stores of shuffled labels the interval of 95 % covers chance, which is 0 for CCC."""
    tried, count = TRIED[head], 0
    for seed in seeds:
        tried.plant(folder / f"{seed}.zarr", "linear", seed=seed, shuffled=True)
        more = {} if tried.null_epochs is None else {"epochs": tried.null_epochs}
        score = tried.run(head, folder / f"{seed}.zarr", seed, **more).metrics["ccc"]
        assert score.low is not None
        assert score.high is not None
        count += score.low <= 0 <= score.high
    return count


@pytest.mark.slow
@pytest.mark.parametrize("head", list(TRIED))
def test_with_shuffled_labels_the_interval_covers_chance_in_18_of_20_seeds(tmp_path: Path, head: str) -> None:
    assert covered(head, tmp_path, range(20)) >= 18


@pytest.mark.parametrize("head", QUICK)
def test_with_shuffled_labels_the_interval_covers_chance_in_a_sample_of_seeds(tmp_path: Path, head: str) -> None:
    assert covered(head, tmp_path, range(3)) == 3


# Planted defects. Each is flagged by name, in the checks and as a warning, or refused.


def findings(report: Report) -> dict[str, str]:
    """Return what the checks found, by name; each finding is a warning too, and printed."""
    found = {one["name"]: one["said"] for one in report.to_json()["checks"] if not one["ok"]}
    for name, said in found.items():
        assert f"Check FOUND, {name}: {said}" in report.to_text()
        assert said in report.all_warnings()
    return found


SHORT: dict[str, Any] = {"epochs": 4, "lr": 0.01, "control": False}


def test_nothing_is_found_where_nothing_is_wrong(planted: Planted) -> None:
    assert findings(train_head("engagement", planted(), **SHORT)) == {}


def test_a_group_that_the_tables_folds_split_is_refused(planted: Planted) -> None:
    with pytest.raises(BadInput, match=r"group\(s\) both in train and in"):
        train_head("engagement", planted(fields=lambda i: {"fold": i % 5}), **SHORT)


def test_a_group_leak_in_what_was_really_trained_on_is_flagged(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Prepared.runs

    def leaking(self: Prepared, *given: Any) -> Any:
        first, *others = real(self, *given)
        return [replace(first, train=np.r_[first.train, self.plan.folds[0].test[:1]]), *others]

    monkeypatch.setattr(Prepared, "runs", leaking)
    found = findings(train_head("engagement", planted(), **SHORT))
    assert list(found) == ["groups"]
    assert "Fold 0 tests 1 group(s) that it was trained on: 'm" in found["groups"]


def test_selection_on_the_test_part_is_flagged(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    published = train_head("engagement", planted("s.zarr", groups=8), protocol="sempi", folds=4, **SHORT)
    assert [one["name"] for one in published.extra["checks"] if not one["ok"]] == ["selection"]
    assert any("best-epoch scores" in text for text in published.all_warnings())
    real = Prepared.runs

    def peeking(self: Prepared, *given: Any) -> Any:
        folds = self.plan.folds
        return [replace(run, validation=folds[i % len(folds)].test) for i, run in enumerate(real(self, *given))]

    monkeypatch.setattr(Prepared, "runs", peeking)
    found = findings(train_head("engagement", planted(), **SHORT))
    assert list(found) == ["selection"]
    assert "in 5 of 5 folds" in found["selection"]


def in_batches(one: Any, preds: Any, labels: Any, size: int = 8) -> float:
    """A metric as SEMPI reports it: the mean over batches."""
    parts = [slice(start, start + size) for start in range(0, len(labels), size)]
    return float(np.mean([float(one(preds[part], labels[part])) for part in parts]))


def test_a_selection_by_ccc_per_batch_is_flagged(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def per_batch(one: Any, outputs: Any, labels: Any) -> float:
        return in_batches(one, loop.decide(outputs, one.kind), labels.numpy())

    monkeypatch.setattr(loop, "score_of", per_batch)
    found = findings(train_head("engagement", planted(noise=2.0), **SHORT))
    assert list(found) == ["scores"]
    assert "which is the mean over batches of 8" in found["scores"]


def test_a_reported_ccc_per_batch_is_flagged(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    real = predictions.score_with_intervals

    def per_batch(preds: Any, target: Any, folds: Any, groups: Any, names: Any, **more: Any) -> Any:
        scores = dict(real(preds, target, folds, groups, names, **more))
        each = tuple(in_batches(metric("ccc"), preds[0][folds == i], target[folds == i]) for i in range(5))
        return {**scores, "ccc": replace(scores["ccc"], per_fold=each, mean=float(np.mean(each)))}

    monkeypatch.setattr(predictions, "score_with_intervals", per_batch)
    found = findings(train_head("engagement", planted(noise=2.0), **SHORT))
    assert list(found) == ["scores"]
    assert "Fold 0: CCC of all its rows at once is" in found["scores"]


@pytest.fixture
def padded_pooling(row_heads: dict[str, Any]) -> str:
    """A head that averages over padded rows too, as the original of SEMPI's audio stream does; return its name."""
    honest = row_heads["pooled"]

    class PaddedPooling(honest.build):  # type: ignore[misc, name-defined]
        def forward(self, features: Any, *_: Any, **__: Any) -> Any:
            return self.layer(torch.cat([x.mean(1) for x in features.values()], -1))

    row_heads["padded"] = replace(honest, name="padded", build=PaddedPooling)
    return "padded"


def test_a_head_that_pools_padded_rows_is_flagged(planted: Planted, padded_pooling: str) -> None:
    store = planted()
    options = {**SHORT, "inputs": {"audio": "hubert-tiny.random-0@last"}}
    assert findings(train_head("engagement", store, head="pooled", **options)) == {}
    found = findings(train_head("engagement", store, head=padded_pooling, **options))
    assert list(found) == ["padding"]
    assert "looks at rows that are not there" in found["padding"]


def test_a_mean_over_rows_that_are_not_valid_is_flagged(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(store: FeatureStore, feature_set: str, key: Any, into: Any) -> bool:
        into[:] = store.read(feature_set, *key).values.mean(0)
        return True

    store = planted()
    monkeypatch.setattr(batches, "_pool", careless)
    found = findings(train_head("engagement", store, **SHORT))
    assert list(found) == ["padding"]
    assert "`hubert-tiny.random-0@last` are not the mean of its valid rows" in found["padding"]


def with_copies(store: Path, group: Callable[[str], str]) -> Path:
    """Add ten copies of clips under other names."""
    with FeatureStore.open(store, "a") as opened:
        clips = list(opened.clips())
        for clip in clips[:10]:
            for name in opened.feature_sets():
                series = opened.read(name, clip.clip_id)
                opened.write(name, f"copy of {clip.clip_id}", None, *(np.array(part) for part in series))
        copies = [
            Clip(f"copy of {c.clip_id}", c.path, group_id=group(str(c.group_id)), labels=c.labels) for c in clips[:10]
        ]
        opened.write_clips(ClipsTable([*clips, *copies], {"engagement": "number"}))
        opened.commit()
    return store


def test_clips_that_are_there_twice_in_different_groups_are_flagged(planted: Planted) -> None:
    found = findings(train_head("engagement", with_copies(planted(), lambda group: "another"), **SHORT))
    assert list(found) == ["duplicates"]
    assert "10 clip(s) are there more than once" in found["duplicates"]
    assert "'clip0000' = 'copy of clip0000'" in found["duplicates"]
    same = with_copies(planted("same.zarr"), lambda group: group)
    assert findings(train_head("engagement", same, **SHORT)) == {}


def test_copies_are_flagged_in_tasks_over_rows_too(planted_rows: Planted) -> None:
    def copy(store: FeatureStore) -> None:
        store.commit()
        for name in store.feature_sets():
            series = {
                one.entity_id: store.read(name, one.clip_id, one.entity_id)
                for one in store.series(name)
                if one.clip_id == "clip00"
            }
            for entity, one in series.items():
                store.write(name, "clip01", entity, *(np.array(part) for part in one))

    path = planted_rows(more=copy)
    for head, settings in (("plain-mlp", {}), ("temporal-gnn", {"splits": "1"})):
        report = train_head(
            "emotion-kemdy", path, head=head, settings=settings, inputs={"a": "steps.x"}, epochs=1, control=False
        )
        assert "('clip00', 'left') = ('clip01', 'left')" in findings(report)["duplicates"]
