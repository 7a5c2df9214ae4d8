"""Frozen backbones: media in, features with their times out.

``extract`` fills a store, ``cards`` lists what there is; both load their heavy parts only when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Card, Extractor, ExtractorSettings, Needs, Pictures, PictureWork, Rows
    from .contract import check_backbone
    from .errors import MediaError, WeightsError
    from .media.audio import Audio
    from .media.demand import AtRate, EveryFrame, PictureDemand, PictureShape, Slots
    from .registry import card, cards, load
    from .report import ExtractReport
    from .runner import extract

_HOMES = {
    "AtRate": "media.demand",
    "Audio": "media.audio",
    "Card": "base",
    "EveryFrame": "media.demand",
    "ExtractReport": "report",
    "Extractor": "base",
    "ExtractorSettings": "base",
    "MediaError": "errors",
    "Needs": "base",
    "PictureDemand": "media.demand",
    "PictureShape": "media.demand",
    "PictureWork": "base",
    "Pictures": "base",
    "Rows": "base",
    "Slots": "media.demand",
    "WeightsError": "errors",
    "card": "registry",
    "cards": "registry",
    "check_backbone": "contract",
    "extract": "runner",
    "load": "registry",
}
__all__ = [
    "AtRate",
    "Audio",
    "Card",
    "EveryFrame",
    "ExtractReport",
    "Extractor",
    "ExtractorSettings",
    "MediaError",
    "Needs",
    "PictureDemand",
    "PictureShape",
    "PictureWork",
    "Pictures",
    "Rows",
    "Slots",
    "WeightsError",
    "card",
    "cards",
    "check_backbone",
    "extract",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
