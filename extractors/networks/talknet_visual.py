"""The face encoder that TalkNet and LoCoNet share: a 3-D convolution, a ResNet-18 for each frame, a temporal network.

Source: Tao et al., "Is Someone Speaking?" (TalkNet), ACM MM 2021 (MIT licence), written from a description; names of
tensors are the original's. What differs: each track begins and ends on its own. The original lays all tracks of a batch
end to end as one film, so that its first convolution sees two frames of each neighbour (`joined`, for parity).

B is tracks of equal length, T video frames at 25 Hz. The temporal network normalises over a whole track: a row depends
on all others of its track.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .light_asd import NORM_EPS, NORM_MOMENTUM, normalised

STAGES = (64, 128, 256, 512)
NORM_EPS_GLOBAL = 1e-8


class Stage(nn.Module):
    """Two residual blocks of the ResNet; batch norm comes behind the sum.

    Args:
        inputs, outputs: channels.
        stride: of the first convolution.
        spare: own a 1 x 1 convolution even where it is not used, as the original does.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, spare: bool) -> None:
        super().__init__()
        self.conv1a = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1a = nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM)
        self.conv2a = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.stride = stride
        if stride != 1 or spare:
            self.downsample = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.outbna = nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM)
        self.conv1b = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1b = nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM)
        self.conv2b = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.outbnb = nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        skip = x if self.stride == 1 else self.downsample(x)
        total = self.conv2a(functional.relu(self.bn1a(self.conv1a(x)))) + skip
        x = functional.relu(self.outbna(total))
        total = self.conv2b(functional.relu(self.bn1b(self.conv1b(x)))) + total
        return functional.relu(self.outbnb(total))


class VisualFrontend(nn.Module):
    """Faces to 512 columns each.

    Args:
        spare: whether the first stage owns its unused convolution (TalkNet; not LoCoNet).
    """

    def __init__(self, spare: bool) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, 64, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
            nn.BatchNorm3d(64, NORM_EPS, NORM_MOMENTUM),
            nn.ReLU(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.resnet = nn.Module()
        for i, (inputs, outputs) in enumerate(zip((64, *STAGES), STAGES, strict=False), start=1):
            self.resnet.add_module(f"layer{i}", Stage(inputs, outputs, 1 if i == 1 else 2, spare))

    def forward(self, faces: Tensor, joined: bool = False) -> Tensor:
        """Return (B, T, 512) from grey faces (B, T, 112, 112), 0..255; `joined`: as one film of B * T frames."""
        tracks, frames = faces.shape[:2]
        x = normalised(faces)
        x = self.frontend3D((x.flatten(0, 1)[None] if joined else x).unsqueeze(1))  # (B or 1, 64, T or B * T, 28, 28)
        x = x.transpose(1, 2).flatten(0, 1)  # (B * T, 64, 28, 28)
        for stage in self.resnet.children():
            x = stage(x)
        return x.mean((2, 3)).view(tracks, frames, -1)


class GlobalNorm(nn.Module):
    """Layer norm over channels and time together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(Tensor(1, channels, 1).fill_(1.0))
        self.beta = nn.Parameter(Tensor(1, channels, 1).fill_(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same."""
        centred = x - x.mean((1, 2), keepdim=True)
        spread = centred.square().mean((1, 2), keepdim=True)
        return self.gamma * centred / (spread + NORM_EPS_GLOBAL).sqrt() + self.beta


class TemporalBlock(nn.Module):
    """A depthwise convolution along time, with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(channels),
            nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.PReLU(),
            GlobalNorm(channels),
            nn.Conv1d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same."""
        result: Tensor = self.net(x) + x
        return result


class VisualTcn(nn.Module):
    """Five blocks along time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*(TemporalBlock(STAGES[-1]) for _ in range(5)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 512, T) to the same."""
        result: Tensor = self.net(x)
        return result


class VisualConv1d(nn.Module):
    """The last two convolutions along time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(STAGES[-1], 256, 5, padding=2), nn.BatchNorm1d(256), nn.ReLU(), nn.Conv1d(256, 128, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 512, T) to (B, 128, T)."""
        result: Tensor = self.net(x)
        return result


def visual_modules(spare: bool) -> dict[str, nn.Module]:
    """Return the three parts by the original's names; see `VisualFrontend`."""
    return {"visualFrontend": VisualFrontend(spare), "visualTCN": VisualTcn(), "visualConv1D": VisualConv1d()}


def embed_faces(parts: nn.ModuleDict, faces: Tensor, joined: bool = False) -> Tensor:
    """Return (B, T, 128) from grey faces (B, T, 112, 112), 0..255.

    Args:
        parts: those of `visual_modules`, among others.
        faces: tracks of equal length.
        joined: let the first convolution see the two last and first frames of the neighbouring tracks.
    """
    rows = parts["visualFrontend"](faces, joined)
    columns: Tensor = parts["visualConv1D"](parts["visualTCN"](rows.transpose(1, 2)))
    return columns.transpose(1, 2)
