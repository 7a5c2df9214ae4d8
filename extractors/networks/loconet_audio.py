"""LoCoNet's audio encoder: VGGish's convolutions over log-mel spectra, brought back to the rate of the video.

Source: Wang et al., "LoCoNet", CVPR 2024, written from a description; names of tensors are the original's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MEL = 64
_LAYERS = (64, "M", 128, "M", 256, 256, "M", 512, 512)  # M halves both axes
_QUARTER = 10  # layers of the part whose result has a quarter of the rows


class AudioEncoder(nn.Module):
    """Log-mel spectra to one row for each video frame."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for layer in _LAYERS:
            if isinstance(layer, int):
                layers += [nn.Conv2d(inputs, layer, 3, padding=1), nn.ReLU()]
                inputs = layer
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.deconv = nn.ConvTranspose2d(512, 256, 2, 2)
        self.conv1 = nn.Conv2d(512, 256, 1)
        self.conv2 = nn.Conv2d(256, 128, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return (B, T, 128) from four spectra for each frame, (B, 1, 4T, 64)."""
        rows = log_mel.shape[2]
        x = functional.pad(log_mel, (0, 0, 0, 8 - rows % 8))  # the original appends 8 rows even where none is needed
        quarter = self.features[:_QUARTER](x)  # (B, 256, rows / 4, 16)
        eighth = self.features[_QUARTER:](quarter)  # (B, 512, rows / 8, 8)
        x = torch.cat([quarter, self.deconv(eighth)], 1)
        x = self.conv2(self.conv1(x))  # (B, 128, rows / 4, 16)
        return x.mean(3).transpose(1, 2)[:, : rows // 4]
