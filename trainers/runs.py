"""One training run (a fold under a seed): its data, its random draws, its selection, its outcome.

Both loops, `loop` and `fused`, take the same runs and draw the same numbers, so that they differ in speed only.
A run's items have one vector each (`Features`), or rows (`RowFeatures`, which only `loop` trains on).
Every run has generators of its own: what is trained beside it changes nothing.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store.errors import BadInput
from .features import Features, Scaling
from .heads._base import Head, HeadCard
from .labels import RowLabels
from .losses import Loss, loss
from .metrics import Metric, metric
from .row_features import RowFeatures
from .row_inputs import RowInputs
from .sampling import SAMPLERS, balance_keys, balance_weights, epoch_order
from .schedule import SCHEDULES

Ints = npt.NDArray[np.int64]
OPTIMIZERS = ("adamw", "adam")
EVALUATION_ITEMS = 4096  # vectors per forward; bounds memory, changes no result


@dataclass(frozen=True)
class TrainConfig:
    """How heads are trained; the defaults are those of SEMPI's published command.

    Args:
        loss, metric: names; the metric selects the epoch that is kept.
        epochs: at most so many.
        batch_size: items per step; an incomplete last batch is dropped (items are shuffled, so none is always
            left out), unless `keep_last`.
        lr: learning rate of the first epoch.
        weight_decay: decoupled for AdamW, added to the gradient for Adam.
        clip_norm: largest norm of the gradient of one head; 0 for no limit.
        patience: epochs without improvement after which a run stops; 0 for never.
        sampler: `shuffled` or `balanced` (see `sampling`).
        lr_decay: factor on the learning rate after each epoch, or by `schedule`.
        upstream: the original's variants of losses (see `losses`).
        must_exceed: validation score that counts as an improvement only when exceeded; None keeps the first
            epoch in any case.
        optimizer: `adamw` or `adam`, with `beta1`, its memory of gradients.
        schedule: `decay`, `cosine` or `step`, with `schedule_epochs` and `schedule_start`; see `schedule`.
        keep_last: train on an incomplete last batch too.

    Raises:
        BadInput: for a number out of range.
    """

    loss: str = "ccc"
    metric: str = "ccc"
    epochs: int = 30
    batch_size: int = 8
    lr: float = 3e-4
    weight_decay: float = 0.01
    clip_norm: float = 0.1
    patience: int = 10
    sampler: str = "shuffled"
    lr_decay: float = 1.0
    upstream: bool = False
    must_exceed: float | None = None
    optimizer: str = "adamw"
    beta1: float = 0.9
    schedule: str = "decay"
    schedule_epochs: int = 10
    schedule_start: int = 0
    keep_last: bool = False

    def __post_init__(self) -> None:
        smallest = 2 if self.loss == "ccc" else 1
        for name, value, fits, rule in (
            ("epochs", self.epochs, self.epochs >= 1, "1 or more"),
            (
                "batch_size",
                self.batch_size,
                self.batch_size >= smallest,
                f"{smallest} or more (the concordance of one row does not exist)",
            ),
            ("lr", self.lr, 0 < self.lr < math.inf, "above 0"),
            ("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more"),
            ("clip_norm", self.clip_norm, 0 <= self.clip_norm < math.inf, "0 (no limit) or more"),
            ("patience", self.patience, self.patience >= 0, "0 (never stop early) or more"),
            ("lr_decay", self.lr_decay, 0 < self.lr_decay <= 1, "above 0, at most 1"),
            ("sampler", self.sampler, self.sampler in SAMPLERS, f"one of {', '.join(SAMPLERS)}"),
            ("optimizer", self.optimizer, self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            ("beta1", self.beta1, 0 <= self.beta1 < 1, "0 or more, below 1"),
            ("schedule", self.schedule, self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("schedule_epochs", self.schedule_epochs, self.schedule_epochs >= 1, "1 or more"),
            ("schedule_start", self.schedule_start, self.schedule_start >= 0, "0 or more"),
        ):
            if not fits:
                raise BadInput("Training was described.", f"Its {name} is {value!r}.", f"It must be {rule}.")

    @property
    def fusable(self) -> bool:
        """Whether runs can be trained as one program, see `fused`."""
        return self.optimizer == "adamw" and self.beta1 == TrainConfig.beta1 and not self.keep_last

    def criterion(self) -> Loss:
        """Return the loss."""
        return loss(self.loss, upstream=self.upstream)

    def selector(self) -> Metric:
        """Return the metric that selects."""
        return metric(self.metric)


@dataclass(frozen=True)
class Run:
    """What one head is trained on. N items in all; item numbers point into features and labels.

    Args:
        name: e.g. `seed0.fold1`; with the seed it decides all random draws.
        seed: chosen by the user.
        features: of all items; usually shared by all runs.
        labels: (N,) floats, or (N, K) for K outputs, or (N,) int64 class ids; or a label for each row of the items.
        train: item numbers to learn from.
        validation: item numbers that select the epoch.
        scalings: role -> scaling by the statistics of this run's training rows; other inputs are taken as they
            are.
        orders: items to visit in each epoch, in place of drawing them; for parity with recorded runs.
    """

    name: str
    seed: int
    features: Features | RowFeatures
    labels: Tensor | RowLabels
    train: Ints
    validation: Ints
    scalings: Mapping[str, Scaling] = field(default_factory=dict)
    orders: Sequence[Ints] | None = None

    def batch_size(self, config: TrainConfig) -> int:
        """Return how many items each step has: fewer than asked for if there are not so many."""
        return min(config.batch_size, self.train.size)

    def steps(self, config: TrainConfig) -> int:
        """Return how many steps an epoch has."""
        items, batch = int(self.train.size), self.batch_size(config)
        return -(-items // batch) if config.keep_last else items // batch

    def item_rows(self) -> int:
        """Return how many rows a training item has, on average: 1 where it is a vector."""
        if not isinstance(self.features, RowFeatures):
            return 1
        return max(1, int(self.features.longest[torch.from_numpy(self.train)].double().mean()))

    def inputs(self, device: torch.device | str) -> Inputs | RowInputs:
        """Return the features on a device, with this run's scalings."""
        if isinstance(self.features, RowFeatures):
            return RowInputs(self.features, self.scalings, device)
        return Inputs(self.features.to(device), self.scalings)

    def entropy(self, purpose: str) -> int:
        """Return the seed of one kind of draw: 64 bits of (seed, name, purpose)."""
        words = [self.seed & 0xFFFFFFFF, zlib.crc32(self.name.encode()), zlib.crc32(purpose.encode())]
        return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])

    def new_head(self, card: HeadCard, outputs: int, config: object) -> Head:
        """Build this run's untrained head; torch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.entropy("weights"))
            return card.build(self.features.dims, outputs, config)


class Inputs:
    """The features of one run on a device.

    Args:
        features: of all items, on the device.
        scalings: of the run.
    """

    def __init__(self, features: Features, scalings: Mapping[str, Scaling]) -> None:
        self.features = features
        self.scalings = {role: one.to(features.matrix.device) for role, one in scalings.items()}

    def take(self, rows: Tensor, out: Tensor | None = None) -> dict[str, Tensor]:
        """Return the scaled features of some rows: role -> (n, D).

        Args:
            rows: row numbers (n,), on the device.
            out: where to put them, (n, W) contiguous; None: into new memory.
        """
        block = torch.index_select(self.features.matrix, 0, rows, out=out)
        parts = self.features.split(block)
        for role, scaling in self.scalings.items():
            scaling.apply_(parts[role])
        return parts

    def arguments(self, items: Tensor) -> dict[str, Any]:
        """Return the arguments of `Head.forward` for some items (B,)."""
        return {"features": self.take(items)}

    def outputs(self, head: Head, items: Ints) -> Tensor:
        """Return the head's outputs for some items, (items, C)."""
        picked = torch.from_numpy(items).to(self.features.matrix.device)
        return torch.cat([head(**self.arguments(some)) for some in picked.split(EVALUATION_ITEMS)])


