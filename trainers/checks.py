"""Checks of a training run that are made whenever one ends, each a sentence for the report.

They look at what was really trained and scored, not at what was planned: which items the runs saw, what is in the store
twice, whether the scores are those of whole parts (and not means over batches), whether padding reaches the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store import FeatureStore, Key
from ..store.duplicates import find_duplicates
from .batches import find_places
from .heads._base import Head
from .labels import RowLabels, labels_of
from .loop import decide, evaluate
from .metrics import Metric, metric
from .prepared import Prepared
from .report import Report
from .runs import Inputs, Outcome, Run, TrainConfig

NAMED = 3  # examples in a sentence
SAMPLE = 8  # items whose means are computed again
CLOSE = 1e-3  # scores that differ by less are equal but for rounding; relative to those above 1
WHOLE = "Scores are over all rows of a part at once, not means over batches"


@dataclass(frozen=True)
class Check:
    """One check: its name, whether nothing was found, and that in words."""

    name: str
    ok: bool
    said: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))


def check_groups(data: Prepared, runs: Sequence[Run]) -> Check:
    """Look for groups on two sides of a split, among the items that each run was trained on and is tested on."""
    folds, codes = data.plan.folds, data.groups.codes
    found = []
    for i, run in enumerate(runs[: len(folds)]):
        fold = folds[i]
        train = fold.train if data.windows is not None else run.train
        both = np.intersect1d(codes[train], codes[fold.test])
        if both.size:
            named = ", ".join(repr(data.groups.names[code]) for code in both[:NAMED])
            found.append(f"Fold {fold.name} tests {both.size} group(s) that it was trained on: {named}.")
    if found:
        return Check("groups", False, " ".join(found[:NAMED]))
    groups = np.unique(codes).size
    return Check("groups", True, f"No group is both trained on and tested ({groups} groups, {len(folds)} folds).")


def check_selection(data: Prepared, runs: Sequence[Run]) -> Check:
    """Look for items or groups that selected the epoch and are tested too."""
    folds, codes = data.plan.folds, data.groups.codes
    found = []
    for fold, run in zip(folds, runs, strict=False):
        both = np.intersect1d(codes[run.validation], codes[fold.test])
        if both.size:
            found.append(fold.name)
    if found:
        shown = ", ".join(found[:NAMED]) + (" …" if len(found) > NAMED else "")
        return Check(
            "selection",
            False,
            f"The epoch was selected on groups that are tested, in {len(found)} of {len(folds)} folds ({shown}): the "
            "scores are best-epoch scores, not test scores.",
        )
    return Check("selection", True, "No group that selected the epoch is tested.")


def check_duplicates(data: Prepared, store: FeatureStore) -> Check:
    """Look for clips or entities of different groups that have the same content in all inputs."""
    groups = _groups_of_keys(data)
    keys = list(groups)
    places = {spec.name: find_places(store, spec.name, keys) for spec in data.specs.values()}
    found = []
    for items in find_duplicates(store, places):
        if len({groups[keys[i]] for i in items}) > 1:
            found.append(" = ".join(_named(keys[i]) for i in items[:NAMED]))
    if found:
        more = " …" if len(found) > NAMED else ""
        return Check(
            "duplicates",
            False,
            f"{len(found)} clip(s) are there more than once, in different groups, with the same features: "
            f"{'; '.join(found[:NAMED])}{more}. A head may know the answer by heart: give copies one group_id.",
        )
    return Check("duplicates", True, f"No features are there twice in different groups ({len(keys)} series).")


def check_scores(
    report: Report, models: Sequence[Head], runs: Sequence[Run], outcomes: Sequence[Outcome], config: TrainConfig
) -> Check:
    """Compute scores again, each over all rows of its part at once: those of the folds, and the first run's selection.

    Args:
        report: with the scores that are to be checked.
        models: with their kept states, of the runs.
        runs, outcomes: seed by seed, fold by fold.
        config: its metric selected.
    """
    one, found = metric(config.metric), report.predictions
    preds = found.scored(one.kind, [config.metric])
    for i, name in enumerate(found.fold_names):
        rows = np.flatnonzero(found.folds == i)
        if not rows.size:
            continue
        scores = [float(one(seed[rows], found.labels[rows])) for seed in preds]
        wrong = _differs(
            one, report.metrics[config.metric].per_fold[i], float(np.mean(scores)), preds[0][rows], found.labels[rows]
        )
        if wrong:
            return Check("scores", False, f"Fold {name}: {wrong}")
    run, outcome = runs[0], outcomes[0]
    if np.isnan(outcome.best_score):  # nothing was selected, or a head in closed form does not say by what
        return Check("scores", True, f"{WHOLE} ({one.title}).")
    device = next(models[0].parameters()).device
    outputs = evaluate(models[0], run.inputs(device), run.validation)
    keep, labels = labels_of(run.labels).of(run.validation)
    answers, truth = decide(outputs if keep is None else outputs[keep], one.kind), labels.numpy()
    wrong = _differs(one, outcome.best_score, float(one(answers, truth)), answers, truth, config.batch_size)
    if wrong:
        return Check("scores", False, f"Run {run.name} was selected by another score. {wrong}")
    return Check("scores", True, f"{WHOLE}, that of the selection too ({one.title}).")


def check_padding(data: Prepared, model: Head, run: Run, store: FeatureStore) -> Check:
    """Look whether rows that are not there, or not valid, reach what a head gives, or is given.

    Heads that take rows answer for a short item alone and padded beside a long one; for others the means over valid
    rows of some items are computed again.
    """
    if not isinstance(run.inputs("cpu"), Inputs):
        return _check_padded(data, model, run)
    if data.table is not None:
        return Check("padding", True, "Each row is an item: nothing is padded or averaged.")
    rng = np.random.default_rng(0)
    items = np.sort(rng.permutation(len(data.keys))[:SAMPLE])
    features = run.inputs("cpu").features
    parts = features.split(features.matrix)  # type: ignore[union-attr]
    for role, spec in data.specs.items():
        for item, place in zip(items, find_places(store, spec.name, [data.keys[i] for i in items]), strict=True):
            if place is None:
                continue
            values, _, valid = store.read(spec.name, *place)
            mean = values[valid].astype(np.float64).mean(0)
            slack = CLOSE * max(1.0, float(np.abs(mean).max()))
            if float(np.abs(parts[role][item].double().numpy() - mean).max()) > slack:
                return Check(
                    "padding",
                    False,
                    f"The features of {_named(data.keys[item])} in `{spec.name}` are not the mean of its valid rows.",
                )
    return Check("padding", True, f"Features are means over valid rows only ({len(items)} items computed again).")


def _check_padded(data: Prepared, model: Head, run: Run) -> Check:
    device = next(model.parameters()).device
    lengths = run.features.longest[: len(data.keys)]  # type: ignore[union-attr]
    order = lengths.argsort(stable=True)
    short, long = int(order[0]), int(order[int(0.9 * (len(order) - 1))])
    inputs = run.inputs(device)
    model.eval()
    with torch.no_grad():
        alone = model(**inputs.arguments(torch.tensor([short])))[0]
        beside = model(**inputs.arguments(torch.tensor([short, long])))[0]
    if alone.ndim == 2:  # outputs for rows
        rows = int(lengths[short])
        alone, beside = alone[:rows], beside[:rows]
    apart = float((alone - beside).abs().max())
    if apart > CLOSE * max(1.0, float(alone.abs().max())):
        return Check(
            "padding",
            False,
            f"The outputs for {_named(data.keys[short])} change by {apart:.3g} when it is padded beside a longer item: "
            "the head looks at rows that are not there.",
        )
    return Check("padding", True, "Outputs do not depend on padding or on the other items of a batch.")


def _differs(
    one: Metric,
    reported: float | None,
    whole: float,
    preds: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    batch: int | None = None,
) -> str:
    """Say how a score differs from that of all rows at once; an empty text if it does not."""
    shown = np.nan if reported is None else reported
    slack = CLOSE * max(1.0, abs(whole)) + (2 / len(truth) if one.kind == "classes" else 0.0)
    if np.isnan(shown) == np.isnan(whole) and not abs(shown - whole) > slack:
        return ""
    said = f"{one.title} of all its rows at once is {whole:.4g}, not {shown:.4g}"
    if batch is not None:
        parts = [slice(start, start + batch) for start in range(0, len(truth), batch)]
        mean = float(np.mean([float(one(preds[part], truth[part])) for part in parts]))
        if abs(mean - shown) <= slack:
            return f"{said}, which is the mean over batches of {batch}."
    return f"{said}."


def _groups_of_keys(data: Prepared) -> dict[Key, int]:
    """Return the group of each clip or entity whose series are looked at."""
    if data.table is None:
        return dict(zip(data.keys, data.groups.codes.tolist(), strict=True))
    if not isinstance(data.labels, RowLabels):
        return dict(zip((data.table.keys[i] for i in data.table.key_of_row), data.groups.codes.tolist(), strict=True))
    items = torch.arange(len(data.keys))
    rows, lengths = data.labels.spans.flat(items), data.labels.spans.lengths[items]
    codes = torch.from_numpy(data.groups.codes).repeat_interleave(lengths)
    pairs: Tensor = torch.stack([torch.from_numpy(data.table.key_of_row)[rows], codes]).unique(dim=1)
    return {data.table.keys[key]: code for key, code in pairs.T.tolist()}


def _named(key: Key) -> str:
    return repr(key.clip_id if key.entity_id is None else tuple(key))
