"""Mel spectrogram, 128 numbers 43 times a second, as librosa makes it by default.

`mel-librosa` is the power, `mel-librosa-db` 10 log10 of it (librosa's `power_to_db` with ref 1 and no top_db, which
would make every row depend on the clip's loudest moment). Windows are centred on every 512th sample, the first on
sample 0; beyond the ends of the sound they see zeros, as librosa's do.
"""

from __future__ import annotations

from functools import partial

from ..base import Card, ExtractorSettings
from ..spectra.mel import DB_FLOOR, MelShape, mel
from ._signal import Signal, SignalExtractor, signal_card

VERSION = 1  # raise it whenever the numbers change

SHAPES = {
    "mel-librosa": MelShape(),
    "mel-librosa-db": MelShape(in_db=True),
    "mel-tiny": MelShape(rate_hz=16_000, window=512, step=160, bands=8),
}
NOTES = {
    "mel-librosa": "librosa.feature.melspectrogram with its defaults, at 22,050 Hz.",
    "mel-librosa-db": "The same in decibels, with ref 1 and no top_db.",
    "mel-tiny": "The same code with 8 bands at 16 kHz, for tests.",
}

CARDS = tuple(
    signal_card(
        name,
        "mel",
        "librosa",
        shape.rate_hz,
        shape.bands,
        shape.step,
        default=name == "mel-librosa",
        tiny=name == "mel-tiny",
        notes=NOTES[name],
    )
    for name, shape in SHAPES.items()
)


def load(card: Card, settings: ExtractorSettings) -> SignalExtractor:
    """Make the extractor; BadInput for settings that it cannot have."""
    shape = SHAPES[card.name]
    step = {
        "step": "mel",
        "as": "librosa 0.11",
        "scale": 1,
        "window": shape.window,
        "hop": shape.step,
        "centred": True,
        "padding": "zeros",
        "window_function": "periodic Hann",
        "fft": shape.window,
        "spectrum": "power",
        "mel": "Slaney",
        "normalised": "Slaney",
        "bands": shape.bands,
        "low_hz": 0,
        "high_hz": shape.rate_hz / 2,
        "in_db": {"ref": 1.0, "amin": DB_FLOOR, "top_db": None} if shape.in_db else None,
    }
    signal = Signal(partial(mel, shape=shape), step, shape.step, shape.support, centred=True, version=VERSION)
    return SignalExtractor(card, settings, signal)
