"""Mel spectrogram as `librosa.feature.melspectrogram` makes it, by our own few lines.

librosa compiles code with numba at its first spectrogram (20 s on a slow machine) and imports it for the mere filters
(2 s); a test compares these lines with librosa instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .blocks import Bank, checked, in_blocks, stretch, windows
from .triangles import slaney, slaney_hz, triangles

DB_FLOOR = 1e-10  # power below it counts as it: -100 dB


@dataclass(frozen=True)
class MelShape:
    """What the recipe leaves open; the defaults are librosa's.

    Args:
        rate_hz: of the sound.
        window: samples of a window, which is also the length of the Fourier transform; even.
        step: samples from the centre of a window to the next; the first is centred on sample 0.
        bands: mel bands from 0 to half the rate.
        in_db: whether rows are 10 log10 of the power.
    """

    rate_hz: int = 22_050
    window: int = 2048
    step: int = 512
    bands: int = 128
    in_db: bool = False

    @property
    def support(self) -> int:
        """Samples that a row depends on."""
        return self.window

    def rows(self, samples: int) -> int:
        """Return how many rows a sound has; those near its ends look half at nothing."""
        return 1 + samples // self.step


def mel(samples: np.ndarray, shape: MelShape | None = None) -> np.ndarray:
    """Return the mel spectrogram of a sound, a row for each moment: power, or with `in_db` its logarithm.

    Args:
        samples: (N,) mono, full scale ±1.
        shape: windows and sizes; None: librosa's defaults.

    Returns:
        (T, bands) float32, T = `shape.rows(N)`; Slaney's scale and areas, periodic Hann window, zeros outside.

    Raises:
        BadInput: if the samples are no (N,) numbers.
    """
    shape, values = shape or MelShape(), checked(samples)
    bank, half = _bank(shape), shape.window // 2
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / shape.window * np.arange(shape.window))

    def rows(first: int, stop: int) -> np.ndarray:
        sound = stretch(values, first * shape.step - half, (stop - 1) * shape.step - half + shape.window)
        spectrum = np.fft.rfft(windows(sound, shape.window, shape.step) * hann)
        power = bank.sums(spectrum.real**2 + spectrum.imag**2)
        return decibels(power) if shape.in_db else power

    return in_blocks(shape.rows(len(values)), shape.bands, rows)


def decibels(power: np.ndarray) -> np.ndarray:
    """Return 10 log10(power), at least -100: librosa's `power_to_db` without its limit under the clip's loudest moment.

    Args:
        power: >= 0, of any shape.

    Returns:
        float64 of the same shape.
    """
    return np.asarray(10.0 * np.log10(np.maximum(np.asarray(power, np.float64), DB_FLOOR)))


def mel_bank(shape: MelShape) -> np.ndarray:
    """Return the filters, (bands, window / 2 + 1) float64: triangles over frequencies, each of the same area."""
    corners = slaney_hz(np.linspace(slaney(0.0), slaney(shape.rate_hz / 2), shape.bands + 2))
    weights = triangles(np.arange(shape.window // 2 + 1) * (shape.rate_hz / shape.window), corners)
    return np.asarray(weights * (2.0 / (corners[2:] - corners[:-2]))[:, None])


@lru_cache(maxsize=32)
def _bank(shape: MelShape) -> Bank:
    return Bank.of(mel_bank(shape))
