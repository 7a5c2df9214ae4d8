"""Frozen backbones: media in, features with their times out.

``extract`` fills a store, ``cards`` lists what there is; both load their heavy parts only when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Card, Extractor, ExtractorSettings, Rows
    from .registry import card, cards, load
    from .report import ExtractReport
    from .runner import extract

__all__ = ["Card", "ExtractReport", "Extractor", "ExtractorSettings", "Rows", "card", "cards", "extract", "load"]

_HOMES = {
    "Card": "base",
    "ExtractReport": "report",
    "Extractor": "base",
    "ExtractorSettings": "base",
    "Rows": "base",
    "card": "registry",
    "cards": "registry",
    "extract": "runner",
    "load": "registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
