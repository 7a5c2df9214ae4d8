"""Inflated Inception-v1 (I3D) as a torch module, with the original names of its tensors.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", 2017. Written
anew from a description of the network. What differs: nothing behind the last end point that is wanted is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .i3d_shape import EndPoint, I3dShape, Size, same_padding

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01


class Unit(nn.Module):
    """Convolution with SAME padding, batch norm, ReLU.

    Args:
        inputs, outputs: channels.
        kernel, stride: in time, rows, columns.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Size = (1, 1, 1), stride: Size = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, outputs, ceil(T / stride), …)."""
        front, end = _paddings(x, self.conv3d.kernel_size, self.conv3d.stride)
        if front != end:
            x, front = _pad(x, front, end), (0, 0, 0)
        x = functional.conv3d(x, self.conv3d.weight, None, self.conv3d.stride, front)
        return functional.relu(self.bn(x))


class SamePool(nn.Module):
    """Largest value in each window; SAME padding with zeros, which take part.

    Axis by axis: the largest of the largest is the same number, and on a CPU this takes a tenth of the time of torch's
    own pooling, which was a third of the whole network.
    """

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, C, ceil(T / stride), …)."""
        for axis in range(3):
            x = _largest(x, axis + 2, self.kernel[axis], self.stride[axis])
        return x


class Mixed(nn.Module):
    """An Inception block: four branches over the same input, joined along the channels.

    Args:
        inputs: channels of the input.
        channels: outputs of b0, b1a, b1b, b2a, b2b, b3b.
    """

    def __init__(self, inputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = channels
        cube = (3, 3, 3)
        self.b0 = Unit(inputs, b0)
        self.b1a, self.b1b = Unit(inputs, b1a), Unit(b1a, b1b, cube)
        self.b2a, self.b2b = Unit(inputs, b2a), Unit(b2a, b2b, cube)
        self.b3a, self.b3b = SamePool(cube, (1, 1, 1)), Unit(inputs, b3b)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, b0 + b1b + b2b + b3b, T, H, W)."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


class Classify(nn.Module):
    """The classifier: a convolution of one pixel with a bias; dropout before it while training."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) to (B, classes, T, H, W)."""
        return self.conv3d(x)


class I3dNetwork(nn.Module):
    """The network; its children are the end points, in order.

    Args:
        shape: its widths.
        until: the last end point that is wanted; what lies behind it is left out.
        after: for an upper part: the end point whose output it is given, (B, C, T', H', W') instead of pictures; this
            one and what lies before it are left out. None: the network begins with the pictures.
    """

    def __init__(self, shape: I3dShape, until: str = "logits", after: str | None = None) -> None:
        super().__init__()
        inputs, begun = 3, after is None
        for point in shape.end_points():
            if begun:
                self.add_module(point.name, _module(point, inputs))
            inputs, begun = point.width, begun or point.name == after
            if point.name == until:
                break

    def forward(self, pictures: torch.Tensor, wanted: Collection[str]) -> dict[str, torch.Tensor]:
        """Return the outputs of the end points in `wanted`.

        Args:
            pictures: (B, 3, T, H, W) float32 in -1…1; for an upper part, what it begins behind.
            wanted: names of end points.

        Returns:
            (B, C, T', H', W') by name; sizes as in `I3dShape.outputs`.
        """
        kept, left, x = {}, set(wanted), pictures
        for name, module in self.named_children():
            if not left:
                break
            x = module(x)
            if name in left:
                kept[name] = x
                left.remove(name)
        return kept


def build(shape: I3dShape, until: str = "logits") -> I3dNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory."""
    with torch.device("meta"):
        network = I3dNetwork(shape, until)
    return network.eval().requires_grad_(False)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the network needs, by name; counters of batches are not among them."""
    return {name: tuple(t.shape) for name, t in network.state_dict().items() if not is_counter(name)}


def is_counter(name: str) -> bool:
    """Whether this is a batch norm's count of training steps, which changes no output; old files lack it."""
    return name.endswith(".num_batches_tracked")


def install(network: nn.Module, tensors: Mapping[str, torch.Tensor], device: str = "cpu") -> None:
    """Give the network its weights: exactly those of `shapes(network)`.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    counters = {name: torch.tensor(0) for name in network.state_dict() if is_counter(name)}
    network.load_state_dict({**counters, **tensors}, strict=True, assign=True)
    network.eval().requires_grad_(False).to(device)


def as_input(windows: Sequence[np.ndarray]) -> torch.Tensor:
    """Return windows of pictures as the network wants them.

    Args:
        windows: B times (T, H, W, 3) uint8 RGB, all of one shape.

    Returns:
        (B, 3, T, H, W) float32: 2 x / 255 - 1, computed in float64 as the original does.
    """
    levels = (np.arange(256) / 255 * 2 - 1).astype(np.float32)  # all values that there are
    frames, height, width, _ = windows[0].shape
    # In torch's own memory: results can depend on how the input is aligned.
    batch = torch.empty(len(windows), 3, frames, height, width)
    for place, window in zip(batch, windows, strict=True):
        np.take(levels, window.transpose(3, 0, 1, 2), out=place.numpy(), mode="clip")  # (3, T, H, W)
    return batch


def _module(point: EndPoint, inputs: int) -> nn.Module:
    if point.kind == "conv":
        return Unit(inputs, point.width, point.kernel, point.stride)
    if point.kind == "max":
        return SamePool(point.kernel, point.stride)
    if point.kind == "mixed":
        return Mixed(inputs, point.channels)
    if point.kind == "average":
        return nn.AvgPool3d(point.kernel, stride=1)
    return Classify(inputs, point.width)


def _largest(x: torch.Tensor, axis: int, kernel: int, stride: int) -> torch.Tensor:
    """The largest of `kernel` neighbours along one axis, `ceil(size / stride)` times."""
    if kernel == stride == 1:
        return x
    size = x.shape[axis]
    pads = [0] * 10  # from the last axis to the first, front and end
    pads[2 * (4 - axis) : 2 * (4 - axis) + 2] = same_padding(size, kernel, stride)
    if any(pads):
        x = functional.pad(x, pads)
    reach = (-(-size // stride) - 1) * stride + 1
    places = [slice(None)] * axis
    shifted = [x[(*places, slice(k, k + reach, stride))] for k in range(kernel)]
    return functools.reduce(torch.maximum, shifted)


def _paddings(x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int]) -> tuple[Size, Size]:
    """Padding at the front and at the end of time, rows, columns."""
    pairs = [same_padding(x.shape[axis + 2], kernel[axis], stride[axis]) for axis in range(3)]
    (t0, t1), (h0, h1), (w0, w1) = pairs
    return (t0, h0, w0), (t1, h1, w1)


def _pad(x: torch.Tensor, front: Size, end: Size) -> torch.Tensor:
    if not any(front) and not any(end):
        return x
    return functional.pad(x, (front[2], end[2], front[1], end[1], front[0], end[0]))
