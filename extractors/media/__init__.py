"""Media: decoding of sound and pictures, once per clip, in child processes; and made-up media for demos and checks.

``decode`` is the only module that opens media files. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import Audio
    from .clip import decode_audio
    from .decode import MediaInfo, probe
    from .isolation import DecodePool, DecodeRequest
    from .request import ClipRequest
    from .synthetic import make_meetings

__all__ = ["Audio", "ClipRequest", "DecodePool", "DecodeRequest", "MediaInfo", "decode_audio", "make_meetings", "probe"]

_HOMES = {
    "Audio": "audio",
    "ClipRequest": "request",
    "DecodePool": "isolation",
    "DecodeRequest": "isolation",
    "MediaInfo": "decode",
    "decode_audio": "clip",
    "make_meetings": "synthetic",
    "probe": "decode",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
