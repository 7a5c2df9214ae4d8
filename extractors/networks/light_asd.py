"""Light-ASD whole: from MFCCs and grey faces to a verdict on each video frame.

Source: Liao et al., "A Light Weight Model for Active Speaker Detection", CVPR 2023 (MIT licence), written from a
description; names of tensors are the original's, so that its checkpoints load strictly.

B is tracks of equal length, T video frames at 25 Hz. A row depends on its neighbours: faces within 6 frames, sound
within 17 MFCC rows. So embed whole tracks, or overlap and trim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .light_asd_back import WIDTH, LightAsdBack

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01
GREY_MEAN, GREY_STD = 0.4161, 0.1688  # of faces, in 0..1


class AudioBlock(nn.Module):
    """Two paths with kernels of 3 and 5, each along the cepstra, then along time; their sum is mixed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        for k in (3, 5):
            self.add_module(f"m_{k}", nn.Conv2d(inputs, outputs, (k, 1), padding=(k // 2, 0), bias=False))
            self.add_module(f"bn_m_{k}", nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM))
            self.add_module(f"t_{k}", nn.Conv2d(outputs, outputs, (1, k), padding=(0, k // 2), bias=False))
            self.add_module(f"bn_t_{k}", nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM))
        self.last = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_last = nn.BatchNorm2d(outputs, NORM_EPS, NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, cepstra, time) to (B, outputs, cepstra, time)."""
        return _two_paths(self, "m", x)


class VisualBlock(nn.Module):
    """Two paths with kernels of 3 and 5, each over the picture, then along time; their sum is mixed."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        for k in (3, 5):
            self.add_module(
                f"s_{k}",
                nn.Conv3d(inputs, outputs, (1, k, k), (1, stride, stride), (0, k // 2, k // 2), bias=False),
            )
            self.add_module(f"bn_s_{k}", nn.BatchNorm3d(outputs, NORM_EPS, NORM_MOMENTUM))
            self.add_module(f"t_{k}", nn.Conv3d(outputs, outputs, (k, 1, 1), padding=(k // 2, 0, 0), bias=False))
            self.add_module(f"bn_t_{k}", nn.BatchNorm3d(outputs, NORM_EPS, NORM_MOMENTUM))
        self.last = nn.Conv3d(outputs, outputs, 1, bias=False)
        self.bn_last = nn.BatchNorm3d(outputs, NORM_EPS, NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T, H, W) to (B, outputs, T, H / stride, W / stride)."""
        return _two_paths(self, "s", x)


class AudioEncoder(nn.Module):
    """MFCCs to one row for each video frame."""

    def __init__(self) -> None:
        super().__init__()
        self.block1, self.block2, self.block3 = AudioBlock(1, 32), AudioBlock(32, 64), AudioBlock(64, WIDTH)

    def forward(self, mfcc: Tensor) -> Tensor:
        """Return (B, T, 128) from four rows of MFCCs for each frame, (B, 4T, 13)."""
        x = mfcc.transpose(1, 2).unsqueeze(1)  # (B, 1, 13, 4T)
        x = functional.max_pool2d(self.block1(x), (1, 3), (1, 2), (0, 1))
        x = functional.max_pool2d(self.block2(x), (1, 3), (1, 2), (0, 1))
        return self.block3(x).mean(2).transpose(1, 2)


class VisualEncoder(nn.Module):
    """Faces to one row each."""

    def __init__(self) -> None:
        super().__init__()
        self.block1, self.block2, self.block3 = (
            VisualBlock(1, 32, stride=2),
            VisualBlock(32, 64),
            VisualBlock(64, WIDTH),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Return (B, T, 128) from grey faces (B, T, 112, 112), 0..255."""
        x = normalised(faces).unsqueeze(1)  # (B, 1, T, 112, 112)
        x = functional.max_pool3d(self.block1(x), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = functional.max_pool3d(self.block2(x), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        return self.block3(x).amax((3, 4)).transpose(1, 2)


class LightAsd(LightAsdBack):
    """The whole network: encoders, back end and both classifiers. 1,021,636 parameters."""

    def __init__(self) -> None:
        super().__init__(WIDTH)
        self.model["audioEncoder"] = AudioEncoder()
        self.model["visualEncoder"] = VisualEncoder()

    def embed_audio(self, mfcc: Tensor) -> Tensor:
        """Return (B, T, 128) from MFCCs (B, 4T, 13)."""
        rows: Tensor = self.model["audioEncoder"](mfcc)
        return rows

    def embed_faces(self, faces: Tensor) -> Tensor:
        """Return (B, T, 128) from grey faces (B, T, 112, 112), 0..255."""
        rows: Tensor = self.model["visualEncoder"](faces)
        return rows


def normalised(faces: Tensor) -> Tensor:
    """Return grey faces as the networks want them: in 0..1, less their mean, by their spread. Any shape, float."""
    if not faces.is_floating_point():
        faces = faces.to(torch.float32)
    return (faces / 255 - GREY_MEAN) / GREY_STD


def _two_paths(block: nn.Module, space: str, x: Tensor) -> Tensor:
    """The sum of both paths of a block, mixed; `space` is the letter of its first convolutions."""

    def step(name: str, rows: Tensor) -> Tensor:
        convolved = block.get_submodule(name)(rows)
        return functional.relu(block.get_submodule(f"bn_{name}")(convolved))

    small, large = (step(f"t_{k}", step(f"{space}_{k}", x)) for k in (3, 5))
    return step("last", small + large)
