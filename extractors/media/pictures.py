"""Choose pictures of a clip while its frames go by, once, and collect them in blocks.

A picture track is seen as stretches of time that follow each other without a gap: one frame each, or a hole. Choosers
take stretches in order and say which moments they want of each; nothing is kept but the block that is being filled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np

from ..base import Pictures
from .demand import AtRate, PictureDemand, PictureShape, Slots
from .frames import ViperRule, sempi_frames_of_video

BLOCK_PICTURES = 16  # fewer than backbones must take: the first of a clip then wait less for the others
BLOCK_BYTES = 8 << 20
PIECE_S = 10  # of a long stretch, chosen from at once


@dataclass(frozen=True)
class Outline:
    """What is known of a clip's pictures before they are decoded.

    Args:
        frames: how many there are in the clip.
        start, stop: when the first begins and the last ends, within the clip; seconds after the clip's start.
    """

    frames: int
    start: Fraction
    stop: Fraction


class Stretch(NamedTuple):
    """A frame, or a hole, on the clip's clock.

    start, stop: seconds after the clip's start, exact. number: of the frame in the clip, from 0; None for a hole in
    which no frame was lost, and for what lies before the clip. shown: whether there is a picture.
    """

    start: Fraction
    stop: Fraction
    number: int | None
    shown: bool


def pieces(stretch: Stretch) -> Iterator[Stretch]:
    """Cut a long stretch, so that the moments in it are never all in memory; only the first piece has the number."""
    start, number = stretch.start, stretch.number
    while stretch.stop - start > PIECE_S:
        yield Stretch(start, start + PIECE_S, number, stretch.shown)
        start, number = start + PIECE_S, None
    yield Stretch(start, stretch.stop, number, stretch.shown)


class Chooser(Protocol):
    """Says which moments are wanted."""

    def times(self, stretch: Stretch) -> list[Fraction]:
        """Return the times of the rows that this stretch gives, in order; possibly none, or one several times."""

    def rest(self) -> list[Fraction]:
        """Return the times of rows for which no stretch came; they have no picture."""
        ...


class AtRateChooser:
    """Moments on a grid, from the first that has a picture.

    Args:
        rate_hz: of the grid.
        early: how much earlier than its time stamp a frame may count as shown: time stamps are rounded.
        length: of the clip, seconds; None: to the end of the track.
    """

    def __init__(self, rate_hz: Fraction, early: Fraction, length: Fraction | None) -> None:
        self._rate_hz = rate_hz
        self._early = early
        self._length = length
        self._next: int | None = None

    def times(self, stretch: Stretch) -> list[Fraction]:
        """Return the grid points in the stretch."""
        if stretch.stop <= 0:
            return []  # before the clip
        early = min(self._early, (stretch.stop - stretch.start) / 2)
        stop = stretch.stop - early if self._length is None else min(stretch.stop - early, self._length)
        first = max(0, math.ceil((stretch.start - early) * self._rate_hz)) if self._next is None else self._next
        last = max(first, math.ceil(stop * self._rate_hz))
        self._next = last
        return [number / self._rate_hz for number in range(first, last)]

    def rest(self) -> list[Fraction]:
        """Return nothing: the grid ends with the track."""
        return []


class EveryFrameChooser:
    """All frames of the clip, lost ones included."""

    def times(self, stretch: Stretch) -> list[Fraction]:
        """Return the start of the frame."""
        return [] if stretch.number is None else [stretch.start]

    def rest(self) -> list[Fraction]:
        """Return nothing."""
        return []


class EvenChooser:
    """Moments that lie evenly: the centres of equal parts of what the track has of the clip."""

    def __init__(self, count: int, outline: Outline) -> None:
        step = (outline.stop - outline.start) / count
        self._waiting = [outline.start + (number + Fraction(1, 2)) * step for number in range(count)]

    def times(self, stretch: Stretch) -> list[Fraction]:
        """Return the moments in the stretch."""
        count = sum(moment < stretch.stop for moment in self._waiting)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def rest(self) -> list[Fraction]:
        """Return the moments that never came."""
        return self._waiting


class NumberChooser:
    """Frames by their number, some of them several times (SEMPI)."""

    def __init__(self, numbers: list[int], outline: Outline) -> None:
        self._waiting = numbers
        self._stop = outline.stop
        self._reached = outline.start

    def times(self, stretch: Stretch) -> list[Fraction]:
        """Return the frame's start, as often as it is wanted."""
        if stretch.number is None:
            return []
        self._reached = stretch.stop
        count = sum(number <= stretch.number for number in self._waiting)
        self._waiting = self._waiting[count:]
        return [stretch.start] * count

    def rest(self) -> list[Fraction]:
        """Return the end of what came, for each frame that did not."""
        return [min(self._reached, self._stop)] * len(self._waiting)


