"""Short windows of a long sound, a block at a time, and weighted sums over them that do not depend on the block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...store.errors import BadInput

BLOCK_ROWS = 1024  # 1024 windows of 512 samples and their spectra take about 20 MB
INT16 = 32768.0  # full scale of 16-bit samples


@dataclass(frozen=True)
class Bank:
    """A bank of filters as lists of its weights that are not 0.

    Args:
        bands: how many filters, M.
        band, frequency, weight: (K,) of each weight; within a band by rising frequency.
    """

    bands: int
    band: tuple[int, ...]
    frequency: tuple[int, ...]
    weight: tuple[float, ...]

    @classmethod
    def of(cls, weights: np.ndarray) -> Bank:
        """Make one from the whole matrix (M, F)."""
        band, frequency = np.nonzero(weights)
        return cls(len(weights), tuple(band.tolist()), tuple(frequency.tolist()), tuple(weights[band, frequency]))

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """Return the weighted sums of each row, added up by rising frequency.

        A matrix product would add in an order that depends on the number of rows and of threads.

        Args:
            rows: (T, F) float64.

        Returns:
            (T, M) float64, contiguous.
        """
        columns = np.ascontiguousarray(rows.T)  # (F, T)
        sums = np.zeros((self.bands, len(rows)))
        for band, frequency, weight in zip(self.band, self.frequency, self.weight, strict=True):
            sums[band] += weight * columns[frequency]
        return np.ascontiguousarray(sums.T)


def whole_windows(samples: int, window: int, step: int) -> int:
    """Return how many windows fit into so many samples; 0 if none does.

    Example:
        >>> whole_windows(720, 400, 160), whole_windows(719, 400, 160), whole_windows(399, 400, 160)
        (3, 2, 0)
    """
    return 0 if samples < window else 1 + (samples - window) // step


def checked(samples: np.ndarray) -> np.ndarray:
    """Return the samples of one sound.

    Raises:
        BadInput: if they are not (N,), or are not real numbers.
    """
    values = np.asarray(samples)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise BadInput(
            f"A spectrum of an array {values.shape} of {values.dtype} was asked for.",
            "It is no sound in one channel.",
            "Give the samples as (N,) floats, full scale ±1.",
        )
    return values


def stretch(samples: np.ndarray, start: int, stop: int, scale: float = 1.0) -> np.ndarray:
    """Return samples `start` to `stop` times `scale`, (stop - start,) float64; zeros where there are none."""
    out = np.zeros(stop - start)
    low, high = max(0, start), min(len(samples), stop)
    if low < high:
        np.multiply(samples[low:high], scale, out=out[low - start : high - start], casting="unsafe", dtype=np.float64)
    return out


def windows(values: np.ndarray, window: int, step: int, keep: int | None = None) -> np.ndarray:
    """Return all whole windows of a stretch as a view (T, keep); `keep`: only so many first samples of each."""
    view: np.ndarray = np.lib.stride_tricks.sliding_window_view(values, window)[::step, :keep]
    return view


def blocks(rows: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of blocks of rows."""
    for first in range(0, rows, BLOCK_ROWS):
        yield first, min(rows, first + BLOCK_ROWS)


def in_blocks(rows: int, bands: int, compute: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """Return (rows, bands) float32, filled by `compute(first, stop)`, which makes (stop - first, bands)."""
    out = np.empty((rows, bands), np.float32)
    for first, stop in blocks(rows):
        out[first:stop] = compute(first, stop)
    return out


def wrapped(rows: np.ndarray, count: int) -> np.ndarray:
    """Return exactly `count` rows: cut, or filled up by starting again, as TalkNet, Light-ASD and LoCoNet do.

    Args:
        rows: (T, D), T >= 1.
        count: rows wanted; 4 for each frame of the video.

    Raises:
        BadInput: if there is no row to start from, or `count` is negative.
    """
    if not len(rows) or count < 0:
        raise BadInput(f"{count} rows were asked for, from {len(rows)}.", "That cannot be.", "Give at least one row.")
    return rows[np.arange(count) % len(rows)]
