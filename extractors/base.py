"""What a backbone is: its card, its settings, and the extractor that turns decoded media into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..store.errors import BadInput
from .media.demand import PictureDemand, check_slots, picture_rate

if TYPE_CHECKING:
    from ..store.clips_table import Clip
    from ..store.recipe import FeatureSpec
    from .media.audio import Audio

INPUTS = ("audio", "pictures", "text", "table")
POOLINGS = ("none", "mean")
PRECISIONS = ("fp32", "bf16")
DTYPES = ("float16", "float32")
MAX_BLOCK = 32  # pictures that come at once
MAX_WINDOW = 256  # pictures of one forward


@dataclass(frozen=True)
class Card:
    """What is known of a backbone before anything is loaded.

    Args:
        name: e.g. `hubert-base`.
        family: the name that stands for the family's default card, e.g. `hubert`.
        input: what it looks at or listens to: `audio`, `pictures`, `text` or `table`.
        rate_hz: samples per second that it wants; of pictures, the rate where none is asked for; 0 for other inputs.
        dim: columns of its rows.
        layers: how many layers can be asked for, 1 to `layers`.
        row_rate_hz: rows per second, as text of an exact fraction; empty where it follows the medium.
        weights: hub id of the published weights; None where there are none (random weights only).
        revision: the exact commit of these weights on the hub.
        tag: what the published weights are called in names of feature sets.
        licence: of the published weights.
        default: whether the family's name alone means this card.
        tiny: whether this is the family's small variant for tests and demonstrations.
        notes: a sentence on where it comes from.
        poolings: what can be asked for as pooling; `none` means the family's own rows.

    Raises:
        BadInput: for an unknown kind of input.
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
    poolings: tuple[str, ...] = POOLINGS

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise BadInput(
                f"The backbone `{self.name}` states the input {self.input!r}.",
                "There is no such kind.",
                f"Use one of: {', '.join(INPUTS)}.",
            )

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
        pooling: `none` (the family's own rows), or what its card lists: `mean` (one row per clip, over valid rows) …
        precision: of the computation, `fp32` or `bf16` (autocast).
        dtype: of the stored values, `float16` or `float32`.
        device: as torch names it, e.g. `cpu`, `cuda`, `cuda:1`.
        keep_last_s: look only at the last so many seconds of a clip; None: at all of it.
        rate_hz: of pictures, as text of an exact number (`25`, `30000/1001`); None: the card's own.
        slots: pictures spread over each clip, instead of pictures at a rate.
        slot_rule: how they are spread; see `media.demand.Slots`.
        stride_s: seconds from one window of a sliding network to the next; None: the family's own.
        window: pictures in each window of a sliding network; None: the family's own.
        prompts: path of a list of prompts that pictures are compared with; None: the one that comes with the package.
        text: where texts come from, see `extractors.text_source`; None: a file beside each medium.
        store: path of the store that features are written to, for a backbone that reads what is there already.

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
    rate_hz: str | None = None
    slots: int | None = None
    slot_rule: str = "even"
    stride_s: float | None = None
    window: int | None = None
    prompts: str | None = None
    text: str | None = None
    store: str | None = None

    def __post_init__(self) -> None:
        for option, value, known in (
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
        self._check_pictures()

    def _check_pictures(self) -> None:
        if self.rate_hz is not None:
            picture_rate(self.rate_hz)
        check_slots(2 if self.slots is None else self.slots, self.slot_rule)
        if self.rate_hz is not None and self.slots is not None:
            raise BadInput(
                f"{self.slots} pictures of each clip and {self.rate_hz} pictures a second were asked for.",
                "It can be one of them only.",
                "Leave out the number of slots or the rate.",
            )
        if self.stride_s is not None and not 0 < self.stride_s < float("inf"):
            raise BadInput(
                f"A stride of {self.stride_s} s was asked for.",
                "That is no positive length.",
                "Give a number of seconds above 0, or leave the option out.",
            )
        if self.window is not None and not 1 <= self.window <= MAX_WINDOW:
            raise BadInput(
                f"Windows of {self.window} pictures were asked for.",
                "That is no useful number.",
                f"Use a whole number from 1 to {MAX_WINDOW}, or leave the option out.",
            )

    def check_pooling(self, card: Card) -> None:
        """Check that a backbone can pool in the way asked for.

        Raises:
            BadInput: if not; the message has the card's ways.
        """
        if self.pooling not in card.poolings:
            raise BadInput(
                f"Features of {card.name} were asked for with pooling {self.pooling!r}.",
                "There is no such choice.",
                f"Use one of: {', '.join(card.poolings)}.",
            )


@dataclass(frozen=True)
class Needs:
    """What a backbone needs of a clip; what is None it does not want.

    Args:
        sound_hz: the whole sound, at this rate.
        pictures: which pictures, and in which shape.
    """

    sound_hz: int | None = None
    pictures: PictureDemand | None = None


class Pictures(NamedTuple):
    """Some consecutive ones of the chosen pictures of a clip, all of one size.

    frames: (N, H, W, 3) uint8 RGB, to be read only. times: (N,) float64, seconds from the clip's start: the grid point
    of pictures at a rate and of even slots, else the frame's own time. valid: (N,) bool; False where the medium has no
    picture there, and `frames` nothing to see.
    """

    frames: np.ndarray
    times: np.ndarray
    valid: np.ndarray


class Rows(NamedTuple):
    """The rows of one feature set for one clip.

    values: (T, D) float32; of a set of texts (T,) objects of type str. times: (T,) float64, seconds from the clip's
    start, centre of each row's support. valid: (T,) bool; False where the support touches a hole in the medium.
    """

    values: np.ndarray
    times: np.ndarray
    valid: np.ndarray


class PictureWork(Protocol):
    """The way of one clip's pictures through a backbone."""

    def add(self, pictures: Pictures) -> None:
        """Take the next block: at most `MAX_BLOCK` pictures, in order of time, after those before it.

        Raises:
            MediaError: if this clip cannot have features.
        """

    def finish(self) -> list[Rows]:
        """Return one `Rows` per feature set in the extractor's `specs`; there are no more pictures.

        Raises:
            MediaError: if this clip cannot have features (e.g. it has too few pictures).
        """
        ...


class Extractor(Protocol):
    """A loaded backbone. Pure: decoded media in, arrays out; one clip at a time, whatever else there is.

    card: what was loaded. specs: the feature sets it makes, one per layer. needs: what it wants of a clip.
    One that needs sound has `extract`, one that needs pictures has `begin`, one that needs neither has `read`.
    """

    card: Card
    specs: Sequence[FeatureSpec]
    needs: Needs

    def extract(self, audio: Audio) -> list[Rows]:
        """Return one `Rows` per feature set in `specs`.

        Raises:
            MediaError: if this clip cannot have features (e.g. it is too short).
        """
        ...

    def begin(self) -> PictureWork:
        """Begin a clip of pictures."""
        ...

    def read(self, clip: Clip) -> list[Rows]:
        """Return one `Rows` per feature set for a row of the clips table, from a file beside the medium, or its labels.

        It may have a method `check_table(table)`, which raises BadInput if no clip of this table can have features.

        Raises:
            MediaError: if this clip cannot have features (e.g. the file is absent).
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
