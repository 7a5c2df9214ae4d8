"""Out-of-fold predictions: every tested row under every seed, with what is needed to score and to write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .groups import Groups
from .intervals import RESAMPLES, Score, score_with_intervals


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of S seeds for N tested rows. A row that several folds tested is there several times.

    Args:
        clip_ids: (N,).
        entity_ids: (N,), None for the whole clip.
        groups: the group of each row.
        folds: number of the fold that tested each row, (N,), an index into `fold_names`.
        fold_names: of all folds.
        labels: true values (N,), or class ids.
        preds: predicted values (S, N), or class ids.
        seeds: (S,).
        classes: names of the classes; empty for regression.
        probabilities: for classes, (S, N, classes).

    Raises:
        BadInput: the lengths do not fit together.
    """

    clip_ids: Sequence[str]
    entity_ids: Sequence[str | None]
    groups: Groups
    folds: npt.NDArray[np.int64]
    fold_names: Sequence[str]
    labels: npt.NDArray[Any]
    preds: npt.NDArray[Any]
    seeds: Sequence[int]
    classes: Sequence[str] = ()
    probabilities: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        n, s = len(self.clip_ids), len(self.seeds)
        columns = {
            "entity_ids": (len(self.entity_ids),) == (n,),
            "groups": self.groups.codes.shape == (n,),
            "folds": self.folds.shape == (n,),
            "labels": self.labels.shape == (n,),
            "preds": self.preds.shape == (s, n),
            "probabilities": self.probabilities is None or self.probabilities.shape == (s, n, len(self.classes)),
        }
        wrong = [name for name, fits in columns.items() if not fits]
        if wrong or n == 0 or s == 0:
            raise BadInput(
                f"Predictions of {s} seeds for {n} rows were put together.",
                f"These do not fit: {', '.join(wrong) or 'there are none'}.",
                "Give one value for each row, and preds (seeds, rows).",
            )

    def score(self, metrics: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Score]:
        """Score them with intervals over groups; see `score_with_intervals`."""
        return score_with_intervals(
            self.preds,
            self.labels,
            self.folds,
            self.groups,
            metrics,
            fold_names=self.fold_names,
            resamples=resamples,
            seed=seed,
        )

    def tested_groups(self) -> int:
        """Return how many groups have a tested row."""
        return int(np.unique(self.groups.codes).size)

    def to_csv(self) -> str:
        r"""Return all predictions as CSV, seed by seed.

        Columns: `clip_id, entity_id, fold, seed, label, prediction`, and for classes `probability_<class>`
        each. Text is always quoted, so that ids with commas, quotes or line ends come back; entity_id is empty
        for the whole clip; numbers are written with the digits that bring them back; lines end with \n. Ids are
        not changed, also not those that a spreadsheet would take for a formula.
        """
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        chances = [f"probability_{name}" for name in self.classes] if self.probabilities is not None else []
        writer.writerow(["clip_id", "entity_id", "fold", "seed", "label", "prediction", *chances])
        for s, seed in enumerate(self.seeds):
            for i, clip_id in enumerate(self.clip_ids):
                likely = self.probabilities[s, i].tolist() if self.probabilities is not None else []
                writer.writerow(
                    [
                        clip_id,
                        self.entity_ids[i] or "",
                        self.fold_names[int(self.folds[i])],
                        int(seed),
                        self._value(self.labels[i]),
                        self._value(self.preds[s, i]),
                        *likely,
                    ]
                )
        return text.getvalue()

    def _value(self, value: Any) -> float | str:
        """A class by its name; a number with the digits that bring it back in its own precision, so 0.1 stays 0.1."""
        return self.classes[int(value)] if self.classes else float(str(value))
