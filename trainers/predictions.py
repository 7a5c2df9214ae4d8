"""Out-of-fold predictions: every tested row under every seed, with what is needed to score and to write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .groups import Groups
from .intervals import RESAMPLES, Score, score_with_intervals
from .metrics import metric


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of S seeds for N tested rows. A row that several folds tested is there several times.

    Args:
        clip_ids: (N,).
        entity_ids: (N,), None for the whole clip.
        groups: the group of each row.
        folds: number of the fold that tested each row, (N,), an index into `fold_names`.
        fold_names: of all folds.
        labels: true values (N,), or (N, K) of K outputs, or class ids (N,).
        preds: predicted values (S, N) or (S, N, K), or class ids (S, N).
        seeds: (S,).
        classes: names of the classes; empty for regression.
        probabilities: for classes, (S, N, classes).
        times: (N,) seconds, where each row has one.
        names: of the K outputs.

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
    times: npt.NDArray[np.float64] | None = None
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        n, s = len(self.clip_ids), len(self.seeds)
        several = (len(self.names),) if len(self.names) > 1 else ()
        columns = {
            "entity_ids": (len(self.entity_ids),) == (n,),
            "groups": self.groups.codes.shape == (n,),
            "folds": self.folds.shape == (n,),
            "labels": self.labels.shape == (n, *several),
            "preds": self.preds.shape == (s, n, *several),
            "times": self.times is None or self.times.shape == (n,),
            "probabilities": self.probabilities is None or self.probabilities.shape == (s, n, len(self.classes)),
        }
        wrong = [name for name, fits in columns.items() if not fits]
        if wrong or n == 0 or s == 0:
            raise BadInput(
                f"Predictions of {s} seeds for {n} rows were put together.",
                f"These do not fit: {', '.join(wrong) or 'there are none'}.",
                "Give one value for each row, and preds (seeds, rows).",
            )

    def score(
        self, metrics: Sequence[str], resamples: int = RESAMPLES, seed: int = 0, widen: float = 1.0
    ) -> dict[str, Score]:
        """Score them with intervals over groups; see `score_with_intervals`. Of several outputs, the mean is scored."""
        scores: dict[str, Score] = {}
        by_kind: dict[str, list[str]] = {}
        for name in metrics:
            by_kind.setdefault(metric(name).kind, []).append(name)
        for kind, names in by_kind.items():
            scores |= score_with_intervals(
                self.scored(kind, names),
                self.labels,
                self.folds,
                self.groups,
                names,
                fold_names=self.fold_names,
                resamples=resamples,
                seed=seed,
                widen=widen,
            )
        return {name: scores[name] for name in metrics}

    def per_output(self, name: str) -> Mapping[str, list[float]]:
        """Return a metric of each of several outputs, over all rows, for each seed; nan where undefined."""
        one = metric(name)
        return {
            output: [float(one(preds[:, k], self.labels[:, k])) for preds in self.preds]
            for k, output in enumerate(self.names if len(self.names) > 1 else ())
        }

    def scored(self, kind: str, names: Sequence[str]) -> npt.NDArray[Any]:
        """Return what a kind of metric looks at: the predictions, or the probability of the second of two classes."""
        if kind != "scores":
            return self.preds
        if self.probabilities is None or len(self.classes) != 2:
            raise BadInput(
                f"{', '.join(names)} of predictions was asked for.",
                f"They are of {len(self.classes) or 'no'} classes.",
                "It takes two classes, of which the second is the positive one.",
            )
        return self.probabilities[..., 1].astype(np.float64)

    def tested_groups(self) -> int:
        """Return how many groups have a tested row."""
        return int(np.unique(self.groups.codes).size)

    def to_csv(self) -> str:
        r"""Return all predictions as CSV, seed by seed.

        Columns: `clip_id, entity_id`, `time_s` where each row has one, `fold, seed, label, prediction`, and for classes
        `probability_<class>` each; of several outputs `label_<output>` and `prediction_<output>` each. Text is always
        quoted, so that ids with commas, quotes or line ends come back; entity_id is empty for the whole clip; numbers
        are written with the digits that bring them back; lines end with \n. Ids are not changed, also not those that
        a spreadsheet would take for a formula.
        """
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        chances = [f"probability_{name}" for name in self.classes] if self.probabilities is not None else []
        timed = [] if self.times is None else ["time_s"]
        ends = [f"_{name}" for name in self.names] if len(self.names) > 1 else [""]
        answers = [f"{what}{end}" for what in ("label", "prediction") for end in ends]
        writer.writerow(["clip_id", "entity_id", *timed, "fold", "seed", *answers, *chances])
        for s, seed in enumerate(self.seeds):
            for i, clip_id in enumerate(self.clip_ids):
                likely = self.probabilities[s, i].tolist() if self.probabilities is not None else []
                writer.writerow(
                    [
                        clip_id,
                        self.entity_ids[i] or "",
                        *([] if self.times is None else [float(self.times[i])]),
                        self.fold_names[int(self.folds[i])],
                        int(seed),
                        *map(self._value, np.atleast_1d(self.labels[i])),
                        *map(self._value, np.atleast_1d(self.preds[s, i])),
                        *likely,
                    ]
                )
        return text.getvalue()

    def _value(self, value: Any) -> float | str:
        """A class by its name; a number with the digits that bring it back in its own precision, so 0.1 stays 0.1."""
        return self.classes[int(value)] if self.classes else float(str(value))
