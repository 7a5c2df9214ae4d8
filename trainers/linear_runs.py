"""Fit the head `linear` for training runs: the closed-form counterpart of the loops `loop` and `fused`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..store.errors import BadInput
from .linear_paths import FittedLinear, fit_linear
from .linear_spaces import Floats

if TYPE_CHECKING:
    from .heads._base import Head
    from .runs import Outcome, Run, TrainConfig


def fit_runs(heads: Sequence[Head], runs: Sequence[Run], config: TrainConfig) -> list[Outcome]:
    """Fit one head per run. Runs that differ in their seed only have one result.

    Args:
        heads: of the kind `linear`, one for each run, over the same features; they are left as they are.
        runs: with one vector and one label, or one label of each output, for each item.
        config: its metric chooses the penalty; its loss is only reported. All else is about steps and has no effect.

    Returns:
        An outcome for each run, in their order, as of a training that ended after one epoch.

    Raises:
        BadInput: if items have rows or a label for each row; if they are to be drawn by their label; as `fit_linear`.
    """
    if config.sampler != "shuffled":
        raise BadInput(
            "The head `linear` was to be fitted.",
            f"Items were to be drawn by the sampler `{config.sampler}`; in closed form all of them weigh the same.",
            "Use --sampler shuffled, or another head.",
        )
    done: dict[tuple[Any, ...], Outcome] = {}
    todo: dict[tuple[Any, ...], tuple[Head, Run]] = {}
    keys = [_key(run) for run in runs]
    for key, head, run in zip(keys, heads, runs, strict=True):
        todo.setdefault(key, (head, run))
    # Runs over one set of features and labels share what is computed of all rows.
    for shared in dict.fromkeys((id(run.features), id(run.labels)) for run in runs):
        some = {key: pair for key, pair in todo.items() if key[:2] == shared}
        fitted = _fit([head for head, _ in some.values()], [run for _, run in some.values()], config)
        done.update(zip(some, fitted, strict=True))
    return [_of_run(done[key], run.name) for key, run in zip(keys, runs, strict=True)]


def _of_run(outcome: Outcome, name: str) -> Outcome:
    """Return the outcome under a run's name, with tensors of its own: safetensors writes none that share memory."""
    return replace(outcome, name=name, state={key: value.clone() for key, value in outcome.state.items()})


def _key(run: Run) -> tuple[Any, ...]:
    scalings = tuple((role, id(one)) for role, one in sorted(run.scalings.items()))
    return id(run.features), id(run.labels), run.train.tobytes(), run.validation.tobytes(), scalings


def _fit(heads: Sequence[Head], runs: Sequence[Run], config: TrainConfig) -> list[Outcome]:
    """Fit runs over one set of features and labels."""
    from .loop import score_of
    from .runs import Inputs

    inputs, labels = runs[0].inputs("cpu"), runs[0].labels
    if not (isinstance(inputs, Inputs) and isinstance(labels, torch.Tensor)):
        raise BadInput(
            "The head `linear` was to be fitted.", "Items have rows, or a label for each row.", "Use another head."
        )
    head: Any = heads[0]
    parts = inputs.features.split(inputs.features.matrix)
    values = torch.cat([parts[role] for role in head.roles], 1).numpy()  # (N, D)
    selector, classes = config.selector(), not labels.is_floating_point()

    def score(outputs: Floats, wanted: Any) -> float:
        return score_of(selector, torch.from_numpy(outputs), torch.from_numpy(wanted))

    seen = [_seen(run, head.roles, parts) for run in runs]
    fitted = fit_linear(
        values,
        labels.numpy(),
        [(run.train, run.validation) for run in runs],
        head.config.path(),
        "classes" if classes else "regression",
        score=score,
        better=selector.better,
        classes=head.out.out_features if classes else None,
        per_row=True,
        standardise=head.config.standardise,
        units=[scale for _, scale in seen],
    )
    return [_outcome(one, run, at, config, values) for one, run, at in zip(fitted, runs, seen, strict=True)]


def _seen(run: Run, roles: Sequence[str], parts: Any) -> tuple[Floats, Floats]:
    """Return shift and scale (D,) such that the head is given (values - shift) / scale."""
    shifts, scales = [], []
    for role in roles:
        scaling, dim = run.scalings.get(role), parts[role].shape[1]
        if scaling is None:
            shifts.append(np.zeros(dim))
            scales.append(np.ones(dim))
        else:
            scale = scaling.scale.double().expand(dim).numpy()
            shifts.append(scaling.shift.double().expand(dim).numpy() - scaling.offset * scale)
            scales.append(scale)
    return np.concatenate(shifts), np.concatenate(scales)


def _outcome(
    fitted: FittedLinear, run: Run, seen: tuple[Floats, Floats], config: TrainConfig, values: npt.NDArray[np.floating]
) -> Outcome:
    """Return the solution as the state of a head that sees scaled values, with its losses."""
    from .loop import loss_of
    from .runs import Outcome

    defined = not np.isnan(fitted.score)
    outcome = Outcome(run.name, fitted.state(*seen), best_epoch=int(defined), best_score=fitted.score)
    labels: Any = run.labels
    if labels.is_floating_point():
        labels = labels.double()
    for name, rows in (("train_loss", run.train), ("validation_loss", run.validation)):
        outputs = torch.from_numpy(values[rows].astype(np.float64) @ fitted.weight.T + fitted.bias)
        outcome.curves[name].append(float(loss_of(config.criterion(), outputs, labels[torch.from_numpy(rows)])))
    outcome.curves["validation_score"].append(fitted.score)
    return outcome
