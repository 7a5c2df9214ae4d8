"""Names of bundles: `<generation>-<random>-<crc>`. They say which is newer, and end with a checksum of the metadata."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence

_NAME = re.compile(r"([0-9]{8,18})-([0-9a-f]{12})-([0-9a-f]{8})")


def generation(name: str) -> int | None:
    """Return the generation in a bundle's name, or None if it is no such name.

    Example:
        >>> generation("00000012-0123456789ab-89abcdef"), generation("zarr.json")
        (12, None)
    """
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def rank(name: str) -> tuple[int, str]:
    """Return what sorts names from the oldest to the newest: a generation of more digits is a larger one."""
    return len(name), name


def by_rank(names: Iterable[str]) -> list[str]:
    """Return those of some names that bundles can have, from the oldest to the newest."""
    return sorted((name for name in names if _NAME.fullmatch(name)), key=rank)


def checksum_in(name: str) -> str | None:
    """Return the 8 hex digits of the checksum in a bundle's name, or None if it is no such name."""
    match = _NAME.fullmatch(name)
    return match[3] if match else None


def next_stem(present: Sequence[str], replaces: Sequence[str] = ()) -> str:
    """Return how the name of a new bundle begins: `<generation>-<random>-`.

    Args:
        present: names of the bundles that are visible. A Lamport clock: all of them are older than the new one.
        replaces: bundles in whose place it stands; it takes over the rank of the first.

    Example:
        >>> next_stem(["00000007-0123456789ab-89abcdef"])[:9], next_stem([], ["00000007-0123456789ab-89abcdef"])
        ('00000008-', '00000007-0123456789ab-')
    """
    if replaces:
        return replaces[0][: replaces[0].rindex("-") + 1]
    newest = max((generation(name) or 0 for name in present), default=0)
    return f"{newest + 1:08d}-{secrets.token_hex(6)}-"
