"""Errors about media and weights; the rest of the tree is in `store.errors`.

::

    CuebankError
    ├── MediaError     mend or leave out the media file
    └── WeightsError   get the right weights, or name another card
"""

from __future__ import annotations

from ..store.errors import CuebankError


class MediaError(CuebankError):
    """A media file, or the part of it that was asked for, cannot be decoded."""

    code = "media"


class WeightsError(CuebankError):
    """Weights that are absent, unsafe to load, or do not fit the network."""

    code = "weights"
