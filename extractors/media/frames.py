"""Which frames of a clip published systems look at: rules about frame numbers, as pure functions.

Sources: preprocessing of SEMPI and ViPER, `specs/sempi.md` section 2 and `specs/viper.md` section 2. Both count decoded
frames, so a clip's variable rate or a hole changes which moments they see; they are here for parity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SEMPI_EVERY = 5  # SEMPI keeps every fifth decoded frame, and spreads its pictures over those


def sempi_frames(available: int, count: int) -> list[int]:
    """Return which of the available pictures SEMPI looks at: evenly spread, first and last included.

    Args:
        available: pictures there are, n >= 1.
        count: pictures wanted; where it is more than n, some repeat.

    Returns:
        `count` numbers from 0 to n - 1 that never fall.

    Example:
        >>> sempi_frames(50, 8)
        [0, 7, 14, 21, 28, 35, 42, 49]
    """
    return [int(number) for number in np.linspace(0, available - 1, count).astype(int)]


def sempi_frames_of_video(frames: int, count: int) -> list[int]:
    """Return the numbers of the decoded frames that SEMPI looks at, of a clip that has `frames` of them."""
    available = -(-frames // SEMPI_EVERY)
    return [SEMPI_EVERY * number for number in sempi_frames(available, count)]


class ViperRule:
    """ViPER's rule, which decides about one frame after the other.

    It is kept with its defects: 33 or fewer frames give fewer than `count` pictures, a clip that is shorter than its
    header says loses the last one, and with half a frame per picture or less it divides by zero.

    Args:
        reported: frames that the container states, F.
        count: pictures wanted, >= 2.
    """

    def __init__(self, reported: int, count: int) -> None:
        self._reported = reported
        self._steps = count - 1
        self._saved = 0

    def saves(self, number: int) -> bool:
        """Tell whether frame `number` is looked at; ask for 0, 1, 2 … in turn.

        Raises:
            ZeroDivisionError: where the original stops with one, too.
        """
        chosen = number in (0, self._reported - 1)
        # Python's rounding: halves go to the even number.
        chosen = chosen or number % round(self._reported / self._steps * self._saved) == 0
        self._saved += chosen
        return chosen


def viper_frames(total: int, reported: int, count: int) -> Iterator[int]:
    """Yield the numbers of the frames that ViPER looks at.

    Args:
        total: frames that can be decoded.
        reported: frames that the container states.
        count: pictures wanted, >= 2.

    Raises:
        ZeroDivisionError: on the way, where `reported` is half of `count - 1` or less.

    Example:
        >>> list(viper_frames(16, 16, 32))
        [0, 1, 2, 4, 6, 9, 12, 15]
    """
    rule = ViperRule(reported, count)
    return (number for number in range(total) if rule.saves(number))
