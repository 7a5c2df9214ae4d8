"""Stores with a planted signal, for the tests of training."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe, Timebase
from cuebank.trainers import heads

NAMES = {
    "video": "i3d.k400+mean",
    "audio": "hubert-tiny.random-0@last",
    "text": "roberta-base.x+mean",
    "openface": "openface.v2+mean",
}
DIMS = {"video": 12, "audio": 10, "text": 8, "openface": 329}


def _spec(name: str, dim: int, seed: int = 0, dtype: str = "float32") -> FeatureSpec:
    return FeatureSpec(name, "numeric", dim, dtype, Recipe(name.split(".")[0], {"source": "synthetic", "seed": seed}))


@pytest.fixture
def spec() -> Callable[..., FeatureSpec]:
    """Return a description of a feature set: `spec(name, dim, seed=0, dtype="float32")`."""
    return _spec


@pytest.fixture(scope="session")
def plant() -> Callable[..., Path]:
    """Return a function that makes a store of clips of several groups, whose label is a function of the features.

    `fields(i)` may give further fields of clip i, `label(i, score)` another label, `skip(i, role)` the series to
    leave out. Audio has 1 to 4 rows, some not valid, others are pooled. There are no media where the paths point.
    """

    def make(
        folder: Path,
        name: str = "features.zarr",
        n: int = 160,
        groups: int = 8,
        roles: tuple[str, ...] = ("video", "audio"),
        noise: float = 0.5,
        seed: int = 0,
        fields: Callable[[int], Mapping[str, Any]] = lambda i: {},
        label: Callable[[int, float], Any] = lambda i, score: score,
        kind: str = "number",
        skip: Callable[[int, str], bool] = lambda i, role: False,
        column: str = "engagement",
    ) -> Path:
        rng = np.random.default_rng(seed)
        latent = rng.standard_normal((n, len(roles)))
        score = np.tanh(latent.sum(1) / np.sqrt(len(roles))) * 0.4
        with FeatureStore.open(folder / name, "a") as store:
            for r, role in enumerate(roles):
                store.create(_spec(NAMES[role], DIMS[role]))
                # The mapping is the same for every seed, so that a head can be applied to another store.
                direction = np.random.default_rng(99 + r).standard_normal(DIMS[role])
                for i in range(n):
                    rows = rng.integers(1, 5) if role == "audio" else 1
                    values = latent[i, r] * direction + noise * rng.standard_normal((rows, DIMS[role]))
                    valid = np.arange(rows) != 1
                    if not skip(i, role):
                        store.write(NAMES[role], f"clip{i:04d}", None, values, np.arange(rows, dtype=float), valid)
            clips = [
                Clip(
                    f"clip{i:04d}",
                    Path(f"/deleted/media/clip{i:04d}.mp4"),
                    **{"group_id": f"m{i % groups}", **fields(i)},
                    labels={column: label(i, float(score[i]))},
                )
                for i in range(n)
            ]
            store.write_clips(ClipsTable(clips, {column: kind}))
            store.commit()
        return folder / name

    return make


@pytest.fixture
def planted(plant: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return `plant` for the test's own folder."""
    return functools.partial(plant, tmp_path)


ROW_SETS = {"face": "face.x@1", "room": "room.x", "steps": "steps.x"}
ROW_DIMS = {"face": 5, "room": 3, "steps": 4}
LABELS = "toy.labels"


def label_spec(name: str, columns: list[str], classes: Mapping[str, list[str]] | None = None) -> FeatureSpec:
    """A label set as `import-labels` makes it."""
    step = {"step": "labels", "columns": columns, "classes": dict(classes or {})}
    recipe = Recipe("labels", {"source": "synthetic"}, preprocessing=(step,))
    return FeatureSpec(name, "label", len(columns), "float32", recipe, scope="entity")


