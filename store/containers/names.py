"""Names of bundles: `<generation>-<random>-<crc>`. They say which is newer, and end with a checksum of the metadata."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Sequence

from ..errors import Conflict
from ..files import corrupt

MAX_GENERATION = 10**18  # more digits no name can have
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

    Raises:
        Corrupt: if a name that is there claims the highest generation that can be told.

    Example:
        >>> next_stem(["00000007-0123456789ab-89abcdef"])[:9], next_stem([], ["00000007-0123456789ab-89abcdef"])
        ('00000008-', '00000007-0123456789ab-')
    """
    if replaces:
        return replaces[0][: replaces[0].rindex("-") + 1]
    newest = newest_of(present)
    if newest + 1 >= MAX_GENERATION:
        raise corrupt("The name of a segment", f"Its generation is {newest}: no newer one could be told from others.")
    return f"{newest + 1:08d}-{secrets.token_hex(6)}-"


def newest_of(names: Sequence[str]) -> int:
    """Return the highest generation among the names of bundles, 0 if there are none."""
    return max((generation(name) or 0 for name in names), default=0)


def check_neighbours(present: Sequence[str], run: Sequence[str], known: Collection[str]) -> None:
    """Make sure that bundles which are to become one are neighbours still: what is between them would lose its rank.

    Args:
        present: names of the bundles that are visible.
        run: names that one bundle is to stand in place of, in order of rank; none: nothing to check.
        known: names that may lie between them, since they do not count.

    Raises:
        Conflict: if another process has committed something between them.
    """
    if not run:
        return
    own = {*run, *known}
    between = [name for name in present if rank(run[0]) < rank(name) < rank(run[-1]) and name not in own]
    if between:
        raise Conflict(
            f"{len(run)} segments were to become one.",
            f"Another process has just committed `{between[0]}`, which is between them.",
            "Nothing was changed. Compact the store again later.",
        )
