"""Texts as plain numbers: their UTF-8 bytes one after the other, and the offsets between them.

Any id length and script, no string type that other Zarr readers might not know, and nothing to unpickle.
"""

from __future__ import annotations

import numpy as np

from .files import corrupt


def pack_texts(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts one after the other, uint8, and their (n + 1) offsets, int64."""
    offsets = np.zeros(len(texts) + 1, "<i8")
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return np.frombuffer(b"".join(texts), np.uint8), offsets


def check_texts(data: bytes, offsets: np.ndarray, where: str) -> None:
    """Check that offsets cut a byte string into valid UTF-8 texts.

    Raises:
        Corrupt: naming `where`, if they do not.
    """
    bytes_ = np.frombuffer(data, np.uint8)
    if offsets[0] != 0 or offsets[-1] != len(data) or (offsets[1:] < offsets[:-1]).any():
        raise corrupt(where, "Its offsets do not rise from 0 to the length of the text.")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise corrupt(where, f"Its text is not UTF-8: {error.reason}.") from error
    inner = offsets[(offsets > 0) & (offsets < len(data))]
    if (bytes_[inner] & 0xC0 == 0x80).any():
        raise corrupt(where, "An offset lies inside a UTF-8 character.")
