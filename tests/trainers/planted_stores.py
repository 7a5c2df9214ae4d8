"""Stores with a planted signal at a signal-to-noise ratio of 1, for `test_planted`: 400 series of 20 groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe
from cuebank.trainers.metrics import metric
from cuebank.trainers.report import Report
from cuebank.trainers.tasks import Task

N, GROUPS = 400, 20
# Columns. A layer norm takes one direction out, which is much of 8; among 16, what changes within a clip takes more
# items to be found than there are.
DIMS = {"linear": 16, "temporal": 8}
NAME, LABELS = "hubert-planted.x", "planted.labels"
NEAR = 2  # rows to each side whose mean a row's label follows, at 4 rows a second
# One label for each row; like the task `engagement` in all else that matters.
ROW_TASK = Task(
    name="planted",
    version=1,
    title="A planted level, four times a second",
    target="level",
    unit="row",
    kind="regression",
    inputs={"audio": ("hubert*",)},
    extract={},
    head="temporal-gnn",
    loss="ccc",
    metric="ccc",
    metrics=("ccc", "pearson"),
    training={"epochs": 6, "batch_size": 16, "lr": 3e-3, "clip_norm": 0.0, "keep_last": True},
)


def _noisy(signal: np.ndarray, rng: np.random.Generator, shuffled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the standardised signal, and labels that hold as much noise; shuffled, they have nothing to do with it."""
    signal = (signal - signal.mean()) / signal.std()
    labels = signal + rng.standard_normal(signal.size)
    return signal, rng.permutation(labels) if shuffled else labels


def _table(labels: np.ndarray | None, split: bool) -> ClipsTable:
    """A row for each clip; with a split, two of ten groups are tested and two select."""
    parts = ("test", "test", "val", "val", *["train"] * 6)
    clips = [
        Clip(
            f"clip{i:03d}",
            Path("/deleted/clip.mp4"),
            group_id=f"g{i % GROUPS:02d}",
            split=parts[i % GROUPS % 10] if split else None,
            labels={} if labels is None else {"engagement": float(labels[i])},
        )
        for i in range(N)
    ]
    return ClipsTable(clips, {} if labels is None else {"engagement": "number"})


def _spec(name: str, dim: int, **more: Any) -> FeatureSpec:
    return FeatureSpec(name, "numeric", dim, "float32", Recipe("hubert", {"source": "synthetic"}), **more)


def plant_clips(
    path: Path, kind: str, seed: int = 0, shuffled: bool = False, split: bool = False
) -> dict[tuple[str, float | None], float]:
    """Make a store with a label for each clip.

    Args:
        path: of the store.
        kind: `linear`: the label follows the mean over a clip's rows. `temporal`: how the rows of its second half
            differ from those of its first, of which the mean over all rows knows nothing.
        seed: of everything.
        shuffled: labels have nothing to do with features.
        split: give the table a split.

    Returns:
        (clip, None) -> what the generating model says.
    """
    rng = np.random.default_rng([seed, 5])
    dim = DIMS[kind]
    weights, rows, signal = rng.standard_normal(dim), [], np.empty(N)
    for i in range(N):
        count = 2 * int(rng.integers(4, 13))
        values = rng.standard_normal(dim) + 0.3 * rng.standard_normal((count, dim))
        if kind == "temporal":
            step = rng.standard_normal(dim)
            values += np.where(np.arange(count) < count // 2, -1, 1)[:, None] * step
            signal[i] = weights @ step
        else:
            signal[i] = weights @ values.mean(0)
        rows.append(values)
    signal, labels = _noisy(signal, rng, shuffled)
    with FeatureStore.open(path, "a") as store:
        store.create(_spec(NAME, dim))
        for i, values in enumerate(rows):
            store.write(NAME, f"clip{i:03d}", None, values, (np.arange(len(values)) + 0.5) / 4, _all(values))
        store.write_clips(_table(labels, split))
        store.commit()
    return {(f"clip{i:03d}", None): float(signal[i]) for i in range(N)}


def plant_rows(
    path: Path, kind: str, seed: int = 0, shuffled: bool = False, split: bool = False
) -> dict[tuple[str, float | None], float]:
    """Make a store with a label for each row, for `ROW_TASK`.

    Args:
        path: of the store.
        kind: `linear`: the label follows the row itself. `temporal`: the mean over the rows near it.
        seed, shuffled, split: as for `plant_clips`.

    Returns:
        (clip, seconds) -> what the generating model says.
    """
    rng = np.random.default_rng([seed, 6])
    dim = DIMS[kind]
    weights, rows, signals = rng.standard_normal(dim), [], []
    for _ in range(N):
        count = int(rng.integers(6, 13))
        values = rng.standard_normal((count, dim))
        each, near = values @ weights, NEAR if kind == "temporal" else 0
        signals.append([each[max(0, t - near) : t + near + 1].mean() for t in range(count)])
        rows.append(values)
    ends = np.cumsum([len(values) for values in rows])[:-1]
    flat, labels = _noisy(np.concatenate(signals), rng, shuffled)
    with FeatureStore.open(path, "a") as store:
        store.create(_spec(NAME, dim, scope="entity"))
        step = {"step": "labels", "columns": ["level"], "classes": {}}
        recipe = Recipe("labels", {"source": "synthetic"}, preprocessing=(step,))
        store.create(FeatureSpec(LABELS, "label", 1, "float32", recipe, scope="entity"))
        for i, (values, level) in enumerate(zip(rows, np.split(labels, ends), strict=True)):
            times = np.arange(len(values)) / 4
            store.write(NAME, f"clip{i:03d}", "P", values, times, _all(values))
            store.write(LABELS, f"clip{i:03d}", "P", level[:, None], times, _all(values))
        store.write_clips(_table(None, split))
        store.commit()
    return {
        (f"clip{i:03d}", t / 4): float(one) for i, part in enumerate(np.split(flat, ends)) for t, one in enumerate(part)
    }


def share_of_generator(report: Report, truth: dict[tuple[str, float | None], float]) -> float:
    """Return the CCC of a report, mean over folds, as a share of that of the generating model on the same rows."""
    found, ccc = report.predictions, metric("ccc")
    times = [None] * len(found.clip_ids) if found.times is None else found.times.tolist()
    said = np.array([truth[key] for key in zip(found.clip_ids, times, strict=True)])
    folds = [found.folds == i for i in range(len(found.fold_names))]
    best = np.mean([ccc(said[rows], found.labels[rows]) for rows in folds])
    mean = report.metrics["ccc"].mean
    assert mean is not None
    return float(mean / best)


def _all(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values), dtype=bool)
