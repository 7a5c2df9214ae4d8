"""Comparing metadata files with the only content they can have, so that no flipped bit in them goes unseen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import CuebankError
from ..files import read_bytes


def differences(path: Path, expected: bytes, where: str) -> Iterator[str]:
    """Yield one line if a file is absent, or is not what it was when it was written."""
    try:
        if read_bytes(path, where, limit=max(len(expected), 1) * 2 + 4096) != expected:
            yield f"The {path.name} of {where} is not as it was written."
    except CuebankError as error:
        yield f"{error.asked} {error.found}"


def strange_names(folder: Path, expected: set[str]) -> Iterator[str]:
    """Yield one line for each name in a folder that does not belong there. An absent folder is reported elsewhere."""
    if folder.is_dir():
        for name in sorted({path.name for path in folder.iterdir()} - expected):
            yield f"`{name}` in `{folder.name}` does not belong there."
