"""Text from data, made harmless for a terminal."""

from __future__ import annotations

from typing import Any


def printable(text: Any) -> str:
    r"""Return text with control characters escaped, so that ids and file names cannot steer a terminal.

    Example:
        >>> printable("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
