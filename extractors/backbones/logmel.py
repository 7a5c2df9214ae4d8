"""Log-mel rows, 64 numbers 100 times a second, as VGGish makes them and LoCoNet listens to.

`logmel-vggish` has VGGish's own windows; `logmel-asd-*fps` has them scaled by 25 / fps, so that video of that rate gets
4 rows a frame (as nearly as whole samples allow). Samples are taken at the scale of 16-bit integers, as LoCoNet does.
"""

from __future__ import annotations

from functools import partial

from ..base import Card, ExtractorSettings
from ..spectra.logmel import OFFSET, LogMelShape, logmel, logmel_shape
from ._signal import Signal, SignalExtractor, signal_card
from .mfcc import VIDEO_RATES

VERSION = 1  # raise it whenever the numbers change

SHAPES = {
    "logmel-vggish": LogMelShape(),
    "logmel-tiny": LogMelShape(bands=8),
    **{f"logmel-asd-{name}fps": logmel_shape(fps) for name, fps in VIDEO_RATES.items()},
}


def _card(name: str, shape: LogMelShape) -> Card:
    notes = "Windows of 25 ms every 10 ms."
    if name == "logmel-tiny":
        notes = "The same code with 8 bands, for tests."
    elif name != "logmel-vggish":
        notes = f"Windows of {shape.window} samples every {shape.step}: 4 rows for a frame of the video."
    return signal_card(
        name,
        "logmel",
        "loconet",
        shape.rate_hz,
        shape.bands,
        shape.step,
        default=name == "logmel-vggish",
        tiny=name == "logmel-tiny",
        notes=notes,
    )


CARDS = tuple(_card(name, shape) for name, shape in SHAPES.items())


def load(card: Card, settings: ExtractorSettings) -> SignalExtractor:
    """Make the extractor; BadInput for settings that it cannot have."""
    shape = SHAPES[card.name]
    step = {
        "step": "log-mel",
        "as": "VGGish",
        "scale": 32768,
        "window": shape.window,
        "hop": shape.step,
        "window_function": "periodic Hann",
        "fft": shape.fft,
        "spectrum": "magnitude",
        "mel": "HTK",
        "bands": shape.bands,
        "low_hz": shape.low_hz,
        "high_hz": shape.high_hz,
        "log_offset": OFFSET,
    }
    signal = Signal(partial(logmel, shape=shape), step, shape.step, shape.support, version=VERSION)
    return SignalExtractor(card, settings, signal)
