"""The unit of work: one stretch of decoded media through every backbone that wants it. A pure function of its input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..store.clips_table import Clip
from ..store.recipe import FeatureSpec
from .base import Extractor, PictureWork, Rows
from .errors import MediaError
from .media.audio import Audio
from .media.request import ClipRequest
from .media.stream import Event, PicturesCame, PicturesEnded
from .plan import Unit

# Half-way to the number after the largest float16: from here on, rounding gives infinity.
FLOAT16_OVERFLOWS = 65520.0

Outcome = Rows | str  # rows, or the reason why there are none


class Processed(NamedTuple):
    """outcomes: of each wanted feature set, by name. model_s: seconds inside the backbones."""

    outcomes: dict[str, Outcome]
    model_s: float


def request_of(unit: Unit, extractors: Sequence[Extractor]) -> ClipRequest:
    """Return what must be decoded of a stretch of media for the backbones that have something to do there."""
    wanted = unit.feature_sets()
    needs = [one.needs for one in _busy(extractors, wanted)]
    sounds = sorted({one.sound_hz for one in needs if one.sound_hz is not None})
    pictures = dict.fromkeys(one.pictures for one in needs if one.pictures is not None)
    return ClipRequest(unit.path, tuple(sounds), tuple(pictures), unit.start_s, unit.end_s)


def process(
    extractors: Sequence[Extractor], request: ClipRequest, events: Iterable[Event], wanted: set[str]
) -> Processed:
    """Send one clip through the backbones while it is decoded.

    Args:
        extractors: the loaded backbones.
        request: what is decoded of the clip, by `request_of` for the same backbones.
        events: what decoding gives, in order.
        wanted: names of feature sets.

    Returns:
        The rows of each wanted feature set, or the reason why it has none.
    """
    works = [_Work(one, request) for one in _busy(extractors, wanted) if not reads_tables(one)]
    for event in events:
        for work in works:
            work.take(event)
        del event  # else a block would live until the next one is there
    outcomes: dict[str, Outcome] = {}
    for work in works:
        outcomes |= _outcomes(work.extractor, work.made, wanted)
    return Processed(outcomes, sum(work.model_s for work in works))


def read(extractors: Sequence[Extractor], clip: Clip, wanted: set[str]) -> dict[str, Outcome]:
    """Return what `process` does, of the backbones that look at neither sound nor pictures of a clip."""
    outcomes: dict[str, Outcome] = {}
    for one in _busy(extractors, wanted):
        if reads_tables(one):
            try:
                made: list[Rows] | str = one.read(clip)
            except MediaError as error:
                made = str(error)
            outcomes |= _outcomes(one, made, wanted)
    return outcomes


def reads_tables(extractor: Extractor) -> bool:
    """Tell whether a backbone needs nothing decoded."""
    return extractor.needs.sound_hz is None and extractor.needs.pictures is None


def _busy(extractors: Sequence[Extractor], wanted: set[str]) -> list[Extractor]:
    return [one for one in extractors if any(spec.name in wanted for spec in one.specs)]


def _outcomes(extractor: Extractor, made: list[Rows] | str, wanted: set[str]) -> dict[str, Outcome]:
    return {
        spec.name: made if isinstance(made, str) else _storable(spec, made[i])
        for i, spec in enumerate(extractor.specs)
        if spec.name in wanted
    }


class _Work:
    """One clip on its way through one backbone."""

    def __init__(self, extractor: Extractor, request: ClipRequest) -> None:
        needs = extractor.needs
        self.extractor = extractor
        self.made: list[Rows] | str = "The clip was not decoded to its end. Run the same command again."
        self.model_s = 0.0
        self._sound = None if needs.sound_hz is None else request.sounds_hz.index(needs.sound_hz)
        self._demand = None if needs.pictures is None else request.pictures.index(needs.pictures)
        self._pictures: PictureWork | None = None
        self._failed = False
        self._size = "0 pictures"

    def take(self, event: Event) -> None:
        """Take what decoding gives, if it is for this backbone."""
        if isinstance(event, PicturesCame):
            if event.demand == self._demand and not self._failed:
                self._see(event)
        elif isinstance(event, PicturesEnded):
            if event.demand == self._demand and not self._failed:
                self._end(event.error)
        elif event.number == self._sound:
            self._hear(event.sound)

    def _see(self, event: PicturesCame) -> None:
        pictures = event.pictures
        self._size = f"{pictures.times[-1]:.1f} s"

        def add() -> list[Rows]:
            if self._pictures is None:
                self._pictures = self.extractor.begin()
            self._pictures.add(pictures)
            return []

        self._run(add)
        self._failed = isinstance(self.made, str)

    def _end(self, error: MediaError | None) -> None:
        work, self._pictures = self._pictures, None
        if error is not None:
            self.made = str(error)
        elif work is not None:
            self._run(work.finish)

    def _hear(self, sound: Audio | MediaError) -> None:
        if isinstance(sound, MediaError):
            self.made = str(sound)
            return
        self._size = f"{sound.duration_s:.1f} s"
        self._run(lambda: self.extractor.extract(sound))

    def _run(self, compute: Callable[[], list[Rows]]) -> None:
        """Keep what a computation gives, or why this clip cannot have it."""
        begun = time.monotonic()
        try:
            self.made = compute()
        except MediaError as error:
            self.made = str(error)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise  # a defect, or a broken device: no clip's fault
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.made = (
                f"The clip ({self._size}) was to go through {self.extractor.card.name}. The computation failed: "
                f"{said[:300]} Give it more memory, or cut the clip with the columns start and end."
            )
        finally:
            self.model_s += time.monotonic() - begun


def _out_of_memory(error: Exception) -> bool:
    """Whether this is torch's (or Python's) way to say that a clip does not fit into memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said


def _storable(spec: FeatureSpec, rows: Rows) -> Outcome:
    """The rows, or why the store cannot hold them."""
    if spec.kind != "numeric":
        return rows
    if spec.is_text:
        return rows
    asked = f"`{spec.name}` was computed."
    values = rows.values[rows.valid]
    # The largest is NaN or infinite if any value is.
    largest = float(np.abs(values).max()) if values.size else 0.0
    if not np.isfinite(largest):
        remedy = "Compute with --precision fp32" if spec.recipe.precision == "bf16" else "Check the weights"
        return f"{asked} The network gave NaN or infinity. {remedy}, and the medium of this clip."
    if spec.dtype == "float16" and largest >= FLOAT16_OVERFLOWS:
        return f"{asked} Values up to {largest:.6g} do not fit into float16. Store them with --dtype float32."
    return rows
