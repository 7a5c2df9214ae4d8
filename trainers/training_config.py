"""How a task is trained: what was asked for, else what the task says, else the defaults of `TrainConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..store.errors import BadInput
from .losses import loss as find_loss
from .options import configure
from .runs import TrainConfig
from .tasks import Task


def training_config(
    task: Task, given: Mapping[str, Any], loss: str | None = None, upstream: bool = False
) -> TrainConfig:
    """Return how to train.

    Args:
        task: its loss, metric, sampler and `training` are taken where nothing else was asked for.
        given: fields of `TrainConfig`; None means not asked for.
        loss: name; None: the task's.
        upstream: train as the original of the engagement task does.

    Raises:
        NotFound: for an unknown loss, or a setting that does not exist.
        BadInput: if the loss is not of the task's kind, or a number is out of range.
    """
    found = find_loss(loss or task.loss)
    if found.kind != task.kind:
        raise BadInput(
            f"Task `{task.name}` was to be trained with the loss `{found.name}`.",
            f"The loss is for {found.kind}, the task is {task.kind}.",
            "Leave --loss out, or use another task.",
        )
    asked = {name: value for name, value in given.items() if value is not None}
    settings: dict[str, Any] = {
        "sampler": "balanced" if upstream else task.sampler,
        **task.training,
        **asked,
        "loss": found.name,
        "metric": task.metric,
        "upstream": upstream,
        "must_exceed": 0.0 if upstream else None,
    }
    return configure(TrainConfig, settings, f"Training of task `{task.name}`")
