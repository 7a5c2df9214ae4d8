"""How SEMPI brings a clip's pictures into its video network: resizing, values, crops, and the mirror while training.

Extraction asks the decoder for the same size and centre crop (`Slots` by the rule `sempi`, `at-least` 226); these are
the pure functions for pictures that are at hand already, with the random crop and mirror that only training uses.

Source: SEMPI's clip loading; the resizing is OpenCV's bilinear one, computed here in the same whole numbers.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np

from ..store.errors import BadInput

SHORTEST = 226  # pixels; pictures with a shorter side are enlarged
CROP = 224
_ONE = 2048  # OpenCV's weights are whole numbers of this fraction


class Augmentation(NamedTuple):
    """What training does to all pictures of a clip alike. top, left: of the crop. mirror: left and right changed."""

    top: int
    left: int
    mirror: bool


def enlarge(picture: np.ndarray, shortest: int = SHORTEST) -> np.ndarray:
    """Return a picture whose shorter side is at least `shortest`.

    Args:
        picture: (H, W, 3) uint8.
        shortest: pixels.

    Returns:
        The same picture if it is large enough; else both sides times shortest / min(H, W), rounded to the even number
        where they fall between two, as OpenCV does if it is given a factor instead of a size.
    """
    factor = shortest / min(picture.shape[:2])
    return picture if factor <= 1 else scale(picture, factor)


def scale(picture: np.ndarray, factor: float) -> np.ndarray:
    """Return a picture scaled by a factor, equal in every value to OpenCV's `resize(picture, None, fx=f, fy=f)`.

    Args:
        picture: (H, W, C) uint8.
        factor: 1 or more.

    Returns:
        (round(H * factor), round(W * factor), C) uint8; the picture itself where these are its own sides.
    """
    height, width, _ = picture.shape
    if (round(height * factor), round(width * factor)) == (height, width):
        return picture
    first, second, weights = _neighbours(width, factor, at_border=0.0)
    wide = picture.astype(np.int32)
    a, b = (w[:, None] for w in weights)
    across = wide[:, first] * a + wide[:, second] * b  # (H, new W, C)
    first, second, weights = _neighbours(height, factor, at_border=None)
    a, b = (w[:, None, None] for w in weights)
    down = ((a * (across[first] >> 4)) >> 16) + ((b * (across[second] >> 4)) >> 16)  # (new H, new W, C)
    return np.clip((down + 2) >> 2, 0, 255).astype(np.uint8)


def values(pictures: np.ndarray) -> np.ndarray:
    """Return pictures in -1…1: 2 x / 255 - 1, computed in float64.

    Args:
        pictures: uint8 of any shape.

    Returns:
        float32 of the same shape.
    """
    levels = (np.arange(256) / 255 * 2 - 1).astype(np.float32)  # all values that there are
    return levels[pictures]


def load(pictures: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the chosen pictures of a clip, enlarged where needed, as values.

    Args:
        pictures: (N, H, W, 3) uint8 RGB.
        indices: (T,) whole numbers in 0…N-1; one may come several times.

    Returns:
        (T, H', W', 3) float32 in -1…1.
    """
    return values(np.stack([enlarge(pictures[i]) for i in indices]))


def centre_crop(pictures: np.ndarray, size: int = CROP) -> np.ndarray:
    """Return the middle of pictures, as the network takes it.

    Args:
        pictures: (T, H, W, 3); both sides at least `size`.
        size: pixels.

    Returns:
        (3, T, size, size); the offset is half of what is left, rounded to the even number.

    Raises:
        BadInput: if the pictures are smaller.
    """
    top, left = (round(room / 2) for room in _room(pictures, size))
    return _cut(pictures, top, left, size)


def draw(pictures: np.ndarray, rng: random.Random, size: int = CROP) -> Augmentation:
    """Draw what training does to a clip: rows, then columns of the crop, then the mirror with probability 1/2.

    Args:
        pictures: (T, H, W, 3); both sides at least `size`.
        rng: Python's generator; it is used for exactly three numbers.
        size: of the crop, pixels.

    Raises:
        BadInput: if the pictures are smaller than the crop.
    """
    rows, columns = _room(pictures, size)
    return Augmentation(rng.randint(0, rows), rng.randint(0, columns), rng.random() < 0.5)


def augment(pictures: np.ndarray, drawn: Augmentation, size: int = CROP) -> np.ndarray:
    """Return pictures cut and mirrored as drawn, as the network takes them.

    Args:
        pictures: (T, H, W, 3).
        drawn: by `draw` for pictures of this size.
        size: of the crop, pixels.

    Returns:
        (3, T, size, size).
    """
    cut = _cut(pictures, drawn.top, drawn.left, size)
    return cut[..., ::-1] if drawn.mirror else cut


def _cut(pictures: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    return pictures[:, top : top + size, left : left + size].transpose(3, 0, 1, 2)  # (3, T, size, size)


def _room(pictures: np.ndarray, size: int) -> tuple[int, int]:
    """Rows and columns that are left over."""
    height, width = pictures.shape[1:3]
    if min(height, width) < size:
        raise BadInput(
            f"A crop of {size} x {size} pixels was to be cut out of pictures.",
            f"They have {width} x {height}.",
            "Enlarge them first.",
        )
    return height - size, width - size


def _neighbours(
    size: int, factor: float, at_border: float | None
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """For each new pixel along an axis: the two old ones that it lies between, and their weights in 1/2048.

    OpenCV computes in float32, and treats rows and columns differently at the border: there the position across is
    moved onto the last pixel (`at_border`), while down it stays, and only the index is kept within the picture.
    """
    position = ((np.arange(round(size * factor)) + 0.5) * (1 / factor) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    share = position - first.astype(np.float32)
    if at_border is not None:
        share[(first < 0) | (first >= size - 1)] = at_border
    weights = (np.rint((np.float32(1) - share) * _ONE), np.rint(share * _ONE))
    near, far = weights[0].astype(np.int32), weights[1].astype(np.int32)
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), (near, far)
