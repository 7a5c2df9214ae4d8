"""The residual block that the two-dimensional ResNets of several systems have in common.

Source: He et al., "Deep Residual Learning for Image Recognition", 2016; names of tensors are torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """The residual block of a ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        x, skip = functional.relu(self.bn1(self.conv1(x))), self.skip(x)
        return functional.relu(self.bn2(self.conv2(x)) + skip)

    def skip(self, x: Tensor) -> Tensor:
        """Return what goes around the convolutions, in the shape of the result."""
        return x if self.downsample is None else self.downsample(x)
