"""What `mfcc`, `logmel`, `fbank` and `mel` have in common: rows of fixed recipes over short windows of a sound.

They have no weights and no layers, are computed in float64 on the CPU, and are stored as float32 whatever `--dtype`
says: they are signals, and half precision would cost more than the whole difference to the originals. Rows are those
that the recipe gives, also where it fills up a window at an end of the sound with zeros: the networks that take them
were trained so. At least one window must be whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ...store.timebase import Timebase
from ..base import Card, ExtractorSettings, Needs, Rows
from ..errors import MediaError
from ._circumstances import circumstances
from ._speech import free_of

if TYPE_CHECKING:
    from ..media.audio import Audio

NO_WEIGHTS = {"source": "none", "sha256": None, "licence": "none needed"}


@dataclass(frozen=True)
class Signal:
    """A recipe over windows of a sound.

    Args:
        compute: (N,) samples to (T, dim) float32.
        step: what it does, for the recipe, with every number.
        hop, support: samples from row to row, and that a row depends on.
        centred: whether the first window is centred on the first sample, instead of beginning with it.
        version: raised whenever the numbers change.
    """

    compute: Callable[[np.ndarray], np.ndarray]
    step: dict[str, Any]
    hop: int
    support: int
    centred: bool = False
    version: int = 1

    def clock(self, rate_hz: int) -> Timebase:
        """Return the clock of the rows."""
        first = 0 if self.centred else Fraction(self.support, 2 * rate_hz)
        return Timebase(Fraction(rate_hz, self.hop), Fraction(first), Fraction(self.support, rate_hz))


def signal_card(name: str, family: str, tag: str, rate_hz: int, dim: int, hop: int, **more: Any) -> Card:
    """Return the card of a recipe that takes sound at `rate_hz` and gives a row every `hop` samples."""
    return Card(
        name=name,
        family=family,
        input="audio",
        rate_hz=rate_hz,
        dim=dim,
        layers=0,
        row_rate_hz=str(Fraction(rate_hz, hop)),
        tag=tag,
        licence="none needed",
        **more,
    )


def check_weightless(card: Card, settings: ExtractorSettings) -> None:
    """Check that nothing was chosen that a recipe without weights cannot have; `--weights random` changes nothing.

    Raises:
        BadInput: for other weights, or an unknown pooling.
    """
    settings.check_pooling(card)
    if settings.weights not in (None, "random"):
        raise BadInput(
            f"The weights `{settings.weights}` were given for {card.name}.",
            "It is a fixed recipe without weights.",
            "Leave --weights out, or name the backbone that they belong to.",
        )


def _check_layerless(card: Card, settings: ExtractorSettings) -> None:
    if settings.layers != ("last",):
        raise BadInput(
            f"Layers {', '.join(settings.layers)} of {card.name} were asked for.",
            "It is a fixed recipe with one output.",
            "Leave --layer out, or extract it in a command of its own.",
        )


class SignalExtractor:
    """A recipe with its settings; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: pooling and what part of a clip to look at; the rest has no meaning here.
        signal: what it computes.

    Raises:
        BadInput: for settings that it cannot have.
    """

    def __init__(self, card: Card, settings: ExtractorSettings, signal: Signal) -> None:
        check_weightless(card, settings)
        _check_layerless(card, settings)
        self.card = card
        self.needs = Needs(sound_hz=card.rate_hz)
        self._signal = signal
        self._pooled = settings.pooling == "mean"
        keep = settings.keep_last_s
        self._keep_last = None if keep is None else max(1, round(keep * card.rate_hz))
        self._clock = signal.clock(card.rate_hz)
        steps: list[dict[str, Any]] = [{"step": "decode-mono", "rate_hz": card.rate_hz}]
        if self._keep_last is not None:
            steps.append({"step": "keep-last", "samples": self._keep_last})
        self.specs: Sequence[FeatureSpec] = [
            FeatureSpec(
                name=feature_set_name(card.name, card.tag, pooling=settings.pooling),
                kind="numeric",
                dim=card.dim,
                dtype="float32",
                timebase=None if self._pooled else self._clock,
                recipe=Recipe(
                    backbone=card.name,
                    weights=NO_WEIGHTS,
                    pooling=settings.pooling,
                    preprocessing=(*steps, signal.step),
                    extractor_version=signal.version,
                    unhashed=circumstances("av", "numpy"),
                ),
            )
        ]

    def extract(self, audio: Audio) -> list[Rows]:
        """Return the rows of the one feature set.

        Raises:
            MediaError: if the sound is shorter than a window, or, for the mean, every row touches a hole.
            BadInput: if the sound has another rate.
        """
        samples, start_s = self._trimmed(audio)
        if len(samples) < self._signal.support:
            raise MediaError(
                f"{self.card.name} of {len(samples)} samples ({len(samples) / audio.rate_hz:.3f} s) was asked for.",
                f"One row needs {self._signal.support} samples.",
                "Leave the clip out, or give it a longer span.",
            )
        values = self._signal.compute(samples)
        times = self._clock.centers(len(values)) + start_s
        half = float(self._clock.window_s) / 2
        valid = free_of(audio.gaps, times - half, times + half)
        if not self._pooled:
            return [Rows(values, times, valid)]
        if not valid.any():
            raise MediaError(
                f"The mean of {self.card.name} over a clip was asked for.",
                "Every row touches a hole in the sound.",
                "Mend the file, or leave the clip out.",
            )
        seen = times[valid]
        mean = values.mean(0, keepdims=True, dtype=np.float64, where=valid[:, None]).astype(np.float32)
        return [Rows(mean, np.array([(seen[0] + seen[-1]) / 2]), np.ones(1, bool))]

    def _trimmed(self, audio: Audio) -> tuple[np.ndarray, float]:
        """The samples to look at, and the time of the first."""
        if audio.rate_hz != self.card.rate_hz:
            raise BadInput(
                f"Sound at {audio.rate_hz} Hz was given to {self.card.name}.",
                f"Its windows are counted at {self.card.rate_hz} Hz.",
                f"Decode at {self.card.rate_hz} Hz.",
            )
        dropped = 0 if self._keep_last is None else max(0, len(audio.samples) - self._keep_last)
        return audio.samples[dropped:], audio.start_s + dropped / audio.rate_hz
