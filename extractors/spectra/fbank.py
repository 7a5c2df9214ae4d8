"""Log filterbank rows as Kaldi makes them, with the settings of Social-MAE (and of AST and CAV-MAE before it)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...store.errors import BadInput
from .blocks import Bank, checked, in_blocks, stretch, whole_windows, windows
from .triangles import htk_triangles

PRE_EMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)  # below it, no log is taken

SOCIAL_MAE_FRAMES = 1024  # 10.24 s
SOCIAL_MAE_MEAN, SOCIAL_MAE_DEVIATION = -6.2943, 12.26344  # the second is twice the deviation


@dataclass(frozen=True)
class FbankShape:
    """What the recipe leaves open.

    Args:
        rate_hz: of the sound.
        window, step: samples.
        bands: mel bands from `low_hz` to half the rate.
    """

    rate_hz: int = 16_000
    window: int = 400
    step: int = 160
    bands: int = 128
    low_hz: float = 20.0

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


def fbank(samples: np.ndarray, shape: FbankShape | None = None) -> np.ndarray:
    """Return the rows of a sound.

    Each window: its mean taken off, pre-emphasis 0.97 (the first sample against itself), symmetric Hann window, power
    spectrum, triangles on the HTK scale, log. The mean of the whole sound, which Social-MAE takes off first, changes
    nothing, as each window's is taken off anyway; so rows depend on their window alone.

    Args:
        samples: (N,) mono, full scale ±1.
        shape: windows and sizes; None: Social-MAE's.

    Returns:
        (T, bands) float32, T = `shape.rows(N)`.

    Raises:
        BadInput: if the samples are no (N,) numbers.
    """
    shape, values = shape or FbankShape(), checked(samples)
    bank = _bank(shape)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / (shape.window - 1) * np.arange(shape.window))

    def rows(first: int, stop: int) -> np.ndarray:
        sound = stretch(values, first * shape.step, (stop - 1) * shape.step + shape.window)
        frames = windows(sound, shape.window, shape.step)
        frames = frames - frames.mean(1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        spectrum = np.fft.rfft((frames - PRE_EMPHASIS * before) * hann, shape.fft)
        power = spectrum.real**2 + spectrum.imag**2
        return np.asarray(np.log(np.maximum(bank.sums(power), FLOOR)))

    return in_blocks(shape.rows(len(values)), shape.bands, rows)


def social_mae_input(rows: np.ndarray, frames: int = SOCIAL_MAE_FRAMES) -> np.ndarray:
    """Return what Social-MAE's audio branch takes: cut or filled up with zeros, then normalised.

    Args:
        rows: (T, bands) from `fbank`.
        frames: how many rows the network takes.

    Returns:
        (frames, bands) float32; a row that was filled up is 0.51326 throughout.

    Raises:
        BadInput: if `rows` is no matrix, or `frames` is below 1.
    """
    if np.ndim(rows) != 2 or frames < 1:
        raise BadInput(
            f"{frames} rows for Social-MAE were asked for, from an array {np.shape(rows)}.",
            "It takes a matrix, and at least one row.",
            "Give the rows of `fbank`.",
        )
    padded = np.zeros((frames, rows.shape[1]), np.float32)
    padded[: min(frames, len(rows))] = rows[:frames]
    return (padded - np.float32(SOCIAL_MAE_MEAN)) / np.float32(SOCIAL_MAE_DEVIATION)


@lru_cache(maxsize=32)
def _bank(shape: FbankShape) -> Bank:
    return Bank.of(htk_triangles(shape.bands, shape.fft, shape.rate_hz, shape.low_hz, shape.rate_hz / 2))
