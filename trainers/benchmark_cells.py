"""The cells of a benchmark on the disk: one training run each, written whole or not at all, and read back.

A cell is a JSON file (what was asked for, how it ended, its report in short) and, if it was trained, an `.npz` file
with its predictions. The JSON comes last and holds the other's hash, so that a cell that is there is complete.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import write_atomic
from .groups import Groups
from .predictions import Predictions
from .report import Report

FORMAT = 1
# What of a report the leaderboard needs; the rest can be had by `train-head` with the same settings.
KEPT = (
    "metric",
    "n",
    "groups",
    "protocol",
    "intervals_widened",
    "parameters",
    "control",
    "checks",
    "warnings",
    "seconds",
    "environment",
)


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Args:
        head: its name. inputs: role -> feature set. seed: of the run.
        key: hash of all that decides the result, see `benchmark`.
    """

    head: str
    inputs: Mapping[str, str]
    seed: int
    key: str

    @property
    def name(self) -> str:
        """Of its files: the same place in the grid has the same name, whatever its key."""
        mix = sha256(json.dumps(dict(self.inputs)).encode()).hexdigest()[:12]
        return f"{self.head}.{mix}.seed{self.seed}"

    def said(self) -> str:
        """Say it in words."""
        return f"{self.head} on {', '.join(self.inputs.values())}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Ended:
    """A cell that has ended.

    Args:
        cell: which.
        report: in short; empty if it failed.
        predictions: None if it failed.
        reason: why it failed; empty otherwise.
    """

    cell: Cell
    report: Mapping[str, Any]
    predictions: Predictions | None
    reason: str = ""


def write_done(folder: Path, cell: Cell, report: Report) -> Ended:
    """Write a trained cell."""
    content = report.to_json()
    short = {name: content[name] for name in KEPT if name in content}
    arrays = _packed(report.predictions)
    write_atomic(folder / f"{cell.name}.npz", arrays)
    _write(folder, cell, {"report": short, "predictions": sha256(arrays).hexdigest()})
    return Ended(cell, short, report.predictions)


def write_failed(folder: Path, cell: Cell, reason: str) -> Ended:
    """Write a cell that failed; it is tried again the next time."""
    _write(folder, cell, {"failed": reason})
    return Ended(cell, {}, None, reason)


def read_done(folder: Path, cell: Cell) -> Ended | None:
    """Return a cell that was trained with the same key; None if it has to be trained (again)."""
    try:
        content = json.loads((folder / f"{cell.name}.json").read_text(encoding="utf-8"))
        arrays = (folder / f"{cell.name}.npz").read_bytes()
    except (OSError, ValueError):  # never trained, or damaged: trained anew in either case
        return None
    if not isinstance(content, dict) or (content.get("format"), content.get("key")) != (FORMAT, cell.key):
        return None
    if content.get("predictions") != sha256(arrays).hexdigest():
        return None
    return Ended(cell, content["report"], _unpacked(arrays))


def _write(folder: Path, cell: Cell, more: Mapping[str, Any]) -> None:
    content = {
        "format": FORMAT,
        "head": cell.head,
        "inputs": dict(cell.inputs),
        "seed": cell.seed,
        "key": cell.key,
        **more,
    }
    write_atomic(
        folder / f"{cell.name}.json", json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    )


def _packed(found: Predictions) -> bytes:
    """Return predictions as the bytes of an .npz file; texts are JSON in it, so that every id comes back."""
    texts = {
        "clip_ids": list(found.clip_ids),
        "entity_ids": list(found.entity_ids),
        "groups": list(found.groups.names),
        "fold_names": list(found.fold_names),
        "seeds": list(found.seeds),
        "classes": list(found.classes),
        "names": list(found.names),
    }
    arrays = {"group": found.groups.codes, "fold": found.folds, "labels": found.labels, "preds": found.preds}
    for name in ("probabilities", "times"):
        if getattr(found, name) is not None:
            arrays[name] = getattr(found, name)
    file = io.BytesIO()
    np.savez_compressed(file, texts=np.frombuffer(json.dumps(texts).encode(), np.uint8), **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> Predictions:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    texts = json.loads(arrays["texts"].tobytes())
    return Predictions(
        clip_ids=texts["clip_ids"],
        entity_ids=texts["entity_ids"],
        groups=Groups(arrays["group"], tuple(texts["groups"])),
        folds=arrays["fold"],
        fold_names=texts["fold_names"],
        labels=arrays["labels"],
        preds=arrays["preds"],
        seeds=texts["seeds"],
        classes=texts["classes"],
        probabilities=arrays.get("probabilities"),
        times=arrays.get("times"),
        names=texts["names"],
    )