class ViperChooser:
    """Frames by ViPER's rule; raises ZeroDivisionError where the original does."""

    def __init__(self, count: int, outline: Outline) -> None:
        self._rule = ViperRule(outline.frames, count)

    def times(self, stretch: Stretch) -> list[Fraction]:
        """Return the frame's start if the rule saves it."""
        return [stretch.start] if stretch.number is not None and self._rule.saves(stretch.number) else []

    def rest(self) -> list[Fraction]:
        """Return nothing: the rule promises no number."""
        return []


def needs_outline(demand: PictureDemand) -> bool:
    """Tell whether a clip's frames must be counted before they are decoded."""
    return isinstance(demand.sampling, Slots)


def chooser(demand: PictureDemand, early: Fraction, length: Fraction | None, outline: Outline | None) -> Chooser:
    """Return what chooses the pictures of a demand; see `AtRateChooser` for the arguments."""
    sampling = demand.sampling
    if isinstance(sampling, AtRate):
        return AtRateChooser(sampling.rate_hz, early, length)
    if not isinstance(sampling, Slots) or outline is None:
        return EveryFrameChooser()
    if sampling.rule == "viper":
        return ViperChooser(sampling.count, outline)
    if sampling.rule == "sempi":
        return NumberChooser(sempi_frames_of_video(max(1, outline.frames), sampling.count), outline)
    return EvenChooser(sampling.count, outline)


class Blocks:
    """Collects the pictures of one demand and passes them on in blocks of one size.

    Args:
        shape: of the demand.
        send: takes a finished block.
    """

    def __init__(self, shape: PictureShape, send: Callable[[Pictures], None]) -> None:
        self.shape = shape
        self._send = send
        self._frames: list[np.ndarray | None] = []
        self._times: list[float] = []
        self._size: tuple[int, ...] | None = None  # of the pictures: (H, W, 3)
        self.count = 0
        self.seen = 0  # of those, with a picture

    def add(self, time: Fraction, picture: np.ndarray | None) -> None:
        """Take the next picture (H, W, 3) uint8, or None where there is none."""
        if picture is not None:
            if self._size not in (None, picture.shape):
                self.flush()
            self._size = picture.shape
            self.seen += 1
        self._frames.append(picture)
        self._times.append(float(time))
        self.count += 1
        if len(self._frames) >= self._limit():
            self.flush()

    def flush(self) -> None:
        """Pass on what was collected."""
        if not self._frames:
            return
        width, height = self.shape.final or (1, 1)
        frames = np.zeros((len(self._frames), *(self._size or (height, width, 3))), np.uint8)
        for row, picture in self._present():
            frames[row] = picture
        valid = np.array([picture is not None for picture in self._frames])
        self._send(Pictures(frames, np.array(self._times), valid))
        self._frames, self._times = [], []

    def _present(self) -> Iterator[tuple[int, np.ndarray]]:
        return ((row, picture) for row, picture in enumerate(self._frames) if picture is not None)

    def _limit(self) -> int:
        """How many pictures a block may have."""
        return max(1, min(BLOCK_PICTURES, BLOCK_BYTES // math.prod(self._size or (1,))))
