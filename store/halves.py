"""float16 to float32 at the speed of a memory copy.

numpy converts one number at a time unless its build uses the processor's own instruction. Three passes over whole
blocks that stay in the cache are four to six times faster: the bits of a half are a float whose exponent is 112 too small.
"""

from __future__ import annotations

import numpy as np

BLOCK = 128 * 768  # numbers converted at a time: 400 KB of float32, which the second-level cache holds
_SHIFT = np.int32(13)  # a float has 13 bits of mantissa more
_KEPT = np.int32(-0x70002000)  # 0x8FFFE000: sign, exponent and mantissa, without copies of the sign between them
_SCALE = np.float32(2.0**112)  # the exponents are biased by 127 and by 15
_SUBNORMAL = np.ones(1, np.int32).view(np.float32)


def widen(source: np.ndarray, target: np.ndarray) -> None:
    """Copy finite float16 numbers into float32, exactly; Inf and NaN become finite nonsense.

    Args:
        source: (T, D) float16, finite. Series of a store always are.
        target: (T, D) float32.
    """
    if flushes_subnormals() or not source.dtype.isnative:
        np.copyto(target, source)
        return
    bits, wide = source.view(np.int16), target.view(np.int32)
    rows = max(1, BLOCK // max(1, source.shape[1]))
    for first in range(0, len(source), rows):
        block, number = wide[first : first + rows], target[first : first + rows]
        np.copyto(block, bits[first : first + rows])
        np.left_shift(block, _SHIFT, block)
        np.bitwise_and(block, _KEPT, block)
        # Subnormal halves are subnormal floats here; the product is normal, and exact like all of them.
        np.multiply(number, _SCALE, number)


def copy_rows(source: np.ndarray, target: np.ndarray) -> None:
    """Copy rows (T, D) of a store into rows of the same or a wider type."""
    if source.dtype == np.float16 and target.dtype == np.float32:
        widen(source, target)
    else:
        np.copyto(target, source)


def flushes_subnormals() -> bool:
    """Return whether this thread computes with subnormal numbers as if they were zero.

    Other libraries switch that on, for instance `torch.set_flush_denormal`; small halves would be lost.
    """
    return bool((_SUBNORMAL * _SCALE)[0] == 0)
