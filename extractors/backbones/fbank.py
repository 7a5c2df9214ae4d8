"""Kaldi filterbank rows, 128 numbers 100 times a second, with the settings of Social-MAE (and of AST and CAV-MAE).

Stored as they are, not yet normalised and not padded: `spectra.fbank.social_mae_input` makes of them what the network
takes.
"""

from __future__ import annotations

from functools import partial

from ..base import Card, ExtractorSettings
from ..spectra.fbank import FLOOR, PRE_EMPHASIS, FbankShape, fbank
from ._signal import Signal, SignalExtractor, signal_card

VERSION = 1  # raise it whenever the numbers change

SHAPES = {"fbank-kaldi": FbankShape(), "fbank-tiny": FbankShape(bands=16)}
NOTES = {
    "fbank-kaldi": "Windows of 25 ms every 10 ms; what Social-MAE, AST and CAV-MAE take, before their normalisation.",
    "fbank-tiny": "The same code with 16 bands, for tests.",
}

CARDS = tuple(
    signal_card(
        name,
        "fbank",
        "socialmae",
        shape.rate_hz,
        shape.bands,
        shape.step,
        default=name == "fbank-kaldi",
        tiny=name == "fbank-tiny",
        notes=NOTES[name],
    )
    for name, shape in SHAPES.items()
)


def load(card: Card, settings: ExtractorSettings) -> SignalExtractor:
    """Make the extractor; BadInput for settings that it cannot have."""
    shape = SHAPES[card.name]
    step = {
        "step": "fbank",
        "as": "Kaldi",
        "scale": 1,
        "window": shape.window,
        "hop": shape.step,
        "snip_edges": True,
        "remove_dc_offset": True,
        "dither": 0,
        "pre_emphasis": PRE_EMPHASIS,
        "window_function": "symmetric Hann",
        "fft": shape.fft,
        "spectrum": "power",
        "mel": "HTK",
        "bands": shape.bands,
        "low_hz": shape.low_hz,
        "high_hz": shape.rate_hz // 2,
        "energy": False,
        "floor": FLOOR,
    }
    signal = Signal(partial(fbank, shape=shape), step, shape.step, shape.support, version=VERSION)
    return SignalExtractor(card, settings, signal)