@pytest.fixture(scope="session")
def plant_rows() -> Callable[..., Path]:
    """Return a function that makes a store of label series at 4 Hz: clips of two entities, `left` and `right`.

    `steps` has a row at each label, `face` rows at 25 Hz of each entity, `room` rows at 10 Hz of each clip. The labels
    (`emotion` of three classes, `level` and `drift`, numbers) are functions of `steps` and `face`. Every tenth label
    is missing. `skip(clip, entity, role)` leaves series out; `gone` is called with the store before the commit.
    """

    def make(
        folder: Path,
        name: str = "rows.zarr",
        clips: int = 24,
        groups: int = 6,
        noise: float = 0.2,
        seed: int = 0,
        dtype: str = "float16",
        skip: Callable[[int, str, str], bool] = lambda clip, entity, role: False,
        fields: Callable[[int], Mapping[str, Any]] = lambda i: {},
        more: Callable[[FeatureStore], None] = lambda store: None,
    ) -> Path:
        rng, fixed = np.random.default_rng(seed), np.random.default_rng(7)
        directions = {role: fixed.standard_normal(dim) for role, dim in ROW_DIMS.items()}
        rates = {"face": Fraction(25), "room": Fraction(10), "steps": Fraction(4)}
        with FeatureStore.open(folder / name, "a") as store:
            for role, set_name in ROW_SETS.items():
                base = _spec(set_name, ROW_DIMS[role], dtype=dtype)
                clock = Timebase(rates[role], 1 / rates[role] / 2, 1 / rates[role])
                scope = "clip" if role == "room" else "entity"
                store.create(dataclasses.replace(base, timebase=clock, scope=scope))
            columns = ["emotion", "level", "drift"]
            store.create(label_spec(LABELS, columns, {"emotion": ["calm", "happy", "sad"]}))
            for i in range(clips):
                for entity in ("left", "right"):
                    rows = int(rng.integers(6, 40))
                    times = (np.arange(rows) + 0.5) / 4
                    latent = np.cumsum(rng.standard_normal(rows)) * 0.4 + rng.standard_normal()
                    steps = latent[:, None] * directions["steps"] + noise * rng.standard_normal(
                        (rows, ROW_DIMS["steps"])
                    )
                    if not skip(i, entity, "steps"):
                        store.write(ROW_SETS["steps"], f"clip{i:02d}", entity, steps, times, np.ones(rows, bool))
                    fine = (np.arange(int(rows / 4 * 25)) + 0.5) / 25
                    near = np.interp(fine, times, latent)[:, None] * directions["face"]
                    if not skip(i, entity, "face"):
                        valid = rng.random(len(fine)) > 0.05
                        store.write(ROW_SETS["face"], f"clip{i:02d}", entity, near, fine, valid)
                    emotion = np.digitize(latent, [-0.7, 0.7])
                    labels = np.stack([emotion, np.tanh(latent), -0.5 * latent], 1)
                    there = np.arange(rows) % 10 != 3
                    store.write(LABELS, f"clip{i:02d}", entity, labels, times, there)
                if not skip(i, "", "room"):
                    seconds = (np.arange(100) + 0.5) / 10
                    noisy = rng.standard_normal((100, ROW_DIMS["room"]))
                    store.write(ROW_SETS["room"], f"clip{i:02d}", None, noisy, seconds, np.ones(100, bool))
            table = [
                Clip(f"clip{i:02d}", Path(f"/deleted/clip{i:02d}.mp4"), **{"group_id": f"m{i % groups}", **fields(i)})
                for i in range(clips)
            ]
            store.write_clips(ClipsTable(table))
            more(store)
            store.commit()
        return folder / name

    return make


@pytest.fixture
def planted_rows(plant_rows: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return `plant_rows` for the test's own folder."""
    return functools.partial(plant_rows, tmp_path)


@pytest.fixture
def row_heads(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """Add the heads of `row_heads.py` to those that there are."""
    path = Path(__file__).with_name("row_heads.py")
    module_spec = importlib.util.spec_from_file_location("row_heads", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    monkeypatch.setitem(sys.modules, "row_heads", module)
    module_spec.loader.exec_module(module)
    real = heads.head
    monkeypatch.setattr(heads, "head", lambda name: module.CARDS[name] if name in module.CARDS else real(name))
    return module.CARDS
