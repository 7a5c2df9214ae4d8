"""What a head is: a torch module over named features, and the card that says how to build it.

B is items in a batch, T rows of one item, D columns of one input. A *role* names an input by what it tells
about a person (`video`, `audio`, `text`, `openface`, or any other word); which feature set plays it is decided
outside. What an *item* is, the task and the head decide: a clip or an entity of the clips table (tasks of unit
`clip`), or a label series on its own clock (unit `row`), of one entity or of a whole clip (`Head.scope`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from ..runs import Outcome, Run, TrainConfig

# (untrained heads, their runs, how to train) -> one outcome for each run, in their order.
Fit = Callable[[Sequence["Head"], Sequence["Run"], "TrainConfig"], list["Outcome"]]
TAKES, SCOPES = ("vector", "rows"), ("entity", "clip")


class Target(Protocol):
    """What a head is trained towards in one step: the labels of a batch, and the loss that was chosen for the run."""

    @property
    def epoch(self) -> int:
        """Which epoch it is, counted from 1."""

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the loss of the batch's outputs, as `forward` gives them: a scalar."""

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return the labels of all rows, (B, T) or (B, T, K), and which of them count, (B, T) bool.

        Raises:
            BadInput: in tasks of unit `clip`.
        """

    def loss_of(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of some outputs (n, outputs), n >= 1, against their labels (n,) or (n, K): a scalar."""


class Head(nn.Module, ABC):
    """A network from named features to (B, outputs). It never sees paths, stores or ids.

    Attributes:
        takes: `vector`: features are (B, D), one vector for each item, the mean of its valid rows (in tasks of unit
            `row`: each labelled row is an item). `rows`: features are (B, T, D) with masks and times; in tasks of unit
            `clip` each role has its own T and clock and the result is (B, outputs); in tasks of unit `row` all roles
            share T and clock, the labels', and the result is (B, T, outputs).
        scope: for heads that take rows in tasks of unit `row`: an item holds the rows of one entity (`entity`), or
            of all entities of a clip, sorted by time, then entity (`clip`).
        stackable: whether the same module computes several independent copies of itself at once when each
            parameter
            carries a leading axis S: features are then (S, B, D) and the result is (S, B, outputs). Folds and
                seeds of
            such heads train as one batched program (see `fused`); it takes `_layers.Affine` instead of
            `nn.Linear`, and no other layer with parameters.
    """

    takes: ClassVar[str] = "vector"
    scope: ClassVar[str] = "entity"
    stackable: ClassVar[bool] = False

    def dropout_sites(self) -> dict[str, tuple[int, float]]:
        """Return the places where training drops values: name -> (width, probability), in the order of use.

        Their masks are drawn outside for each item, by each run's own generator, and handed to `forward`. A head that
        says nothing here draws from torch's global generator, which the training loop seeds.
        """
        return {}

    @abstractmethod
    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); in tasks of unit `row`, a head that takes rows returns (B, T, outputs).

        Args:
            features: role -> (B, D), one vector per item; or (B, T, D), rows, if `masks` has the role.
            masks: role -> (B, T), True where a row is there and valid. What stands in other rows never matters: they
                hold zeros, and outputs for them are ignored, but must not change those for other rows. A role may
                have no row at all in an item, and a row may be there in some roles only.
            times: role -> (B, T) float64 seconds from the clip's start, never falling along an item's rows; zeros
                behind its end.
            entities: (B, T) int64 in tasks of unit `row`: which entity a row belongs to, counted from 0 in each item
                (only 0 for scope `entity`); -1 behind the item's end: all other rows have a label's time, even if
                masks say that all roles are missing there. None in tasks of unit `clip`.
            dropout: site -> (B, width), 0 where dropped and 1 / (1 - p) elsewhere. None in training mode: drawn
                here.
        """

    def training_loss(self, arguments: Mapping[str, Any], target: Target) -> Tensor:
        """Return what a training step lowers, a scalar; heads with losses of their own override it.

        Only `loop` asks: heads that are stacked (`stackable`) are trained on the run's loss alone. The losses that are
        reported for validation and test are the run's loss of what `forward` gives.

        Args:
            arguments: of `forward`, by name.
            target: the batch's labels and the run's loss.
        """
        return target.loss(self(**arguments))


@dataclass(frozen=True)
class HeadCard:
    """One head, as found in its file.

    Args:
        name: as used on the command line.
        title: one line for lists.
        config: frozen dataclass of its settings, all with defaults.
        build: (input dims by role, outputs, config) -> untrained head; raises BadInput for what does not fit
            together.
        fit: for heads in closed form, in place of training in steps: gets all runs at once (features, labels, row
            numbers of the training and validation parts, scalings) with their untrained heads, and returns for each
            the outcome with the state dict to keep; its curves may have a single entry, or be empty. It applies the
            runs' scalings itself.
        network: the class of the head, if `build` is no class.
    """

    name: str
    title: str
    config: type
    build: Callable[[Mapping[str, int], int, Any], Head]
    fit: Fit | None = None
    network: type[Head] | None = None

    @property
    def takes(self) -> str:
        """What the head takes, see `Head`."""
        return self._class.takes

    @property
    def scope(self) -> str:
        """Whose rows an item holds, see `Head`."""
        return self._class.scope

    @property
    def _class(self) -> type[Head]:
        if self.network is not None:
            return self.network
        return self.build if isinstance(self.build, type) else Head

    def to_json(self) -> dict[str, Any]:
        """Return name, title, what it takes, and settings with their defaults."""
        return {
            "name": self.name,
            "title": self.title,
            "takes": self.takes,
            "settings": {field.name: field.default for field in fields(self.config)},
        }
