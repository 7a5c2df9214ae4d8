"""Triangular filters on a mel scale, in the variants of Kaldi, VGGish and librosa."""

from __future__ import annotations

import numpy as np

_BREAK_HZ, _BREAK_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3.0  # Slaney: linear below 1 kHz,
_OCTAVES_PER_MEL = np.log(6.4) / 27.0  # above it 27 steps to 6.4 kHz


def htk(hz: np.ndarray | float) -> np.ndarray:
    """Frequencies on the HTK mel scale, 2595 log10(1 + hz / 700)."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz, np.float64) / 700.0))


def htk_hz(mel: np.ndarray | float) -> np.ndarray:
    """Inverse of `htk`."""
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel, np.float64) / 2595.0) - 1.0))


def slaney(hz: float) -> float:
    """A frequency on Slaney's mel scale (Auditory Toolbox 1998, librosa's default)."""
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _OCTAVES_PER_MEL)


def slaney_hz(mel: np.ndarray) -> np.ndarray:
    """Inverse of `slaney`."""
    above = _BREAK_HZ * np.exp(_OCTAVES_PER_MEL * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, _HZ_PER_MEL * mel, above)


def triangles(places: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the weights of triangles whose corners are neighbours in a list.

    Args:
        places: (F,) where each frequency lies on the scale on which the sides are straight.
        corners: (M + 2,) rising, on the same scale; triangle m stands on m and m + 2 and is 1 at m + 1.

    Returns:
        (M, F) float64 in 0..1.
    """
    left, centre, right = (corners[i : len(corners) - 2 + i, None] for i in range(3))
    up = (places - left) / (centre - left)
    down = (right - places) / (right - centre)
    return np.maximum(0.0, np.minimum(up, down))


def htk_triangles(bands: int, fft: int, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Return triangles that are straight on the HTK scale, as Kaldi and VGGish draw them.

    Returns:
        (bands, fft / 2 + 1) float64; the constant component and the Nyquist frequency have no weight.
    """
    frequencies = np.arange(fft // 2 + 1) * (rate_hz / fft)
    weights = triangles(htk(frequencies), np.linspace(htk(low_hz), htk(high_hz), bands + 2))
    weights[:, [0, -1]] = 0.0
    return weights
