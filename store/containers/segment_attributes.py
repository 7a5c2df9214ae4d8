"""What a segment says of itself beside its arrays, the same in both containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..recipe import CODECS
from .zarr_bundle import count

MAX_REPLACED = 2**20  # segments in place of which one stands


class SegmentAttributes:
    """Takes rows, fingerprint, codec and replaced segments from a segment's attributes."""

    rows: int
    fingerprint: str
    codec: str
    replaces: Sequence[str]

    def _look(self, own: Mapping[str, Any]) -> None:
        """Take them; KeyError, TypeError or ValueError if they cannot be those of a segment."""
        self.rows = count(own["rows"], 2**62)
        self.fingerprint = own["fingerprint"]
        self.codec = own.get("codec", "none")
        self.replaces = own.get("replaces", ())
        if self.codec not in CODECS:
            raise ValueError(f"codec {str(self.codec)[:40]}")
        if type(self.replaces) not in (list, tuple) or len(self.replaces) > MAX_REPLACED:
            raise ValueError("it does not say what it replaces")
        if not all(isinstance(name, str) for name in self.replaces):
            raise ValueError("it does not say what it replaces")
