"""WavLM's x-vectors: embeddings of the voice in 32 overlapping windows spread over a clip, as ViPER uses them.

Source: Chen et al. 2022; weights on the Hugging Face hub; windows: ViPER (MuSe 2022 Reaction), specs/viper.md. Each
window is cut or filled up with zeros to one second: clips above 16.5 s are not heard to the end of every window, and
a row's time is the middle of what is heard. The windows of one clip go through together, never with those of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ..base import Card, ExtractorSettings, Needs, Rows, check_device
from ..networks.speech_shape import SpeechShape
from ..random_weights import fill_all
from ..weights import LocatedWeights, locate
from ._speech import first_steps, free_of, inference, looked_at, mean_rows, own_copy, speech_circumstances
from ._speech_cards import RATE_HZ
from ._viper_windows import SAMPLES, cut_windows, viper_windows

if TYPE_CHECKING:
    from ..imported import Imported
    from ..media.audio import Audio
    from ..networks.wavlm_xvector import XVectorNetwork, XVectorShape

VERSION = 1  # raise it whenever the numbers change
WINDOWS = 32  # of each clip, unless the settings ask for another number of slots
NORM_EPS = 1e-7  # of transformers' feature extractor, which follows each window by itself

CARDS = (
    Card(
        name="wavlm-base-plus-sv",
        family="wavlm-sv",
        input="audio",
        rate_hz=RATE_HZ,
        dim=512,
        layers=1,
        row_rate_hz="",
        weights="microsoft/wavlm-base-plus-sv",
        revision="feb593a6c23c1cc3d9510425c29b0a14d2b07b1e",
        tag="voxceleb1",
        licence="CC-BY-SA-3.0",
        default=True,
        notes="Speaker embeddings, trained on VoxCeleb1 upon wavlm-base-plus; 32 windows of a clip.",
    ),
    Card(
        name="wavlm-tiny-sv",
        family="wavlm-sv",
        input="audio",
        rate_hz=RATE_HZ,
        dim=16,
        layers=1,
        row_rate_hz="",
        tiny=True,
        notes="The code of the published model at 32 wide, for tests; random weights only.",
    ),
)


def shapes() -> dict[str, XVectorShape]:
    """Return the measures of the network of each card; imports torch."""
    from ..networks.wavlm_xvector import XVectorShape

    tiny = SpeechShape(
        kind="wavlm", dim=32, layers=2, heads=4, ffn=64, conv_dims=(16,) * 7, pos_kernel=32, pos_groups=4
    )
    return {
        "wavlm-base-plus-sv": XVectorShape(),
        "wavlm-tiny-sv": XVectorShape(tiny, tdnn_dims=(16, 16, 16, 16, 24), dim=16),
    }


def load(card: Card, settings: ExtractorSettings) -> XVectorExtractor:
    """Load an x-vector network; see `registry.load` for what may be raised."""
    for layer in settings.layers:
        if layer not in ("1", "last"):
            raise BadInput(
                f"Layer `{layer}` of {card.name} was asked for.",
                "It has one output, the embedding.",
                "Use --layer last; the layers below are those of --backbone wavlm.",
            )
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import speech, wavlm_xvector
    from . import _wavlm_sv_weights

    device = check_device(settings.device)
    shape, normalise, tensors = shapes()[card.name], False, None
    if located.file is not None:
        tensors, shape, normalise = _wavlm_sv_weights.read(located, shape, card.name)
    network = wavlm_xvector.build(shape)
    if tensors is None:
        tensors = fill_all(speech.shapes(network), settings.seed)
    speech.install(network, tensors, device)
    return XVectorExtractor(card, settings, network, normalise, located.recipe(), located.tag)


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint; see `extractors.imported`."""
    from . import _wavlm_sv_weights

    return _wavlm_sv_weights.import_checkpoint(located, shapes()[card.name], card.name)


class XVectorExtractor:
    """A loaded x-vector network; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: pooling, precision, slots (how many windows) and the rest.
        network: with weights, on its device.
        normalise: whether each window is brought to zero mean and unit variance.
        weights: what the recipe says of the weights.
        tag: what the weights are called in names.
    """

    def __init__(
        self,
        card: Card,
        settings: ExtractorSettings,
        network: XVectorNetwork,
        normalise: bool,
        weights: dict[str, Any],
        tag: str,
    ) -> None:
        self.card = card
        self.needs = Needs(sound_hz=RATE_HZ)
        self._settings = settings
        self._network = network
        self._normalise = normalise
        self._count = WINDOWS if settings.slots is None else settings.slots
        self.specs: Sequence[FeatureSpec] = [self._spec(layer, weights, tag) for layer in settings.layers]

    def _spec(self, layer: str, weights: dict[str, Any], tag: str) -> FeatureSpec:
        settings = self._settings
        steps = first_steps(settings)
        steps.append({"step": "viper-windows", "count": self._count, "samples": SAMPLES})
        if self._normalise:
            steps.append({"step": "normalise-windows", "eps": NORM_EPS})
        return FeatureSpec(
            name=feature_set_name(self.card.name, tag, layer, settings.pooling),
            kind="numeric",
            dim=self.card.dim,
            dtype=settings.dtype,
            timebase=None,  # windows are spread over each clip: their rate follows its length
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
        """Return the embeddings of the windows, once per layer asked for.

        Raises:
            MediaError: if the sound is too short to have a sample in every window, or, for the mean, no window is free
                of holes.
        """
        # (count + 1) / 2 samples make windows of one sample; int() may then still find none in it.
        samples, start_s = looked_at(audio, self.card, self._settings, self._count + 1)
        windows = viper_windows(len(samples), self._count)
        starts = start_s + np.array([start for start, _ in windows]) / RATE_HZ
        stops = start_s + np.array([min(stop, start + SAMPLES) for start, stop in windows]) / RATE_HZ
        values = self._embeddings(cut_windows(samples, windows))
        valid = free_of(audio.gaps, starts, stops)
        if self._settings.pooling == "none":
            rows = Rows(values, (starts + stops) / 2, valid)
        else:
            seen = valid if valid.any() else ~valid
            rows = mean_rows(self.card, values, valid, float(starts[seen][0] + stops[seen][-1]) / 2)
        return [rows] * len(self.specs)

    def _embeddings(self, windows: np.ndarray) -> np.ndarray:
        """(count, E) float32 from (count, 16000)."""
        from ..networks.wavlm_xvector import embed

        waveforms = own_copy(windows)
        if self._normalise:
            mean, variance = waveforms.mean(1, keepdim=True), waveforms.var(1, keepdim=True, correction=0)
            waveforms = (waveforms - mean) / (variance + NORM_EPS).sqrt()
        with inference(self._settings) as device:
            made: np.ndarray = embed(self._network, waveforms.to(device)).float().cpu().numpy()
            return made
