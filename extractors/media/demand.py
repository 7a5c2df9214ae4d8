"""What a backbone wants to see of a clip: which pictures, and in which size. Plain values that travel as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...store.errors import BadInput

SLOT_RULES = ("even", "viper", "sempi")
RESIZES = ("none", "exact", "short-side", "at-least")
FILTERS = ("bilinear", "bicubic", "opencv-linear")
MAX_RATE_HZ, MAX_SLOTS, MAX_SIDE = 1000, 10_000, 8192
_FRACTION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?")


def picture_rate(text: str) -> Fraction:
    """Read a rate of pictures: `25`, `29.97` or `30000/1001`.

    Raises:
        BadInput: if it is no such text, or not in (0, 1000].

    Example:
        >>> picture_rate("30000/1001")
        Fraction(30000, 1001)
    """
    matched = isinstance(text, str) and _FRACTION.fullmatch(text) is not None
    rate = Fraction(text) if matched and "/0" not in text else Fraction(0)
    if not 0 < rate <= MAX_RATE_HZ:
        raise BadInput(
            f"Pictures were asked for at a rate of {text!r} per second.",
            "That is no rate.",
            f"Use a number above 0 and up to {MAX_RATE_HZ}, or an exact fraction such as 30000/1001.",
        )
    return rate


@dataclass(frozen=True)
class AtRate:
    """The pictures shown at the moments k / rate_hz after the clip's start, as far as the picture track reaches."""

    rate_hz: Fraction

    def __post_init__(self) -> None:
        picture_rate(str(self.rate_hz))


@dataclass(frozen=True)
class EveryFrame:
    """All frames of the clip, each at its own time."""


@dataclass(frozen=True)
class Slots:
    """A number of pictures spread over the clip.

    Args:
        count: how many, 1 or more.
        rule: `even`: those shown at (i + 0.5) / count of the clip's length. `viper`: ViPER's own counting of frames,
            which for short or damaged clips gives fewer. `sempi`: every fifth frame, of these `count` spread evenly.
            See `frames`.
    """

    count: int
    rule: str = "even"

    def __post_init__(self) -> None:
        check_slots(self.count, self.rule)


def check_slots(count: int, rule: str) -> None:
    """Check a number of slots and the rule that fills them.

    Raises:
        BadInput: if there cannot be that many, or there is no such rule.
    """
    if not 1 <= count <= MAX_SLOTS or count != int(count):
        raise BadInput(
            f"{count} pictures of each clip were asked for.",
            "That is no useful number.",
            f"Use a whole number from 1 to {MAX_SLOTS}.",
        )
    if rule not in SLOT_RULES:
        raise BadInput(
            f"Pictures were to be spread by the rule {rule!r}.",
            "There is no such rule.",
            f"Use one of: {', '.join(SLOT_RULES)}.",
        )
    if rule == "viper" and count < 2:
        raise BadInput("One picture by the rule 'viper' was asked for.", "It divides by count - 1.", "Use 2 or more.")


Sampling = AtRate | EveryFrame | Slots


@dataclass(frozen=True)
class PictureShape:
    """How a picture is brought to the size that a network wants: first scaled, then cut.

    Args:
        resize: `none`; `exact`: to `width` x `height`, whatever the proportions; `short-side`: the shorter side to
            `width`, the longer one in proportion; `at-least`: the same, but only where the shorter side is below.
        width, height: pixels; `height` is 0 unless `exact`, and both are for `none`.
        filter: `bilinear` or `bicubic` (Pillow, antialiased), or `opencv-linear` (not antialiased).
        crop: (width, height) of the centre that is kept; None: everything.

    Raises:
        BadInput: for a combination that says nothing.
    """

    resize: str = "none"
    width: int = 0
    height: int = 0
    filter: str = "bilinear"
    crop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        sized = 0 < self.width <= MAX_SIDE, 0 < self.height <= MAX_SIDE
        fitting = {"none": (False, False), "exact": (True, True)}.get(self.resize, (True, False))
        good = self.resize in RESIZES and self.filter in FILTERS and sized == fitting
        good = good and (sized[0] or self.width == 0) and (sized[1] or self.height == 0)
        if not good or (self.crop is not None and not all(0 < side <= MAX_SIDE for side in self.crop)):
            raise BadInput(
                f"Pictures were to be shaped by {self}.",
                "That is no way to do it.",
                f"Use resize of {', '.join(RESIZES)}, filter of {', '.join(FILTERS)}, and sides from 1 to {MAX_SIDE}; "
                "width and height are given for exact, only width for short-side and at-least, none for none.",
            )

    @property
    def final(self) -> tuple[int, int] | None:
        """(width, height) of what comes out; None where it depends on the medium."""
        return self.crop or ((self.width, self.height) if self.resize == "exact" else None)


@dataclass(frozen=True)
class PictureDemand:
    """Which pictures of a clip, and in which shape; they come as uint8 RGB."""

    sampling: Sampling
    shape: PictureShape

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the same demands give the same."""
        one = self.sampling
        if isinstance(one, AtRate):
            sampling: dict[str, Any] = {"kind": "at-rate", "rate_hz": str(one.rate_hz)}
        elif isinstance(one, Slots):
            sampling = {"kind": "slots", "count": one.count, "rule": one.rule}
        else:
            sampling = {"kind": "every-frame"}
        crop = None if self.shape.crop is None else list(self.shape.crop)
        return {"sampling": sampling, "shape": {**vars(self.shape), "crop": crop}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PictureDemand:
        """Read what `to_json` wrote.

        Raises:
            BadInput: if a value is out of its range.
        """
        given, shape = data["sampling"], dict(data["shape"])
        shape["crop"] = None if shape["crop"] is None else (shape["crop"][0], shape["crop"][1])
        if given["kind"] == "at-rate":
            return cls(AtRate(Fraction(given["rate_hz"])), PictureShape(**shape))
        if given["kind"] == "slots":
            return cls(Slots(given["count"], given["rule"]), PictureShape(**shape))
        return cls(EveryFrame(), PictureShape(**shape))
