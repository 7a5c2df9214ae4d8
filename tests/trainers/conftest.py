"""Stores with a planted signal, for the tests of training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe

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
