"""Bring one picture to the size and part that a network wants; Pillow and OpenCV are imported only when needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...store.errors import MissingExtra
from .demand import PictureShape


class UnfitPicture(Exception):
    """A picture cannot be brought into a shape; the text says what it has."""


def shape_picture(picture: np.ndarray, shape: PictureShape) -> np.ndarray:
    """Scale a picture, then keep its centre.

    Args:
        picture: (H, W, 3) uint8 RGB.
        shape: what to do. Proportional sizes are cut to whole pixels as torchvision and Pillow users do, for
            `opencv-linear` rounded as OpenCV does. The centre begins at the rounded half of what is left over.

    Returns:
        (H', W', 3) uint8, contiguous.

    Raises:
        UnfitPicture: if less than the part to keep is there.
        MissingExtra: if OpenCV is wanted and not installed.
    """
    height, width = picture.shape[:2]
    size = scaled_size(width, height, shape)
    if size != (width, height):
        picture = (
            _by_opencv(picture, shape) if shape.filter == "opencv-linear" else _resize(picture, size, shape.filter)
        )
    return np.ascontiguousarray(picture if shape.crop is None else _centre(picture, *shape.crop))


def scaled_size(width: int, height: int, shape: PictureShape) -> tuple[int, int]:
    """Return (width, height) after scaling and before cutting.

    Example:
        >>> scaled_size(640, 360, PictureShape("short-side", 224))
        (398, 224)
    """
    short = min(width, height)
    if shape.resize == "none" or (shape.resize == "at-least" and short >= shape.width):
        return width, height
    if shape.resize == "exact":
        return shape.width, shape.height
    if shape.filter == "opencv-linear":
        factor = shape.width / short
        return round(width * factor), round(height * factor)
    longer = int(shape.width * max(width, height) / short)
    return (shape.width, longer) if width <= height else (longer, shape.width)


def require(shape: PictureShape) -> None:
    """Check that what a shape needs is installed.

    Raises:
        MissingExtra: if not.
    """
    if shape.filter == "opencv-linear" and shape.resize != "none":
        _opencv()


def _resize(picture: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    from PIL import Image

    resampling = Image.Resampling.BILINEAR if how == "bilinear" else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize(size, resampling))


def _by_opencv(picture: np.ndarray, shape: PictureShape) -> np.ndarray:
    cv2 = _opencv()
    if shape.resize == "exact":
        return np.asarray(cv2.resize(picture, (shape.width, shape.height), interpolation=cv2.INTER_LINEAR))
    # By the factor, not by the size: OpenCV then samples at other places where the size had to be rounded.
    factor = shape.width / min(picture.shape[:2])
    return np.asarray(cv2.resize(picture, (0, 0), fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR))


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra("Scaling pictures as OpenCV does", "faces", "opencv-python") from error
    cv2.setNumThreads(1)  # pictures are small, and several processes decode at once
    return cv2


def _centre(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    there_height, there_width = picture.shape[:2]
    if there_width < width or there_height < height:
        raise UnfitPicture(f"{there_width}×{there_height} pixels, of which {width}×{height} were to be kept")
    top, left = round((there_height - height) / 2), round((there_width - width) / 2)
    return picture[top : top + height, left : left + width]
