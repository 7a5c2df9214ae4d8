"""HuBERT, WavLM and wav2vec 2.0: 50 rows a second of speech features from sound at 16 kHz.

Source: Hsu et al. 2021, Chen et al. 2022, Baevski et al. 2020; weights on the Hugging Face hub, or as published by
fairseq and by the authors of WavLM. `last` is the model's own output (for large models behind one more layer norm); a
number k is the output of block k as it is, k = 24 of large included: fairseq's `output_layer`.

One clip at a time without padding, so a clip's rows depend on nothing else. Sound up to 60 s goes through in one
forward. Longer sound goes in windows of 30 s, with 5 s of context on each side, at fixed places of the clip, and with
norms over the whole of it; how much that changes is told in `networks.speech_long`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ...store.timebase import Timebase
from ..base import Card, ExtractorSettings, Needs, Rows, check_device
from ..networks.speech_shape import SpeechShape
from ..random_weights import fill_all
from ..weights import LocatedWeights, locate
from ._layers import block_of
from ._speech import first_steps, free_of, inference, looked_at, mean_rows, own_copy, speech_circumstances
from ._speech_cards import CARDS, RATE_HZ, SHAPES

if TYPE_CHECKING:
    from ..imported import Imported
    from ..media.audio import Audio
    from ..networks.speech import SpeechNetwork

__all__ = ["CARDS", "SHAPES", "SpeechExtractor", "import_checkpoint", "load"]

VERSION = 2  # raise it whenever the numbers change; 2: sound above 60 s in windows
NORM_EPS = 1e-5


def load(card: Card, settings: ExtractorSettings) -> SpeechExtractor:
    """Load a speech network; see `registry.load` for what may be raised."""
    shape, layers = SHAPES[card.name], [block_of(card, layer) for layer in settings.layers]
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import speech
    from . import _speech_weights

    device = check_device(settings.device)
    tensors = None
    normalise = shape.conv_norm == "layer"
    if located.file is not None:
        tensors, shape, normalise = _speech_weights.read(located, SHAPES, card.name)
    network = speech.build(shape)
    if None not in layers:
        speech.keep_layers(network, max(layer for layer in layers if layer is not None))
    needed = speech.shapes(network)
    if tensors is None:
        tensors = fill_all(needed, settings.seed)
    speech.install(network, {name: tensors[name] for name in needed}, device)
    return SpeechExtractor(card, settings, shape, network, normalise, located.recipe(), located.tag)


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint; see `extractors.imported`."""
    from . import _speech_weights

    return _speech_weights.import_checkpoint(located, SHAPES, card.name)


class SpeechExtractor:
    """A loaded speech network; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: layers, pooling, precision and the rest.
        shape: measures of the network.
        network: with weights, on its device, with at least the blocks that the layers need.
        normalise: whether each waveform is brought to zero mean and unit variance.
        weights: what the recipe says of the weights.
        tag: what the weights are called in names.
    """

    def __init__(
        self,
        card: Card,
        settings: ExtractorSettings,
        shape: SpeechShape,
        network: SpeechNetwork,
        normalise: bool,
        weights: dict[str, Any],
        tag: str,
    ) -> None:
        from ..networks.speech_long import Windows

        self.card = card
        self.needs = Needs(sound_hz=RATE_HZ)
        self._settings = settings
        self._shape = shape
        self._network = network
        self._normalise = normalise
        self._windows = Windows()
        self._layers = [block_of(card, layer) for layer in settings.layers]
        self._timebase = Timebase(
            Fraction(RATE_HZ, shape.hop), Fraction(shape.support, 2 * RATE_HZ), Fraction(shape.support, RATE_HZ)
        )
        self.specs: Sequence[FeatureSpec] = [self._spec(layer, weights, tag) for layer in settings.layers]

    def _spec(self, layer: str, weights: dict[str, Any], tag: str) -> FeatureSpec:
        settings = self._settings
        steps = first_steps(settings)
        if self._normalise:
            steps.append({"step": "normalise-waveform", "eps": NORM_EPS})
        # In every recipe: whether a clip is long is not known when a feature set is described.
        steps.append({"step": "windows", **asdict(self._windows)})
        return FeatureSpec(
            name=feature_set_name(self.card.name, tag, layer, settings.pooling),
            kind="numeric",
            dim=self._shape.dim,
            dtype=settings.dtype,
            timebase=self._timebase if settings.pooling == "none" else None,
            recipe=Recipe(
                backbone=self.card.name,
                weights=weights,
                layer=layer,
                pooling=settings.pooling,
                preprocessing=tuple(steps),
                precision=settings.precision,
                extractor_version=VERSION,
                unhashed=speech_circumstances(settings.device),
            ),
        )

    def extract(self, audio: Audio) -> list[Rows]:
        """Return the rows of each layer.

        Raises:
            MediaError: if the sound is shorter than one row's support, or, for the mean, has no row that is free of
                holes.
        """
        samples, start_s = looked_at(audio, self.card, self._settings, self._shape.support)
        outputs = self._forward(samples)
        times = self._timebase.centers(len(outputs[0])) + start_s
        half = self._shape.support / RATE_HZ / 2
        valid = free_of(audio.gaps, times - half, times + half)
        if self._settings.pooling == "none":
            return [Rows(values, times, valid) for values in outputs]
        seen = times[valid] if valid.any() else times
        middle = (seen[0] + seen[-1]) / 2  # of the support: windows are alike at both ends
        return [mean_rows(self.card, values, valid, middle) for values in outputs]

    def _forward(self, samples: np.ndarray) -> list[np.ndarray]:
        """(T, D) float32 of each layer."""
        from ..networks import speech, speech_long

        with inference(self._settings) as device:
            if len(samples) > self._windows.whole_s * RATE_HZ:
                return speech_long.hidden_in_windows(
                    self._network,
                    self._shape,
                    samples,
                    self._layers,
                    rate_hz=RATE_HZ,
                    windows=self._windows,
                    normalise_eps=NORM_EPS if self._normalise else None,
                    device=device,
                )
            waveform = own_copy(samples)
            if self._normalise:
                waveform = speech.normalise(waveform, NORM_EPS)
            outputs = speech.hidden(self._network, waveform.to(device)[None], self._layers)  # each (1, T, D)
            return [output[0].float().cpu().numpy() for output in outputs]  # each (T, D)
