"""The label-shuffle control: the same training on labels that say nothing, which must score no better than chance.

Labels are shuffled between groups: each group gets those of another, so that what is alike within a group stays alike,
and within a group their order changes too (groups often follow one script). Labels of rows stay in their order, but for
a turn, so that neighbours stay alike. What a head still finds it found through a leak: a split group that nobody
declared, a selection on the test part, a label among the features.

It has to cost little: the first seed only, as many folds as give 100 tested rows of two groups (often the first alone),
a fifteenth of the epochs.

What chance gives is measured, not assumed: the control's predictions are scored against 200 further shuffles of the
tested labels; the interval holds 95 % of these scores. An alarm takes p <= 0.01, so that one honest run in a hundred
gives one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store.errors import BadInput
from .device import cpu_threads
from .fitting import fit_heads, tested_outputs, worthwhile_threads
from .groups import Ints
from .heads._base import HeadCard
from .labels import RowLabels, labels_of
from .loop import decide
from .metrics import Metric, metric
from .prepared import Prepared
from .report_text import number
from .runs import Run, TrainConfig

SHUFFLES = 200
ALARM = 0.01
EPOCH_SHARE = 15  # the control trains for so many times fewer epochs: a few hundredths of the time of all folds
ENOUGH_ROWS, ENOUGH_GROUPS = 100, 2


@dataclass(frozen=True)
class Control:
    """What came of it. None stands for *undefined*; `reason` says why.

    Args:
        metric: name of the one that selects.
        score: of the control's predictions for its shuffled labels, over all rows of its folds.
        low, high: where 95 % of the scores lie that chance gives.
        p: share of chance's scores that are at least as good, 0..1.
        folds: their names. seed, epochs: of the control. n, groups: what was tested.
        reason: why there is no score; empty otherwise.
    """

    metric: str
    score: float | None
    low: float | None
    high: float | None
    p: float | None
    folds: tuple[str, ...]
    seed: int
    epochs: int
    n: int
    groups: int
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it scored no better than chance, or could not be scored."""
        return self.p is None or self.p > ALARM

    def sentence(self) -> str:
        """Say it in one line."""
        folds = f"fold {self.folds[0]}" if len(self.folds) == 1 else f"{len(self.folds)} folds"
        how = f"{folds}, seed {self.seed}, {self.epochs} epoch{'s' if self.epochs != 1 else ''}"
        if self.score is None:
            return f"Labels shuffled between groups ({how}): no score. {self.reason}".strip()
        said = f"{metric(self.metric).title} {number(self.score)}, by chance {number(self.low)} to {number(self.high)}"
        if self.ok:
            return f"Labels shuffled between groups ({how}): {said}."
        return (
            f"Labels shuffled between groups ({how}) were predicted better than chance: {said}, p = {self.p:.3f}. "
            "Something leaks: look for one person in several groups, and for labels among the features."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, undefined as null."""
        return {**vars(self), "folds": list(self.folds), "ok": self.ok}


def run_control(
    card: HeadCard,
    head_config: Any,
    data: Prepared,
    runs: Sequence[Run],
    config: TrainConfig,
    device: str = "cpu",
    fused: bool = True,
) -> Control:
    """Train on shuffled labels, and score what was learnt.

    Args:
        card, head_config, config, device, fused: as the runs were trained.
        data: what they were trained on.
        runs: of the first seed, one for each fold.
    """
    chosen = _enough_folds(data)
    folds = [data.plan.folds[i] for i in chosen]
    seed = runs[0].seed
    brief = replace(config, epochs=-(-config.epochs // EPOCH_SHARE))
    said: dict[str, Any] = {
        "metric": config.metric,
        "folds": tuple(fold.name for fold in folds),
        "seed": seed,
        "epochs": brief.epochs if card.fit is None else 1,
        "n": int(sum(data.weights()[fold.test].sum() for fold in folds)),
        "groups": int(np.unique(np.concatenate([data.groups.codes[fold.test] for fold in folds])).size),
    }
    rng = np.random.default_rng([seed, 2])
    labels = shuffled_labels(data, rng)
    ours = [replace(runs[i], name=f"control.{runs[i].name}", labels=labels) for i in chosen]
    try:
        models = [run.new_head(card, data.outputs, head_config) for run in ours]
        with cpu_threads(min(torch.get_num_threads(), worthwhile_threads(models, ours, brief, fused))):
            outcomes = fit_heads(card, models, ours, brief, device, fused)
            outputs = tested_outputs(models, ours, outcomes, [fold.test for fold in folds], brief, device)
    except BadInput as error:  # its labels may have become one class, or its loss infinite: no reason to end here
        return Control(score=None, low=None, high=None, p=None, reason=error.found, **said)
    one = metric(config.metric)
    preds = decide(torch.cat(outputs), one.kind)
    truth = torch.cat([labels_of(labels).of(fold.test)[1] for fold in folds]).numpy()
    groups = np.concatenate([data.tested(fold.test).groups for fold in folds])
    return Control(**said, **_scores(one, preds, truth, groups, data.table is not None, rng))


def shuffled_labels(data: Prepared, rng: np.random.Generator) -> Tensor | RowLabels:
    """Return the labels of items, or of their labelled rows, shuffled between groups."""
    labels, codes = data.labels, data.groups.codes
    if isinstance(labels, RowLabels):
        items = torch.arange(len(data.keys))
        rows = labels.spans.flat(items)
        rows_of = np.repeat(codes, labels.spans.lengths[items].numpy())
        there = labels.labelled[rows]
        rows, rows_of = rows[there], rows_of[there.numpy()]
        values = labels.values.clone()
        values[rows] = labels.values[rows[torch.from_numpy(shuffle(rows_of, rng, turned=True))]]
        return replace(labels, values=values)
    return labels[torch.from_numpy(shuffle(codes, rng, turned=data.table is not None))]


def shuffle(groups: Ints, rng: np.random.Generator, turned: bool = False) -> Ints:
    """Return for each row the row whose label it gets.

    Args:
        groups: of each row, (N,).
        rng: of the draws.
        turned: keep the order within a group, but for a turn; False: any order.

    Returns:
        (N,) int64, each row once. Where groups have equally many rows, a group gets the labels of one other group;
        else those of neighbours in a random order of the groups.

    Example:
        >>> order = shuffle(np.repeat([0, 1], 3), np.random.default_rng(0))
        >>> sorted(order[:3].tolist()), sorted(order[3:].tolist())
        ([3, 4, 5], [0, 1, 2])
    """
    present, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    count, n = present.size, groups.size
    place = rng.permutation(count)
    receiving = place[codes]
    giving = (receiving + (rng.integers(1, count) if count > 1 else 0)) % count
    if turned:
        # Row k of a group of s rows is number (k + turn) mod s among those that it gives.
        first = np.argsort(codes, kind="stable")
        begins = np.cumsum(sizes) - sizes
        within = np.empty(n, dtype=np.int64)
        within[first] = np.arange(n) - np.repeat(begins, sizes)
        turn = rng.integers(1, np.maximum(sizes, 2))
        key = (within + turn[codes]) % sizes[codes]
    else:
        key = rng.permutation(n)
    order = np.empty(n, dtype=np.int64)
    order[np.argsort(receiving, kind="stable")] = np.lexsort((key, giving))
    return order


def _enough_folds(data: Prepared) -> list[int]:
    """Return the first folds, enough for a score that says something; all of them if there are no more."""
    rows, weights = 0, data.weights()
    groups: set[int] = set()
    chosen = []
    for i, fold in enumerate(data.plan.folds):
        chosen.append(i)
        rows += int(weights[fold.test].sum())
        groups |= set(np.unique(data.groups.codes[fold.test]).tolist())
        if rows >= ENOUGH_ROWS and len(groups) >= ENOUGH_GROUPS:
            break
    return chosen


def _scores(
    one: Metric,
    preds: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    groups: Ints,
    turned: bool,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return score, interval of chance and p of predictions (N,) or (N, K)."""
    score = float(one(preds, truth))
    if np.isnan(score):
        reason = f"It is undefined: {one.undefined or 'there are no rows'}."
        return {"score": None, "low": None, "high": None, "p": None, "reason": reason}
    chance = np.array([float(one(preds, truth[shuffle(groups, rng, turned)])) for _ in range(SHUFFLES)])
    chance = chance[~np.isnan(chance)]
    if not chance.size:
        return {"score": score, "low": None, "high": None, "p": None, "reason": "Chance has no score here."}
    low, high = (float(edge) for edge in np.quantile(chance, [0.025, 0.975]))
    as_good = sum(not one.better(score, float(other)) for other in chance)
    return {"score": score, "low": low, "high": high, "p": float((1 + as_good) / (1 + chance.size))}