def vectors(features: Features | RowFeatures) -> Features:
    """Return features that have one vector for each item; for what cannot be done with rows.

    Raises:
        BadInput: if they have rows.
    """
    if isinstance(features, RowFeatures):
        raise BadInput("Items with one vector each were needed.", "They have rows.", "Use a head that takes rows.")
    return features


def one_each(labels: Tensor | RowLabels) -> Tensor:
    """Return labels of which each item has one.

    Raises:
        BadInput: if each row has one.
    """
    if isinstance(labels, RowLabels):
        raise BadInput("One label for each item was needed.", "Each row has one.", "Use a head that takes rows.")
    return labels


class Draws:
    """The random numbers of one run, epoch by epoch: the order of visits, and what is dropped."""

    def __init__(self, run: Run, config: TrainConfig, sites: Mapping[str, tuple[int, float]]) -> None:
        self._run, self._config, self._sites = run, config, sites
        self._order = np.random.default_rng(run.entropy("order"))
        self._dropout = torch.Generator().manual_seed(run.entropy("dropout"))
        self._weights = None
        if config.sampler == "balanced":
            if isinstance(run.labels, RowLabels) or run.labels.ndim > 1:
                raise BadInput(
                    "Items were to be drawn by their label, so that all labels come equally often.",
                    "They have several labels each.",
                    "Use --sampler shuffled.",
                )
            self._weights = balance_weights(balance_keys(run.labels.numpy()[run.train]))

    def order(self, epoch: int) -> Tensor:
        """Return the items of an epoch (counted from 1), cut to whole batches: (steps, B) int64."""
        rows, size = self._visits(epoch), self._run.batch_size(self._config)
        return torch.from_numpy(np.ascontiguousarray(rows[: rows.size // size * size])).view(-1, size)

    def batches(self, epoch: int) -> Sequence[Tensor]:
        """Return the items of each step of an epoch, each (B,); the last step may have fewer if it is to be kept."""
        if not self._config.keep_last:
            return self.order(epoch).unbind()
        return torch.from_numpy(self._visits(epoch)).split(self._run.batch_size(self._config))

    def _visits(self, epoch: int) -> Ints:
        run = self._run
        if run.orders is not None:
            return run.orders[epoch - 1]
        return epoch_order(run.train, self._config.sampler, self._order, self._weights)

    def dropout(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the masks of one epoch: site -> (steps, B, width), 0 or 1 / (1 - p)."""
        shape = self._run.steps(self._config), self._run.batch_size(self._config)
        return {
            site: torch.empty(*shape, width, dtype=dtype).bernoulli_(1 - p, generator=self._dropout).div_(1 - p)
            for site, (width, p) in self._sites.items()
        }


class Selection:
    """Keeps the best epoch so far by its validation score, and says when to stop."""

    def __init__(self, config: TrainConfig) -> None:
        self.metric, self.patience = config.selector(), config.patience
        self.score = math.nan if config.must_exceed is None else config.must_exceed
        self.epoch = 0
        self._last = 0

    def update(self, epoch: int, score: float) -> bool:
        """Take the score of an epoch; return whether it is a strict improvement. nan never is."""
        self._last = epoch
        improved = self.metric.better(score, self.score)
        if improved:
            self.score, self.epoch = score, epoch
        return improved

    @property
    def stop(self) -> bool:
        """Whether `patience` epochs have passed without improvement."""
        return self.patience > 0 and self._last - self.epoch >= self.patience


@dataclass
class Outcome:
    """What became of a run.

    Args:
        name: of the run.
        state: state dict of the head of the best epoch; of the last one if no epoch was an improvement.
        best_epoch: counted from 1; 0 if no epoch was an improvement.
        best_score: the validation score of `state`, nan if undefined.
        curves: `train_loss`, `validation_loss` and `validation_score`, one number per epoch.
        batch_losses: of every step, in order.
    """

    name: str
    state: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_score: float = math.nan
    curves: dict[str, list[float]] = field(
        default_factory=lambda: {"train_loss": [], "validation_loss": [], "validation_score": []}
    )
    batch_losses: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.curves["train_loss"])


def check_finite(values: Tensor, run: str, epoch: int, config: TrainConfig) -> None:
    """Refuse to go on from a loss or outputs that are no numbers.

    Raises:
        BadInput: if any value is NaN or infinite.
    """
    if not bool(torch.isfinite(values).all()):
        raise BadInput(
            f"Run `{run}` was trained with loss `{config.loss}` and learning rate {config.lr:g}.",
            f"In epoch {epoch} its loss or its outputs became NaN or infinite.",
            "Lower the learning rate, or normalise the inputs (--normalise standard).",
        )
