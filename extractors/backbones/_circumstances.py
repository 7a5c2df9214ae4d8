"""What a recipe records of a computation without defining it: versions, date, and where it ran."""

from __future__ import annotations

import datetime
import importlib.metadata
from typing import Any


def circumstances(*packages: str, device: str | None = None) -> dict[str, Any]:
    """Return versions and date, of a network also its device and torch's threads.

    Args:
        packages: names of distributions; those that are not installed are left out.
        device: on which torch computes; None: torch does not.
    """
    found: dict[str, Any] = {"versions": {}, "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    for name in packages:
        try:
            found["versions"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # it can have had no part in the computation
    if device is not None:
        import torch

        found |= {"device": device, "threads": torch.get_num_threads()}
    return found
