"""The learning rate of each epoch.

Source: what the published systems use. SEMPI: a factor after each epoch. KEMDy20 and SPELL: cosine annealing, one
step an epoch, which rises again after its period. ViPER and Social-MAE: a factor every so many epochs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runs import TrainConfig

SCHEDULES = ("decay", "cosine", "step")


def next_lr(config: TrainConfig, lr: float, epochs: int) -> float:
    """Return the learning rate after some epochs.

    Args:
        config: `schedule` is `decay` (times `lr_decay` after each epoch), `cosine` (half a cosine from `lr` to 0 in
            `schedule_epochs` epochs, and back in as many), or `step` (times `lr_decay` every `schedule_epochs` epochs,
            the first time after `schedule_start`).
        lr: that of the last epoch.
        epochs: so many have been trained, 1 and up.

    Example:
        >>> from .runs import TrainConfig
        >>> halved = TrainConfig(lr=1.0, schedule="step", lr_decay=0.5, schedule_epochs=5, schedule_start=10)
        >>> [next_lr(halved, 0.0, epochs) for epochs in (9, 10, 14, 15)]
        [1.0, 0.5, 0.5, 0.25]
    """
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * epochs / config.schedule_epochs)) / 2
    if config.schedule == "step":
        start = config.schedule_start or config.schedule_epochs
        steps = 0 if epochs < start else 1 + (epochs - start) // config.schedule_epochs
        return config.lr * config.lr_decay**steps
    return lr * config.lr_decay
