"""What a backbone is: its card, its settings, and the extractor that turns decoded media into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..store.errors import BadInput

if TYPE_CHECKING:
    from ..store.recipe import FeatureSpec
    from .media.audio import Audio

POOLINGS = ("none", "mean")
PRECISIONS = ("fp32", "bf16")
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Card:
    """What is known of a backbone before anything is loaded.

    Args:
        name: e.g. `hubert-base`.
        family: the name that stands for the family's default card, e.g. `hubert`.
        input: what it looks at or listens to; `audio`.
        rate_hz: samples (or frames) per second that it wants.
        dim: columns of its rows.
        layers: how many layers can be asked for, 1 to `layers`.
        row_rate_hz: rows per second, as text of an exact fraction.
        weights: hub id of the published weights; None where there are none (random weights only).
        revision: the exact commit of these weights on the hub.
        tag: what the published weights are called in names of feature sets.
        licence: of the published weights.
        default: whether the family's name alone means this card.
        tiny: whether this is the family's small variant for tests and demonstrations.
        notes: a sentence on where it comes from.
    """

    name: str
    family: str
    input: str
    rate_hz: int
    dim: int
    layers: int
    row_rate_hz: str
    weights: str | None = None
    revision: str | None = None
    tag: str = ""
    licence: str = ""
    default: bool = False
    tiny: bool = False
    notes: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ExtractorSettings:
    """What a user chose for one backbone.

    Args:
        weights: a file, a folder, a hub id (`owner/name[@revision]`), or `random`; None: the card's own weights.
        seed: of random weights.
        layers: which outputs, each `last` or a number from 1.
        pooling: `none` (rows at the network's own rate) or `mean` (one row per clip, over valid rows).
        precision: of the computation, `fp32` or `bf16` (autocast).
        dtype: of the stored values, `float16` or `float32`.
        device: as torch names it, e.g. `cpu`, `cuda`, `cuda:1`.
        keep_last_s: look only at the last so many seconds of a clip; None: at all of it.

    Raises:
        BadInput: for a value that is not among those listed.
    """

    weights: str | None = None
    seed: int = 0
    layers: tuple[str, ...] = ("last",)
    pooling: str = "none"
    precision: str = "fp32"
    dtype: str = "float16"
    device: str = "cpu"
    keep_last_s: float | None = None

    def __post_init__(self) -> None:
        for option, value, known in (
            ("pooling", self.pooling, POOLINGS),
            ("precision", self.precision, PRECISIONS),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in known:
                raise BadInput(
                    f"Features were asked for with {option} {value!r}.",
                    "There is no such choice.",
                    f"Use one of: {', '.join(known)}.",
                )
        if not self.layers or len(set(self.layers)) != len(self.layers):
            raise BadInput(
                f"Layers {', '.join(self.layers) or '(none)'} were asked for.",
                "At least one is needed, each of them once.",
                "Use e.g. --layer last, or --layer 9 --layer 12.",
            )
        if self.seed < 0:
            raise BadInput(f"A seed of {self.seed} was given.", "It is negative.", "Use 0 or more.")
        if self.keep_last_s is not None and not 0 < self.keep_last_s < float("inf"):
            raise BadInput(
                f"Only the last {self.keep_last_s} s of each clip were to be used.",
                "That is no positive length.",
                "Give a number of seconds above 0, or leave the option out.",
            )


class Rows(NamedTuple):
    """The rows of one feature set for one clip.

    values: (T, D) float32. times: (T,) float64, seconds from the clip's start, centre of each row's support.
    valid: (T,) bool; False where the support touches a hole in the medium.
    """

    values: np.ndarray
    times: np.ndarray
    valid: np.ndarray


class Extractor(Protocol):
    """A loaded backbone. Pure: decoded media in, arrays out; one clip at a time, whatever else there is.

    card: what was loaded. specs: the feature sets it makes, one per layer. input_rate_hz: samples per second it wants.
    """

    card: Card
    specs: Sequence[FeatureSpec]
    input_rate_hz: int

    def extract(self, audio: Audio) -> list[Rows]:
        """Return one `Rows` per feature set in `specs`.

        Raises:
            MediaError: if this clip cannot have features (e.g. it is too short).
        """
        ...


def check_device(device: str) -> str:
    """Return `device` if torch can compute on it here.

    Raises:
        BadInput: if it is no device's name, or there is none of that name.
    """
    import torch

    try:
        torch.empty(1, device=device).add_(1)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise BadInput(
            f"Features were to be computed on `{device}`.",
            f"It cannot be used here: {str(error).splitlines()[0]}",
            f"Use one of: {', '.join(devices)}.",
        ) from error
    return device
