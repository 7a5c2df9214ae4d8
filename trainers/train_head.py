"""Train a head for a task on stored features, fold by fold, and report how it does on what it has not seen.

Only the store is read: its clips table gives labels, groups and folds, its feature sets the inputs, its label series
the labels of rows; media may be long deleted.

The default protocol keeps groups whole, selects the epoch on groups taken out of the training part, and scores
the test part of each fold once. `sempi` is the published protocol of the engagement task: its own folds, clips
drawn by label, its variants of the losses, and an epoch that is selected on the test part, so that its score is
a best-epoch score.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..store import BadInput, ClipsTable, FeatureStore
from . import heads, tasks
from .atomic import make_folder
from .choices import Wanted, check_choices
from .device import check_device, cpu_threads
from .environment import environment
from .fitting import Progress, fit_heads, tested_outputs, worthwhile_threads
from .options import configure
from .preparation import prepare
from .protocol import VALIDATION_FRACTION
from .report import Report
from .safeguards import safeguarded
from .tasks import Task
from .trained import Trained
from .training_config import training_config

FITTED_OPENFACE = (
    "OpenFace columns are normalised by the training rows; the published protocol uses two fixed vectors "
    "(--openface-norm FILE)."
)


CLOSED_FORM = (
    "Task `{task}` draws its items {sampler}; the head `{head}` is fitted in closed form, where all of them weigh the "
    "same."
)


def train_head(
    task: str | Task,
    store: str | os.PathLike[str] | FeatureStore,
    *,
    out: Path | None = None,
    clips: str | os.PathLike[str] | ClipsTable | None = None,
    inputs: Mapping[str, str] | None = None,
    head: str | None = None,
    settings: Mapping[str, Any] | None = None,
    target: str | Sequence[str] | None = None,
    labels: str | None = None,
    classes: int | None = None,
    loss: str | None = None,
    protocol: str | None = None,
    folds: int | None = None,
    seeds: Sequence[int] = (0,),
    validation_fraction: float = VALIDATION_FRACTION,
    normalise: str | None = None,
    openface_norm: str | Path | None = None,
    window_rows: int | None = None,
    memory: float | None = None,
    device: str = "cpu",
    threads: int | None = None,
    fused: bool = True,
    control: bool = True,
    progress: Progress | None = None,
    **training: Any,
) -> Report:
    """Train one head per fold and seed, predict each fold's test part, and score the predictions.

    Args:
        task: a task, its name, or the path of a TOML file with one.
        store: a store, or its path.
        out: folder for the report and the heads; None writes nothing.
        clips: a clips table with labels, groups and folds, or its CSV; its media need not exist. None: the newest
            table that the store keeps.
        inputs: role -> feature set; None: those of the store whose names fit the task.
        head: name of a head; None: the task's.
        settings: of the head, by name.
        target: label column, or several; None: the task's.
        labels: for tasks of unit `row`: the label set; None: the only one in the store that has the columns.
        classes: for a task with classes: how many to derive from a score.
        loss: name; None: the task's.
        protocol: `default` (the table's folds or split where it has them, else a group k-fold), `sempi`, or a
            way to split by name (see `protocol`); None: the task's.
        folds: how many, where the table does not say; None: the task's.
        seeds: of initial weights, order and dropout; folds are the same for all.
        validation_fraction: share of the training rows that selects the epoch.
        normalise: `none`, or `standard`: mean 0 and deviation 1 on the training rows, all inputs but OpenFace; None:
            the task's.
        openface_norm: for the input openface: None: -0.5..0.5 on the training rows; a file with SEMPI's fixed
            vectors; `none`.
        window_rows: for heads that take rows, in tasks of unit `row`: train on windows of so many rows; None: the
            task's; 0: on whole items.
        memory: GiB that row features may take; more are streamed from the store. None: half of what is free.
        device: torch's name of it.
        threads: CPU threads; None: as many as a step is worth (see `device.threads_for`), at most torch's choice.
        fused: train folds and seeds as one program where the head allows it.
        control: also train once, briefly, on shuffled labels; see `control`.
        progress: told of each epoch.
        training: epochs, batch_size, lr, lr_decay, weight_decay, clip_norm, patience, sampler, optimizer, schedule,
            …: see `TrainConfig`; None, or left out: the task's.

    Returns:
        The report, as written to `out`. The same arguments, seeds and threads give the same bits on a CPU.

    Raises:
        NotFound: an unknown task, head, loss, protocol, setting, column or feature set.
        BadInput: options or data that do not fit, before anything is trained; or training that diverges.
        Corrupt: stored features that do not agree with their checksums.
    """
    started = time.perf_counter()
    chosen = task if isinstance(task, Task) else tasks.task(task)
    protocol, normalise = protocol or chosen.protocol, normalise or chosen.normalise
    card = heads.head(head or chosen.head)
    notes: tuple[str, ...] = ()
    if card.fit is not None and training.get("sampler") is None and chosen.sampler != "shuffled":
        training["sampler"] = "shuffled"
        notes = (CLOSED_FORM.format(head=card.name, task=chosen.name, sampler=chosen.sampler),)
    config = training_config(chosen, training, loss, upstream=protocol == "sempi")
    check_choices(normalise, seeds)
    check_device(device)
    own = chosen.head_settings if card.name == chosen.head else {}
    head_config: Any = configure(card.config, {**own, **(settings or {})}, f"Head `{card.name}`")
    wanted = Wanted(
        inputs=inputs,
        target=(target,) if isinstance(target, str) else target,
        labels=labels,
        classes=classes,
        protocol=protocol,
        folds=chosen.folds if folds is None else folds,
        validation_fraction=validation_fraction,
        takes=card.takes,
        scope=card.scope,
        window_rows=(chosen.window_rows if window_rows is None else window_rows) or None,
        memory_gib=memory,
    )
    # Open until the end: features that do not fit in memory are read again and again.
    with nullcontext(store) if isinstance(store, FeatureStore) else FeatureStore.open(store) as opened:
        data = prepare(chosen, opened, wanted, table_of(clips))
        data = dataclasses.replace(data, notes=(*data.notes, *notes))
        if config.upstream and "openface" in data.specs and openface_norm is None:
            data = dataclasses.replace(data, notes=(*data.notes, FITTED_OPENFACE))
        if openface_norm is not None and "openface" not in data.specs:
            raise BadInput(
                f"OpenFace was to be normalised by `{openface_norm}`.",
                f"The inputs are {', '.join(data.specs)}.",
                "Add --input openface=FEATURE_SET, or leave --openface-norm out.",
            )
        runs = data.runs(seeds, normalise, openface_norm)
        models = [run.new_head(card, data.outputs, head_config) for run in runs]
        fused = fused and models[0].stackable and config.fusable and card.fit is None
        if out is not None:
            make_folder(Path(out))  # now, not after the training: it may be impossible
        with cpu_threads(worthwhile_threads(models, runs, config, fused) if threads is None else threads):
            outcomes = fit_heads(card, models, runs, config, device, fused, progress)
            tests = [fold.test for fold in data.plan.folds] * len(seeds)
            trained = Trained(
                task=chosen,
                card=card,
                head_config=head_config,
                config=config,
                data=data,
                seeds=tuple(seeds),
                runs=runs,
                outcomes=outcomes,
                outputs=tested_outputs(models, runs, outcomes, tests, config, device),
            )
            said = {
                "normalise": normalise,
                "openface_norm": "fitted" if openface_norm is None else Path(openface_norm).name,
                "validation_fraction": validation_fraction,
                "window_rows": wanted.window_rows,
                "fused": fused,
            }
            report = trained.report(said, environment(device), started)
            report = safeguarded(report, trained, models, opened, device, fused, control)
            report = dataclasses.replace(report, seconds=time.perf_counter() - started)
    if out is not None:
        trained.saved().write(Path(out))
        report.write(Path(out))
    return report


def table_of(clips: str | os.PathLike[str] | ClipsTable | None) -> ClipsTable | None:
    """Return the table that was given instead of the store's own."""
    return clips if clips is None or isinstance(clips, ClipsTable) else ClipsTable.read_csv(clips, check_media=False)
