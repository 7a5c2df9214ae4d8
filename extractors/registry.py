"""Which backbones there are: every file of `backbones/` that does not start with `_` is a family.

A family's file has `CARDS`, a tuple of `Card`, and `load(card, settings)`, which returns an `Extractor`; importing it
must not import torch.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import lru_cache
from types import ModuleType

from ..store.errors import BadInput, NotFound, nearest
from . import backbones
from .base import Card, Extractor, ExtractorSettings

_LOOKS_LIKE_A_PATH = re.compile(r"[/\\]|^[.~]|\.(pt|pth|bin|ckpt|safetensors|onnx)$", re.IGNORECASE)


@lru_cache(maxsize=1)
def _families() -> dict[str, tuple[Card, ModuleType]]:
    """All cards by name, with the module that loads them."""
    found: dict[str, tuple[Card, ModuleType]] = {}
    for info in pkgutil.iter_modules(backbones.__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f".{info.name}", backbones.__name__)
        for item in module.CARDS:
            if item.name in found:
                raise BadInput(
                    f"Two backbones are called `{item.name}`.",
                    f"One is in {found[item.name][1].__name__}, one in {module.__name__}.",
                    "Rename one of them.",
                )
            found[item.name] = (item, module)
    return found


def cards() -> list[Card]:
    """Return the cards of all backbones, sorted by name.

    Example:
        >>> "hubert-base" in [card.name for card in cards()]
        True
    """
    return [item for _, (item, _) in sorted(_families().items())]


def card(name: str) -> Card:
    """Return the card of this name; a family's name means its default card.

    Raises:
        BadInput: if the name looks like a path.
        NotFound: if there is none; the message has the nearest names.

    Example:
        >>> card("hubert").name
        'hubert-base'
    """
    known = _families()
    if name in known:
        return known[name][0]
    for item, _ in known.values():
        if item.default and item.family == name:
            return item
    if _LOOKS_LIKE_A_PATH.search(name):
        default = next((item.name for item, _ in known.values() if item.default), "NAME")
        raise BadInput(
            f"The backbone `{name}` was asked for.",
            "That looks like a path or a hub id, which says nothing of the network it belongs to.",
            f"Use --backbone {default} for the published weights, or --backbone {default} --weights {name} for these.",
        )
    families = {item.family for item, _ in known.values()}
    raise NotFound(
        f"The backbone `{name}` was asked for.", "There is none of that name.", nearest(name, [*families, *known])
    )


def load(name: str, settings: ExtractorSettings) -> Extractor:
    """Load a backbone with its weights.

    Args:
        name: of a card or a family.
        settings: weights, layers and the rest.

    Raises:
        NotFound, BadInput: for an unknown name, layer or device.
        WeightsError: if the weights cannot be had, or do not fit.
        MissingExtra: if a package that this backbone needs is not installed.
    """
    chosen = card(name)
    settings.check_pooling(chosen)
    extractor: Extractor = _families()[chosen.name][1].load(chosen, settings)
    return extractor
