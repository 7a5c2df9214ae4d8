"""float16 to float32 at the speed of a memory copy.

numpy converts one number at a time unless its build uses the processor's own instruction. Four passes over blocks that
stay in the cache are four times faster: the bits of a half, spread out, are a float whose exponent is 112 too small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK = 192 * 768  # numbers converted at a time: 600 KB of float32, which the second-level cache holds
_SHIFT = np.int32(13)  # a float has 13 bits of mantissa more
_KEPT = np.int32(-0x70002000)  # 0x8FFFE000: sign, exponent and mantissa, without the copies of the sign between them
_SCALE = np.float32(2.0**112)  # the exponents are biased by 127 and by 15
_SUBNORMAL = np.ones(1, np.int32).view(np.float32)

Copy = Callable[[np.ndarray, np.ndarray], None]


def copier(stored: np.dtype[Any], wanted: np.dtype[Any]) -> Copy:
    """Return the quickest function that copies rows (T, D) of one type into rows of the same or a wider type.

    It is for this thread and the moment; see `flushes_subnormals`. Numbers must be finite, as those of a store are.
    """
    halves = stored == np.float16 and wanted == np.float32 and stored.isnative and wanted.isnative
    return widen if halves and not flushes_subnormals() else _copy


def widen(source: np.ndarray, target: np.ndarray) -> None:
    """Copy finite float16 numbers into float32, exactly; Inf and NaN become finite nonsense.

    Args:
        source: (T, D) float16, finite.
        target: (T, D) float32.
    """
    bits, wide = source.view(np.int16), target.view(np.int32)
    rows = max(1, BLOCK // max(1, source.shape[1]))
    for first in range(0, len(source), rows):
        block, numbers = wide[first : first + rows], target[first : first + rows]
        np.copyto(block, bits[first : first + rows])
        np.left_shift(block, _SHIFT, block)
        np.bitwise_and(block, _KEPT, block)
        # Subnormal halves are subnormal floats here; the product is normal, and exact like all of them.
        np.multiply(numbers, _SCALE, numbers)


def flushes_subnormals() -> bool:
    """Return whether this thread computes with subnormal numbers as if they were zero.

    Other libraries switch that on, for instance `torch.set_flush_denormal`; `widen` would then lose small halves.
    """
    return bool((_SUBNORMAL * _SCALE)[0] == 0)


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    np.copyto(target, source)
