"""ViPER's windows over a clip's sound: pure functions of its length.

Source: specs/viper.md (ViPER, MuSe 2022 Reaction).
"""

from __future__ import annotations

import numpy as np

SAMPLES = 16_000  # of each window as the network gets it: one second


def viper_windows(samples: int, count: int = 32) -> list[tuple[int, int]]:
    """Return `count` windows that cover the sound and overlap by half.

    With w = 2 samples / (count + 1), window k is [int(k w / 2), int(k w / 2 + w)); the rounding of floats is part of
    it.

    Args:
        samples: length of the sound, 0 or more.
        count: 1 or more.

    Returns:
        Start and stop of each, in samples.

    Example:
        >>> viper_windows(100, 4)
        [(0, 40), (20, 60), (40, 80), (60, 100)]
    """
    width = 2 * samples / (count + 1)
    return [(int(k * width / 2), int(k * width / 2 + width)) for k in range(count)]


def cut_windows(samples: np.ndarray, windows: list[tuple[int, int]]) -> np.ndarray:
    """Return the sound in each window, cut or filled up with zeros on the right to one second.

    Args:
        samples: (N,) float32 at 16 kHz.
        windows: start and stop of each.

    Returns:
        (count, 16000) float32.
    """
    cut = np.zeros((len(windows), SAMPLES), np.float32)
    for row, (start, stop) in zip(cut, windows, strict=True):
        heard = samples[start:stop][:SAMPLES]
        row[: len(heard)] = heard
    return cut
