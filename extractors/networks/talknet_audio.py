"""TalkNet's audio encoder: a ResNet-34 with squeeze-and-excitation over MFCCs.

Source: Tao et al., "Is Someone Speaking?" (TalkNet), ACM MM 2021 (MIT licence), written from a description; names of
tensors are the original's.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .residual import Block

BLOCKS = (3, 4, 6, 3)
CHANNELS = (16, 32, 64, 128)
STRIDES = (1, 2, 2, 1)
REDUCTION = 8


class SqueezeExcitation(nn.Module):
    """Weigh channels by what they are on the whole."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.fc = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        weights: Tensor = self.fc(x.mean((2, 3)))
        return x * weights[:, :, None, None]


class SqueezedBlock(Block):
    """A residual block; unlike in other ResNets, ReLU comes before the first batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        self.se = SqueezeExcitation(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        x, skip = self.bn1(functional.relu(self.conv1(x))), self.skip(x)
        return functional.relu(self.se(self.bn2(self.conv2(x))) + skip)


class AudioEncoder(nn.Module):
    """MFCCs to one row for each video frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS[0], 7, (2, 1), 3, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS[0])
        inputs = CHANNELS[0]
        for i, (blocks, outputs, stride) in enumerate(zip(BLOCKS, CHANNELS, STRIDES, strict=True), start=1):
            rest = (SqueezedBlock(outputs, outputs, 1) for _ in range(blocks - 1))
            layer = [SqueezedBlock(inputs, outputs, stride), *rest]
            self.add_module(f"layer{i}", nn.Sequential(*layer))
            inputs = outputs

    def forward(self, mfcc: Tensor) -> Tensor:
        """Return (B, T, 128) from four rows of MFCCs for each frame, (B, 4T, 13)."""
        x = mfcc.transpose(1, 2).unsqueeze(1)  # (B, 1, 13, 4T)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[operator]  # (B, 128, 2, T)
        return x.mean(2).transpose(1, 2)
