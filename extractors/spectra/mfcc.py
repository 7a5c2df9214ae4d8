"""MFCC as `python_speech_features` 0.6 makes them, which TalkNet, Light-ASD, ASC and the KEMDy encoder take.

Its habits are kept: pre-emphasis over the whole sound, no window function, an FFT of 512 that cuts longer windows off,
filter corners rounded down to FFT bins, and the log of the energy in place of the first coefficient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from ...store.errors import BadInput
from .blocks import INT16, Bank, checked, in_blocks, stretch, windows
from .triangles import htk, htk_hz

PRE_EMPHASIS = 0.97
LIFTER = 22
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class MfccShape:
    """What the recipe leaves open.

    Args:
        rate_hz: of the sound.
        window, step: samples.
        fft: length of the Fourier transform; a longer window is cut off at its end.
        bands: filters between 0 and half the rate.
        cepstra: coefficients that are kept.
    """

    rate_hz: int = 16_000
    window: int = 400
    step: int = 160
    fft: int = 512
    bands: int = 26
    cepstra: int = 13

    @property
    def support(self) -> int:
        """Samples that a row depends on; the one before them, through the pre-emphasis, is not counted."""
        return min(self.window, self.fft)

    def rows(self, samples: int) -> int:
        """Return how many rows a sound has: the last window is filled up with zeros; 1 if it is shorter than one."""
        return 1 + max(0, -((self.window - samples) // self.step))


def mfcc_shape(fps: Fraction | float | None = None) -> MfccShape:
    """Return the shape for video of `fps` frames a second: 4 rows a frame, as nearly as whole samples allow.

    Args:
        fps: frames per second; None (as 25): the library's defaults, 25 ms every 10 ms.

    Raises:
        BadInput: if `fps` is not above 0, or so high that a step is no sample.

    Example:
        >>> mfcc_shape(12).window, mfcc_shape(12).step, mfcc_shape(12).support
        (833, 333, 512)
    """
    if fps is None:
        return MfccShape()
    window, step = (scaled(base, fps, 16_000) for base in (Fraction(25, 1000), Fraction(10, 1000)))
    return MfccShape(window=window, step=step)


def scaled(seconds: Fraction, fps: Fraction | float, rate_hz: int) -> int:
    """Return `seconds` · 25 / `fps` in samples, halves rounded up.

    Raises:
        BadInput: if that is no sample, or `fps` is not above 0.
    """
    if not (math.isfinite(fps) and fps > 0) or (samples := _half_up(seconds * 25 / Fraction(fps) * rate_hz)) < 1:
        raise BadInput(
            f"Windows of sound for video of {fps} frames a second were asked for.",
            "That is no frame rate, or too high a one.",
            "Give the rate of the video, e.g. 25 or 30000/1001.",
        )
    return samples


def _half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def mfcc(samples: np.ndarray, shape: MfccShape | None = None) -> np.ndarray:
    """Return the coefficients of a sound.

    Args:
        samples: (N,) mono, N >= 1, full scale ±1; they are taken times 32768.
        shape: windows and sizes; None: the library's defaults.

    Returns:
        (T, cepstra) float32, T = `shape.rows(N)`; column 0 is the log of the energy.

    Raises:
        BadInput: if the samples are no (N,) numbers, or there are none.
    """
    shape, values = shape or MfccShape(), checked(samples)
    if not len(values):
        raise BadInput("MFCC of a sound were asked for.", "It has no samples.", "Leave it out.")
    bank, cosines = _bank(shape), _cosines(shape)

    def rows(first: int, stop: int) -> np.ndarray:
        begin, end = first * shape.step, (stop - 1) * shape.step + shape.window
        sound = stretch(values, begin - 1, end, INT16)  # nothing is before the first sample, so it is kept as it is
        sound = sound[1:] - PRE_EMPHASIS * sound[:-1]
        sound[max(0, len(values) - begin) :] = 0.0  # what fills up the last window is not emphasised
        spectrum = np.fft.rfft(windows(sound, shape.window, shape.step, shape.support), shape.fft)
        power = (spectrum.real**2 + spectrum.imag**2) / shape.fft
        energy = power.sum(1)
        cepstra = cosines.sums(_log(bank.sums(power)))
        cepstra[:, 0] = _log(energy)
        return cepstra

    return in_blocks(shape.rows(len(values)), shape.cepstra, rows)


def _log(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.where(values == 0, EPS, values)))


@lru_cache(maxsize=32)
def _bank(shape: MfccShape) -> Bank:
    corners = htk_hz(np.linspace(htk(0.0), htk(shape.rate_hz / 2), shape.bands + 2))
    bins = np.floor((shape.fft + 1) * corners / shape.rate_hz)
    weights = np.zeros((shape.bands, shape.fft // 2 + 1))
    for m in range(shape.bands):
        left, centre, right = bins[m : m + 3]
        up, down = np.arange(int(left), int(centre)), np.arange(int(centre), int(right))
        weights[m, up] = (up - left) / (centre - left) if len(up) else 0.0
        weights[m, down] = (right - down) / (right - centre) if len(down) else 0.0
    return Bank.of(weights)


@lru_cache(maxsize=32)
def _cosines(shape: MfccShape) -> Bank:
    """The orthonormal DCT-II, times the lifter."""
    n, k = np.arange(shape.bands), np.arange(shape.cepstra)[:, None]
    matrix = np.sqrt(2.0 / shape.bands) * np.cos(np.pi * k * (2 * n + 1) / (2 * shape.bands))
    matrix[0] = np.sqrt(1.0 / shape.bands)
    return Bank.of(matrix * (1.0 + LIFTER / 2 * np.sin(np.pi * k / LIFTER)))
