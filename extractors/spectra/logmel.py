"""Log-mel rows as VGGish makes them (Hershey et al. 2017), with windows scaled to the video's rate as in LoCoNet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from .blocks import INT16, Bank, checked, in_blocks, stretch, whole_windows, windows
from .mfcc import scaled
from .triangles import htk_triangles

OFFSET = 0.01  # added before the log


@dataclass(frozen=True)
class LogMelShape:
    """What the recipe leaves open.

    Args:
        rate_hz: of the sound.
        window, step: samples.
        bands: mel bands from `low_hz` to `high_hz`.
    """

    rate_hz: int = 16_000
    window: int = 400
    step: int = 160
    bands: int = 64
    low_hz: float = 125.0
    high_hz: float = 7500.0

    @property
    def fft(self) -> int:
        """Length of the Fourier transform: the next power of two."""
        return 1 << (self.window - 1).bit_length()

    @property
    def support(self) -> int:
        """Samples that a row depends on."""
        return self.window

    def rows(self, samples: int) -> int:
        """Return how many rows a sound has; 0 if it is shorter than a window."""
        return whole_windows(samples, self.window, self.step)


def logmel_shape(fps: Fraction | float | None = None) -> LogMelShape:
    """Return the shape for video of `fps` frames a second: 4 rows a frame, as nearly as whole samples allow.

    Args:
        fps: frames per second; None (as 25): VGGish's own, 25 ms every 10 ms.

    Raises:
        BadInput: if `fps` is not above 0, or so high that a step is no sample.
    """
    if fps is None:
        return LogMelShape()
    window, step = (scaled(base, fps, 16_000) for base in (Fraction(25, 1000), Fraction(10, 1000)))
    return LogMelShape(window=window, step=step)


def logmel(samples: np.ndarray, shape: LogMelShape | None = None) -> np.ndarray:
    """Return the rows of a sound: log(magnitudes weighted by the mel bands + 0.01).

    Args:
        samples: (N,) mono, full scale ±1; they are taken times 32768, as LoCoNet does (VGGish itself does not).
        shape: windows and sizes; None: VGGish's own.

    Returns:
        (T, bands) float32, T = `shape.rows(N)`.

    Raises:
        BadInput: if the samples are no (N,) numbers.
    """
    shape, values = shape or LogMelShape(), checked(samples)
    bank = _bank(shape)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / shape.window * np.arange(shape.window))  # periodic

    def rows(first: int, stop: int) -> np.ndarray:
        sound = stretch(values, first * shape.step, (stop - 1) * shape.step + shape.window, INT16)
        spectrum = np.fft.rfft(windows(sound, shape.window, shape.step) * hann, shape.fft)
        return np.asarray(np.log(bank.sums(np.abs(spectrum)) + OFFSET))

    return in_blocks(shape.rows(len(values)), shape.bands, rows)


@lru_cache(maxsize=32)
def _bank(shape: LogMelShape) -> Bank:
    return Bank.of(htk_triangles(shape.bands, shape.fft, shape.rate_hz, shape.low_hz, shape.high_hz))
