"""Heads: the small networks that are trained on stored features. One file each; the list of files is the list
of heads.

A file declares `CARD`, a `HeadCard`; its name with dashes is the head's name (`temporal_gnn.py` is
`temporal-gnn`). Files whose name starts with `_` are no heads. Listing the names imports none of them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ...store.errors import NotFound, nearest

if TYPE_CHECKING:
    from ._base import HeadCard


def names() -> list[str]:
    """Return the names of all heads, sorted.

    Example:
        >>> "mlp" in names()
        True
    """
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(stem.replace("_", "-") for stem in files if not stem.startswith("_"))


def head(name: str) -> HeadCard:
    """Return the card of one head; loads torch.

    Raises:
        NotFound: if there is no such head; the nearest names are said.

    Example:
        >>> head("mlp").name
        'mlp'
    """
    if name not in names():
        raise NotFound(f"A head called `{name}` was asked for.", "There is no such head.", nearest(name, names()))
    card: HeadCard = importlib.import_module(f".{name.replace('-', '_')}", __name__).CARD
    return card


def heads() -> list[HeadCard]:
    """Return the cards of all heads, by name; loads torch."""
    return [head(name) for name in names()]
