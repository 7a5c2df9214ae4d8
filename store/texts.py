"""Texts as plain numbers: their UTF-8 bytes one after the other, and the offsets between them.

Any id length and script, no string type that other Zarr readers might not know, and nothing to unpickle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .files import corrupt

BYTES_AT_ONCE = 2**22  # picked out in one step: each costs 16 while it is


def pack_texts(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts one after the other, uint8, and their (n + 1) offsets, int64."""
    offsets = np.zeros(len(texts) + 1, "<i8")
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return np.frombuffer(b"".join(texts), np.uint8), offsets


def join_texts(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return packed texts, each (bytes, offsets), packed as one."""
    ends = np.cumsum([0, *(len(data) for data, _ in parts)])
    offsets = [one[:-1] + end for (_, one), end in zip(parts, ends[:-1], strict=True)]
    data = np.concatenate([np.empty(0, np.uint8), *(data for data, _ in parts)])
    return data, np.concatenate([*offsets, ends[-1:]]).astype("<i8")


class Texts:
    """Texts that were packed, each cut out when it is asked for.

    Args:
        data: uint8, all texts one after the other.
        offsets: (n + 1) int64.
        where: what they are, for errors.
        utf8: whether to look at the bytes at once; else whoever decodes a text finds out.

    Raises:
        Corrupt: if the offsets do not cut the bytes into valid UTF-8 texts.
    """

    __slots__ = ("bytes", "data", "ends", "offsets")

    def __init__(self, data: np.ndarray, offsets: np.ndarray, where: str, utf8: bool = True) -> None:
        (check_texts if utf8 else check_offsets)(data, offsets, where)
        self.data, self.offsets = data, offsets
        self.bytes, self.ends = data.data, offsets.data  # a memoryview cuts in a third of the time

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> bytes:
        return bytes(self.bytes[self.ends[i] : self.ends[i + 1]])

    def view(self, i: int) -> np.ndarray:
        """Return the bytes of text `i` as a view, uint8."""
        return self.data[self.ends[i] : self.ends[i + 1]]

    def any_empty(self) -> bool:
        """Return whether one of them has no bytes."""
        return bool((self.offsets[1:] == self.offsets[:-1]).any())

    def take(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return some of the texts, packed: their bytes and their offsets.

        Args:
            wanted: (m,) numbers of texts.
        """
        starts, sizes = self.offsets[wanted], np.diff(self.offsets)[wanted]
        offsets = np.zeros(len(wanted) + 1, "<i8")
        np.cumsum(sizes, out=offsets[1:])
        data = np.empty(offsets[-1], np.uint8)
        first = 0
        while first < len(wanted):
            last = int(np.searchsorted(offsets, offsets[first] + BYTES_AT_ONCE, "right")) - 1
            low, high = offsets[first], offsets[max(first + 1, last)]
            if last <= first:  # a single text of that length
                data[low:high] = self.data[starts[first] : starts[first] + sizes[first]]
                first += 1
                continue
            places = np.repeat(starts[first:last] - offsets[first:last], sizes[first:last])
            data[low:high] = self.data[places + np.arange(low, high)]
            first = last
        return data, offsets


def check_offsets(data: bytes | np.ndarray, offsets: np.ndarray, where: str) -> None:
    """Check that offsets cut a byte string into pieces.

    Raises:
        Corrupt: naming `where`, if they do not.
    """
    if offsets[0] != 0 or offsets[-1] != len(data) or (offsets[1:] < offsets[:-1]).any():
        raise corrupt(where, "Its offsets do not rise from 0 to the length of the text.")


def check_texts(data: bytes | np.ndarray, offsets: np.ndarray, where: str) -> None:
    """Check that offsets cut a byte string into valid UTF-8 texts.

    Raises:
        Corrupt: naming `where`, if they do not.
    """
    check_offsets(data, offsets, where)
    bytes_ = np.frombuffer(data, np.uint8)
    if not len(bytes_) or int(bytes_.max()) < 0x80:
        return  # ASCII, as most are: every offset is between two characters
    try:
        str(bytes_.data, "utf-8")
    except UnicodeDecodeError as error:
        raise corrupt(where, f"Its text is not UTF-8: {error.reason}.") from error
    inner = offsets[(offsets > 0) & (offsets < len(data))]
    if (bytes_[inner] & 0xC0 == 0x80).any():
        raise corrupt(where, "An offset lies inside a UTF-8 character.")
