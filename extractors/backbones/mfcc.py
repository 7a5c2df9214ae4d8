"""MFCC, 13 numbers 100 times a second, as `python_speech_features` makes them: the sound that TalkNet, Light-ASD, ASC
and the KEMDy encoder listen to.

`mfcc` is the library's default. `mfcc-asd-*fps` has windows scaled by 25 / fps, so that video of that rate gets 4 rows
a frame (as nearly as whole samples allow). The last window is filled up with zeros, as the library does.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from ..base import Card, ExtractorSettings
from ..spectra.mfcc import LIFTER, PRE_EMPHASIS, MfccShape, mfcc, mfcc_shape
from ._signal import Signal, SignalExtractor, signal_card

VERSION = 1  # raise it whenever the numbers change

VIDEO_RATES = {
    "12": Fraction(12),
    "23_976": Fraction(24_000, 1001),
    "24": Fraction(24),
    "25": Fraction(25),
    "29_97": Fraction(30_000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
}
SHAPES = {
    "mfcc": MfccShape(),
    "mfcc-tiny": MfccShape(bands=8, cepstra=4),
    **{f"mfcc-asd-{name}fps": mfcc_shape(fps) for name, fps in VIDEO_RATES.items()},
}


def _card(name: str, shape: MfccShape) -> Card:
    notes = "Windows of 25 ms every 10 ms."
    if name == "mfcc-tiny":
        notes = "The same code with 4 coefficients, for tests."
    elif name != "mfcc":
        notes = f"Windows of {shape.window} samples every {shape.step}: 4 rows for a frame of the video."
    return signal_card(
        name,
        "mfcc",
        "psf",
        shape.rate_hz,
        shape.cepstra,
        shape.step,
        default=name == "mfcc",
        tiny=name == "mfcc-tiny",
        notes=notes,
    )


CARDS = tuple(_card(name, shape) for name, shape in SHAPES.items())


def load(card: Card, settings: ExtractorSettings) -> SignalExtractor:
    """Make the extractor; BadInput for settings that it cannot have."""
    shape = SHAPES[card.name]
    step = {
        "step": "mfcc",
        "as": "python_speech_features 0.6",
        "scale": 32768,
        "pre_emphasis": PRE_EMPHASIS,
        "window": shape.window,
        "hop": shape.step,
        "window_function": "none",
        "last_window": "filled up with zeros",
        "fft": shape.fft,
        "bands": shape.bands,
        "low_hz": 0,
        "high_hz": shape.rate_hz // 2,
        "cepstra": shape.cepstra,
        "lifter": LIFTER,
        "column_0": "log energy",
    }
    signal = Signal(partial(mfcc, shape=shape), step, shape.step, shape.support, version=VERSION)
    return SignalExtractor(card, settings, signal)
