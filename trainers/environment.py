"""What a result was computed with: versions, device, threads, commit."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from .. import __version__


def environment(device: str) -> dict[str, Any]:
    """Return what a report says about where it was computed.

    Args:
        device: torch's name of the device that was used, e.g. `cpu`, `cuda:0`.

    Returns:
        Versions of python, torch, numpy and cuebank; platform, device and its name, CPU threads; the commit
        of a checkout, or None for an installed package.
    """
    import numpy as np
    import torch

    kind = torch.device(device).type
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "cuebank": __version__,
        "platform": platform.platform(),
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": commit(Path(__file__).resolve().parent.parent),
    }


def commit(checkout: Path) -> str | None:
    """Return the commit that a checkout is on, read from its `.git` folder; None where there is none."""
    git = checkout / ".git"
    head = git / "HEAD"
    if not head.is_file():
        return None
    pointer = head.read_text(encoding="utf-8").strip()
    if not pointer.startswith("ref: "):
        return pointer
    name = pointer.removeprefix("ref: ")
    loose, packed = git / name, git / "packed-refs"
    if loose.is_file():
        return loose.read_text(encoding="utf-8").strip()
    if packed.is_file():
        for line in packed.read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line.split(" ", 1)[0]
    return None
