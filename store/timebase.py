"""The clock of a feature set: which moment each row stands for.

Rates are exact fractions, so that 30000/1001 does not drift over hours.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .errors import BadInput


@dataclass(frozen=True)
class Timebase:
    """Rows at a constant rate, each the centre of a window of the source.

    Args:
        rate_hz: rows per second, exact, > 0.
        first_center_s: centre of row 0, seconds after the start of the source stream.
        window_s: receptive field of one row, seconds, > 0.

    Raises:
        BadInput: if the rate or the window is not positive.
    """

    rate_hz: Fraction
    first_center_s: Fraction
    window_s: Fraction

    def __post_init__(self) -> None:
        if self.rate_hz <= 0 or self.window_s <= 0:
            raise BadInput(
                "A timebase needs a positive rate and window.",
                f"Got rate {self.rate_hz} Hz and window {self.window_s} s.",
                "Give both as positive fractions.",
            )

    def centers(self, rows: int) -> np.ndarray:
        """Return the centre of each row.

        Args:
            rows: how many rows, T.

        Returns:
            (T,) float64, seconds after the start of the source stream; each is correctly rounded, so there is no drift.
        """
        period, first = 1 / self.rate_hz, self.first_center_s
        denominator = math.lcm(period.denominator, first.denominator)
        step = period.numerator * (denominator // period.denominator)
        offset = first.numerator * (denominator // first.denominator)
        # Integers below 2**53 divide exactly rounded: 2**53 / 16000 Hz is 17,000 years.
        return (np.arange(rows, dtype=np.int64) * step + offset) / denominator

    def count(self, duration_s: float) -> int:
        """Return how many whole windows fit into a stream of `duration_s` seconds (0 if none does)."""
        room = Fraction(duration_s).limit_denominator(10**9) - self.window_s
        return 0 if room < 0 else int(room * self.rate_hz) + 1

    def to_json(self) -> dict[str, Any]:
        """Return a JSON form with exact fractions as text."""
        return {
            "rate_hz": str(self.rate_hz),
            "first_center_s": str(self.first_center_s),
            "window_s": str(self.window_s),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Timebase:
        """Read what `to_json` wrote.

        Raises:
            BadInput: if a field is missing or is no fraction.
        """
        try:
            return cls(*(_fraction(data[name]) for name in ("rate_hz", "first_center_s", "window_s")))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise BadInput(
                "A timebase was read from JSON.", f"Found {data!r}.", "It needs rate_hz, first_center_s, window_s."
            ) from error


def _fraction(text: str) -> Fraction:
    """Read `p` or `p/q`; a stored `1e999999999` must not make us compute that power."""
    if not isinstance(text, str) or not re.fullmatch(r"-?[0-9]{1,40}(/[0-9]{1,40})?", text):
        raise ValueError(f"{str(text)[:60]!r} is not a fraction")
    return Fraction(text)
