"""The shipped tasks as a whole: each is trained with its own head and settings on a store of its own kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe
from cuebank.trainers import heads, tasks
from cuebank.trainers.predict import predict
from cuebank.trainers.train_head import train_head

INPUTS = {
    "reaction": {"vit-any.x": (8, 6), "wavlm-base-plus-sv.x": (8, 4), "roberta-base.x": (8, 5)},
    "emotion-crema-d": {"social-mae.x+mean": (1, 12)},
    "personality": {"social-mae.x+mean": (1, 12)},
    "laughter": {"social-mae.x+mean": (1, 12)},
    "emotion-kemdy": {"kemdy-ste.x": (20, 12)},
    "asd": {"light-asd.x@audio": (20, 128), "light-asd.x@visual": (20, 128)},
}
NAMES = {
    "emotion-crema-d": ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"],
    "laughter": ["laughter", "neither", "smile"],
    "emotion-kemdy": ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"],
    "asd": ["NOT_SPEAKING", "SPEAKING_AUDIBLE", "SPEAKING_NOT_AUDIBLE"],
}
CLIPS, GROUPS = 24, 6


def plant(path: Path, task: tasks.Task) -> Path:
    """A store whose features tell the labels of a task: per clip, or per row of two entities in each clip."""
    rng = np.random.default_rng(0)
    names = NAMES.get(task.name, [])
    clips = []
    with FeatureStore.open(path, "a") as store:
        for name, (_, dim) in INPUTS[task.name].items():
            scope = "entity" if task.unit == "row" else "clip"
            recipe = Recipe(name.split(".")[0], {"source": "synthetic"})
            store.create(FeatureSpec(name, "numeric", dim, "float16", recipe, scope=scope))
        if task.unit == "row":
            step = {"step": "labels", "columns": list(task.targets), "classes": {task.targets[0]: names}}
            recipe = Recipe("labels", {"source": "synthetic"}, preprocessing=(step,))
            store.create(FeatureSpec("labels.x", "label", 1, "float32", recipe, scope="entity"))
        for i in range(CLIPS):
            labels: dict[str, Any] = {}
            for entity in ("A", "B") if task.unit == "row" else (None,):
                rows = max(count for count, _ in INPUTS[task.name].values())
                latent = rng.random(rows)
                if task.unit == "clip":
                    latent[:] = latent[0]
                ids = np.minimum((latent * len(names)).astype(int), len(names) - 1)
                for name, (count, dim) in INPUTS[task.name].items():
                    values = np.linspace(-2, 2, dim) * (latent[:count, None] - 0.5)
                    values = values + 0.05 * rng.standard_normal((count, dim))
                    store.write(name, f"c{i:02d}", entity, values, np.arange(count) / 4, np.ones(count, bool))
                if task.unit == "row":
                    store.write("labels.x", f"c{i:02d}", entity, ids[:, None], np.arange(rows) / 4, np.ones(rows, bool))
                elif names:
                    labels = {task.targets[0]: names[ids[0]]}
                else:
                    labels = {name: float(latent[0]) for name in task.targets}
            clips.append(Clip(f"c{i:02d}", Path("gone.mp4"), group_id=f"g{i % GROUPS}", labels=labels))
        kinds: Sequence[str] = () if task.unit == "row" else task.targets
        store.write_clips(ClipsTable(clips, dict.fromkeys(kinds, "text" if names else "number")))
        store.commit()
    return path


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_a_task_is_trained_scored_saved_and_applied_as_it_stands(name: str, tmp_path: Path) -> None:
    task = tasks.task(name)
    if task.head not in heads.names():
        pytest.skip(f"the head `{task.head}` is not here yet")
    store = plant(tmp_path / "f.zarr", task)
    report = train_head(name, store, out=tmp_path / "out", folds=2, epochs=2)
    assert list(report.inputs.values()) == list(INPUTS[name])
    assert list(report.metrics) == list(task.metrics)
    assert report.n == (CLIPS * 2 * 20 if task.unit == "row" else CLIPS)
    text = (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    content = json.loads(text)
    assert content["target"] == ", ".join(task.targets)
    for setting, value in task.training.items():
        assert content["training"][setting] == (2 if setting == "epochs" else value)
    if name == "asd":
        assert content["classes"] == ["not SPEAKING_AUDIBLE", "SPEAKING_AUDIBLE"]
    done = predict(tmp_path / "out", store, tmp_path / "p.csv")
    assert done.count == report.n
