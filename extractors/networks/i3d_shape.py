"""The measures of an Inflated Inception (I3D), its end points, and how large each of them is for a given input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Size = tuple[int, int, int]  # time, rows, columns

MIXED = (
    ("Mixed_3b", (64, 96, 128, 16, 32, 32)),
    ("Mixed_3c", (128, 128, 192, 32, 96, 64)),
    ("Mixed_4b", (192, 96, 208, 16, 48, 64)),
    ("Mixed_4c", (160, 112, 224, 24, 64, 64)),
    ("Mixed_4d", (128, 128, 256, 24, 64, 64)),
    ("Mixed_4e", (112, 144, 288, 32, 64, 64)),
    ("Mixed_4f", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5b", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5c", (384, 192, 384, 48, 128, 128)),
)
# Where there is a pool, and its kernel and stride, before the block whose name stands first.
POOLS = {
    "Conv3d_2b_1x1": ("MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ("MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ("MaxPool3d_4a_3x3", (3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ("MaxPool3d_5a_2x2", (2, 2, 2), (2, 2, 2)),
}
POOLED, LOGITS = "pooled", "logits"
SHRINKS = 32  # a picture's side is this many times longer than that of its map in Mixed_5c


class EndPoint(NamedTuple):
    """A place in the network whose output can be asked for.

    name: as in the original. kind: `conv`, `max`, `mixed`, `average` or `classify`. channels: of its output, or for
    `mixed` of the six convolutions inside. kernel, stride: in time, rows, columns; `mixed` keeps the size.
    """

    name: str
    kind: str
    channels: tuple[int, ...]
    kernel: Size = (1, 1, 1)
    stride: Size = (1, 1, 1)

    @property
    def width(self) -> int:
        """Channels of the output."""
        if self.kind != "mixed":
            return self.channels[0]
        b0, _, b1b, _, b2b, b3b = self.channels
        return b0 + b1b + b2b + b3b


@dataclass(frozen=True)
class I3dShape:
    """Widths of an I3D; the default is the published one.

    Args:
        divide: all widths (but not the classes) are this many times narrower, and at least 1.
        side: pixels of the pictures that it was made for; the average behind Mixed_5c takes in their whole map.
        classes: of the classifier: 400 for Kinetics, 157 for Charades.
    """

    divide: int = 1
    side: int = 224
    classes: int = 400

    def end_points(self) -> tuple[EndPoint, ...]:
        """Return the end points from the input to the classifier."""
        points: list[EndPoint] = []

        def add(name: str, kind: str, channels: tuple[int, ...], kernel: Size = (1, 1, 1), stride: int = 1) -> None:
            if name in POOLS:
                pool, size, step = POOLS[name]
                points.append(EndPoint(pool, "max", (points[-1].width,), size, step))
            narrow = tuple(max(1, width // self.divide) for width in channels)
            points.append(EndPoint(name, kind, narrow, kernel, (stride,) * 3))

        add("Conv3d_1a_7x7", "conv", (64,), (7, 7, 7), 2)
        add("Conv3d_2b_1x1", "conv", (64,))
        add("Conv3d_2c_3x3", "conv", (192,), (3, 3, 3))
        for name, channels in MIXED:
            add(name, "mixed", channels)
        width = points[-1].width
        points.append(EndPoint(POOLED, "average", (width,), (2, self.side // SHRINKS, self.side // SHRINKS)))
        points.append(EndPoint(LOGITS, "classify", (self.classes,)))
        return tuple(points)

    def outputs(self, size: Size) -> dict[str, tuple[int, int, int, int]]:
        """Return the shape (channels, time, rows, columns) of each end point's output.

        Args:
            size: frames, rows and columns of the input.

        Returns:
            By name, from the input on; end points that the input is too small for are left out.
        """
        shapes = {}
        for point in self.end_points():
            if point.kind == "average":
                # Stride 1, no padding.
                size = (size[0] - point.kernel[0] + 1, size[1] - point.kernel[1] + 1, size[2] - point.kernel[2] + 1)
                if min(size) < 1:
                    break
            else:
                # SAME padding: as many outputs as strides begin within the input.
                size = (-(-size[0] // point.stride[0]), -(-size[1] // point.stride[1]), -(-size[2] // point.stride[2]))
            shapes[point.name] = (point.width, *size)
        return shapes


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how much TensorFlow's SAME rule pads at the front and at the end of an axis.

    Example:
        >>> same_padding(224, 7, 2), same_padding(15, 7, 2), same_padding(7, 2, 2)
        ((2, 3), (3, 3), (0, 1))
    """
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2
