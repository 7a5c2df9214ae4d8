"""Whisper: what is said in a clip, as texts with times.

Source: Radford et al. 2022; weights on the Hugging Face hub (Apache-2.0). SEMPI's texts are those of tiny.en.

`last` is a feature set of texts: one row per segment, as Whisper writes it (with the blank that it begins with, so
that the rows joined are the transcript). Its time is the segment's centre. `spans`, two columns beside it with the same
rows, has when each segment begins and ends, in seconds from the clip's start; ask for both in one command to have both
from one pass: `--layer last --layer spans`. The rows equal transformers' own greedy generation with time stamps: 30 s
at a time, each window beginning where the last finished segment ends. What is written into the silence behind a sound
is left out, and spans end with the sound. A clip in which nothing is said has no rows; that is no failure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ..base import Card, ExtractorSettings, Needs, Rows, check_device
from ..networks.whisper_shape import WINDOW_S, WhisperShape
from ..weights import LocatedWeights, locate
from ._speech import first_steps, free_of, inference, looked_at, speech_circumstances
from ._speech_cards import RATE_HZ

if TYPE_CHECKING:
    from ..media.audio import Audio
    from ._whisper_weights import Loaded

VERSION = 1  # raise it whenever the texts or times change
LEAST = 400  # samples of one column of the spectrum
TEXTS, SPANS = "last", "spans"
BASE = {"dim": 512, "layers": 6, "decoder_layers": 6, "heads": 8, "decoder_heads": 8, "ffn": 2048, "decoder_ffn": 2048}
SMALL = {"dim": 768, "layers": 12, "decoder_layers": 12, "heads": 12, "decoder_heads": 12, "ffn": 3072}
LARGE = {"dim": 1280, "layers": 32, "decoder_layers": 32, "heads": 20, "decoder_heads": 20, "ffn": 5120}
MINI = {"dim": 48, "layers": 2, "decoder_layers": 2, "heads": 4, "decoder_heads": 4, "ffn": 96, "decoder_ffn": 96}

SHAPES = {
    "whisper-tiny": WhisperShape(),
    "whisper-tiny-en": WhisperShape(vocab=51864),
    "whisper-base": WhisperShape(**BASE),
    "whisper-small": WhisperShape(**SMALL, decoder_ffn=3072),
    "whisper-large-v3": WhisperShape(**LARGE, decoder_ffn=5120, vocab=51866, mels=128),
    "whisper-random-tiny": WhisperShape(**MINI, targets=48),
}


def _card(name: str, **more: Any) -> Card:
    return Card(
        name=name,
        family="whisper",
        input="audio",
        rate_hz=RATE_HZ,
        dim=1,
        layers=1,
        row_rate_hz="",
        poolings=("none",),
        **more,
    )


def _published(name: str, hub: str, revision: str, notes: str, **more: Any) -> Card:
    return _card(
        name, weights=f"openai/{hub}", revision=revision, tag="openai", licence="Apache-2.0", notes=notes, **more
    )


CARDS = (
    _published(
        "whisper-tiny",
        "whisper-tiny",
        "169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
        "39 M parameters, 99 languages. --layer last: texts; --layer spans: when they begin and end.",
        default=True,
    ),
    _published(
        "whisper-tiny-en",
        "whisper-tiny.en",
        "87c7102498dcde7456f24cfd30239ca606ed9063",
        "English alone; SEMPI's texts.",
    ),
    _published("whisper-base", "whisper-base", "e37978b90ca9030d5170a5c07aadb050351a65bb", "74 M parameters."),
    _published("whisper-small", "whisper-small", "973afd24965f72e36ca33b3055d56a652f456b4d", "244 M parameters."),
    _published(
        "whisper-large-v3", "whisper-large-v3", "06f233fe06e710322aca913c1bc4249a0d71fce1", "1550 M parameters."
    ),
    _card(
        "whisper-random-tiny",
        tiny=True,
        notes="The same code at 48 wide for tests, tokens are bytes; random weights only: it writes nonsense.",
    ),
)


def load(card: Card, settings: ExtractorSettings) -> WhisperExtractor:
    """Load a Whisper; see `registry.load` for what may be raised."""
    for layer in settings.layers:
        if layer not in (TEXTS, SPANS):
            raise BadInput(
                f"Layer `{layer}` of {card.name} was asked for.",
                "It gives texts, and no features of its layers.",
                f"Use --layer {TEXTS} for the texts, --layer {SPANS} for when they begin and end.",
            )
    settings.check_pooling(card)
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from . import _whisper_weights

    device = check_device(settings.device)
    loaded = _whisper_weights.load(located, SHAPES[card.name], card.name, device)
    return WhisperExtractor(card, settings, loaded, located)


class WhisperExtractor:
    """A loaded Whisper; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: layers and the rest.
        loaded: the network, its tokens, and how it writes.
        located: where the weights came from.
    """

    def __init__(self, card: Card, settings: ExtractorSettings, loaded: Loaded, located: LocatedWeights) -> None:
        self.card = card
        self.needs = Needs(sound_hz=RATE_HZ)
        self._settings = settings
        self._loaded = loaded
        weights = located.recipe()
        self.specs: Sequence[FeatureSpec] = [self._spec(layer, weights, located.tag) for layer in settings.layers]

    def _spec(self, layer: str, weights: dict[str, Any], tag: str) -> FeatureSpec:
        settings, loaded = self._settings, self._loaded
        written = json.dumps(loaded.generation, sort_keys=True)
        texts = layer == TEXTS
        return FeatureSpec(
            name=feature_set_name(self.card.name, tag, layer),
            kind="text" if texts else "numeric",
            dim=1 if texts else 2,
            dtype="int64" if texts else "float64",
            recipe=Recipe(
                backbone=self.card.name,
                weights=weights,
                layer=layer,
                preprocessing=(
                    *first_steps(settings),
                    {"step": "whisper-log-mel", "bands": loaded.network.config.num_mel_bins, "window_s": WINDOW_S},
                    {
                        "step": "transcribe",
                        "decoding": "greedy",
                        "time_stamps": True,
                        "generation_sha256": hashlib.sha256(written.encode()).hexdigest(),
                        **loaded.writer.recipe(),
                    },
                ),
                precision=settings.precision,
                extractor_version=VERSION,
                unhashed={**speech_circumstances(settings.device), "generation": loaded.generation},
            ),
        )

    def extract(self, audio: Audio) -> list[Rows]:
        """Return the texts of a clip, or when they begin and end, or both.

        Raises:
            MediaError: if the sound is shorter than 25 ms.
        """
        from ..networks import whisper

        samples, start_s = looked_at(audio, self.card, self._settings, LEAST)
        with inference(self._settings) as device:
            segments = whisper.transcribe(self._loaded.network, samples, device)
        length_s = len(samples) / RATE_HZ
        texts = [self._text(segment.tokens) for segment in segments]
        kept = [i for i, one in enumerate(segments) if texts[i] and one.start_s < length_s]
        spans = np.array([segments[i][1:] for i in kept], np.float64).reshape(-1, 2)  # (T, 2)
        spans = np.minimum(spans, length_s) + start_s
        times = spans.mean(1)
        # A hole hides words: what was written across one is not what was said.
        valid = free_of(audio.gaps, spans[:, 0], spans[:, 1])
        values = np.empty(len(kept), object)
        values[:] = [texts[i] for i in kept]
        return [Rows(values if layer == TEXTS else spans, times, valid) for layer in self._settings.layers]

    def _text(self, tokens: list[int]) -> str:
        writer, stamps = self._loaded.writer, self._loaded.network.generation_config.no_timestamps_token_id
        said = [token for token in tokens if token <= stamps and token not in writer.special]
        return writer.decode(said) if said else ""
