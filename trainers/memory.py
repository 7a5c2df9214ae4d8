"""How much memory features may take before they are streamed from the store instead."""

from __future__ import annotations

import os
from pathlib import Path

from ..store.errors import BadInput

GIB = 2**30
SHARE = 0.5  # of what is free, unless a limit is given


def free_bytes() -> int:
    """Return how much memory programs could still take: what Linux says of it, else the pages that nobody uses."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def limit_bytes(memory_gib: float | None) -> int:
    """Return the limit in bytes.

    Args:
        memory_gib: GiB; None: half of what is free. 0 streams everything.

    Raises:
        BadInput: for a negative number, or none.
    """
    if memory_gib is None:
        return int(free_bytes() * SHARE)
    if not 0 <= memory_gib < float("inf"):
        raise BadInput(
            f"Features were to take at most {memory_gib} GiB of memory.", "That is no size.", "Give 0 or more."
        )
    return int(memory_gib * GIB)
