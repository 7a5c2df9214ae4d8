"""How a picture becomes the input of a network: its size, and the numbers that its colours are scaled by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..media.demand import PictureShape

if TYPE_CHECKING:
    import numpy as np
    import torch

Colour = tuple[float, float, float]
HALF: Colour = (0.5, 0.5, 0.5)
_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_SCALE = 1 / 255


@dataclass(frozen=True)
class Look:
    """Size and colours of what a network looks at: (picture / 255 - mean) / std, by channel.

    Args:
        shape: how the decoder scales and cuts a picture.
        mean, std: of red, green and blue, on a scale of 0 to 1.
    """

    shape: PictureShape
    mean: Colour = HALF
    std: Colour = HALF

    def steps(self) -> list[dict[str, Any]]:
        """Return what a recipe says of the colours; the size is in its step before."""
        return [{"step": "scale", "by": "1/255"}, {"step": "normalise", "mean": [*self.mean], "std": [*self.std]}]

    def pixels(self, frames: np.ndarray, device: torch.device) -> torch.Tensor:
        """Return the network's input.

        Args:
            frames: (B, H, W, 3) uint8 RGB.
            device: where it shall be.

        Returns:
            (B, 3, H, W) float32 on the device.
        """
        import torch

        mean = torch.tensor(self.mean, dtype=torch.float32, device=device)[:, None, None]  # (3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32, device=device)[:, None, None]
        if not frames.flags.writeable:
            frames = frames.copy()  # torch would warn
        bytes_ = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)  # (B, 3, H, W)
        return bytes_.contiguous().to(torch.float32).div_(255).sub_(mean).div_(std)


def from_processor(config: Mapping[str, Any] | None, side: int, usual: Look, source: str) -> Look:
    """Read transformers' `preprocessor_config.json`.

    Args:
        config: what it says; None: there is none, and the usual is meant.
        side: of the square that the network wants, pixels.
        usual: of the family; a bare number as size means what it means there.
        source: of the weights, for messages.

    Raises:
        WeightsError: if it asks for what is not supported, or gives pictures of another size.
    """
    if config is None:
        return usual
    try:
        look = Look(_shape(config, usual.shape), *_colours(config, usual))
    except (TypeError, ValueError, KeyError, IndexError) as error:
        found = f"It cannot be followed: {str(error) or type(error).__name__}."
    else:
        if look.shape.final == (side, side):
            return look
        found = f"It gives pictures of {look.shape.final}, and the network wants {side} x {side}."
    raise WeightsError(
        f"`preprocessor_config.json` of {source} was read.",
        found,
        "Give weights whose image processor only scales, cuts and normalises, or name the file of weights alone.",
    )


def _shape(config: Mapping[str, Any], usual: PictureShape) -> PictureShape:
    number = config.get("resample", None)
    how = usual.filter if number is None else _FILTERS.get(int(number), "")
    if not how:
        raise ValueError(f"resample is {number!r}, neither 2 (bilinear) nor 3 (bicubic)")
    size = config.get("size", None)
    if not config.get("do_resize", True):
        raise ValueError("do_resize is off: pictures of any size")
    cut = config.get("do_center_crop", usual.crop is not None)
    crop = _sides(config.get("crop_size", usual.crop)) if cut else None
    if isinstance(size, Mapping) and "shortest_edge" in size:
        return PictureShape("short-side", int(size["shortest_edge"]), filter=how, crop=crop)
    if size is None or (not isinstance(size, Mapping) and usual.resize == "short-side"):
        return replace(usual, width=usual.width if size is None else int(size), filter=how, crop=crop)
    width, height = _sides(size)
    return PictureShape("exact", width, height, how, crop)


def _sides(size: Any) -> tuple[int, int]:
    """(width, height) of a number, a pair, or transformers' dict."""
    if isinstance(size, Mapping):
        return int(size["width"]), int(size["height"])
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[1])
    return int(size), int(size)


def _colours(config: Mapping[str, Any], usual: Look) -> tuple[Colour, Colour]:
    factor = float(config.get("rescale_factor", _SCALE))
    if not config.get("do_rescale", True) or abs(factor - _SCALE) > 1e-6 * _SCALE:
        raise ValueError("colours are not scaled by 1/255")
    if not config.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = (
        tuple(float(value) for value in config.get(name, default))
        for name, default in (("image_mean", usual.mean), ("image_std", usual.std))
    )
    if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
        raise ValueError(f"image_mean is {mean}, image_std {std}")
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
