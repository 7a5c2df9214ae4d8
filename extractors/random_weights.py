"""Stand-in weights for dry runs: every tensor follows from the seed and its own name and shape alone.

The stream is that of a bit generator (PCG64), which numpy keeps the same for ever, so that the same seed gives the same
features on any machine, with any version, in whatever order a network is built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

RULE = "pcg64-uniform-1"  # recorded with the seed; raise the number if the numbers change


def fill(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return stand-in weights for one tensor.

    - names that end in `bias`: uniform with standard deviation 0.1;
    - one axis otherwise (a norm's scale): 1 + uniform with standard deviation 0.1;
    - two axes (a linear layer): uniform with standard deviation 0.5 / sqrt(fan-in), so that in residual networks what
      comes in outweighs what each block adds (at 1, rows of a clip become alike within 12 blocks);
    - more axes (convolutions): 1 / sqrt(fan-in), which keeps the size of signals.

    Args:
        name: of the tensor in the network's state dict.
        shape: of the tensor.
        seed: 0 or more.

    Returns:
        `shape` float32.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw((count + 1) // 2)
    bits = np.asarray(raw).astype("<u8", copy=False).view("<u4")[:count]
    values = (bits >> np.uint32(8)).astype(np.float32)  # 24 bits: every value is a float32
    fan_in = int(np.prod(shape[1:], dtype=np.int64))
    deviation = 0.1 if len(shape) < 2 else (0.5 if len(shape) == 2 else 1.0) * fan_in**-0.5
    values *= np.float32(12**0.5 * deviation / 2**24)
    values -= np.float32(12**0.5 * deviation / 2)
    if len(shape) < 2 and not name.endswith("bias"):
        values += np.float32(1)
    return values.reshape(shape)


def fill_all(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Any]:
    """Return stand-in weights as torch tensors for `{name: shape}`, by the rule of `fill`."""
    import torch

    with ThreadPoolExecutor(2) as pool:  # numpy lets go of the interpreter while it draws
        arrays = pool.map(lambda item: fill(item[0], tuple(item[1]), seed), shapes.items())
        return {name: torch.from_numpy(array) for name, array in zip(shapes, arrays, strict=True)}
