"""The two-stream encoder of Active Speakers in Context: a ResNet-18 for a stack of faces, another one for its sound.

Source: Alcázar et al., "Active Speakers in Context", CVPR 2020, written from a description; names of tensors are the
original's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .residual import Block

STAGES = (64, 128, 256, 512)


class AscEncoder(nn.Module):
    """Both streams and three classifiers.

    Args:
        frames: of a stack, L; 11 in the original.
        classes: 2.
    """

    def __init__(self, frames: int = 11, classes: int = 2) -> None:
        super().__init__()
        for stream, stem, channels in (("a", "audio_conv1", 1), ("v", "video_conv1", 3 * frames)):
            self.add_module(stem, nn.Conv2d(channels, STAGES[0], 7, 2, 3, bias=False))
            self.add_module(f"{stream}_bn1", nn.BatchNorm2d(STAGES[0]))
            inputs = STAGES[0]
            for i, outputs in enumerate(STAGES, start=1):
                stage = nn.Sequential(Block(inputs, outputs, 1 if i == 1 else 2), Block(outputs, outputs, 1))
                self.add_module(f"{stream}_layer{i}", stage)
                inputs = outputs
        self.fc_128_a, self.fc_128_v = nn.Linear(512, 128), nn.Linear(512, 128)
        self.fc_final = nn.Linear(256, classes)
        self.fc_aux_a, self.fc_aux_v = nn.Linear(128, classes), nn.Linear(128, classes)

    def embed_audio(self, mfcc: Tensor) -> Tensor:
        """Return (B, 512) from MFCCs (B, 1, 13, rows)."""
        return self._stream("a", "audio_conv1", mfcc)

    def embed_faces(self, faces: Tensor) -> Tensor:
        """Return (B, 512) from stacks of normalised RGB faces (B, 3L, H, W), frame after frame."""
        return self._stream("v", "video_conv1", faces)

    def classify(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (B, classes) of both streams together, of sound alone, of faces alone, from (B, 512) each."""
        audio, visual = functional.relu(self.fc_128_a(audio)), functional.relu(self.fc_128_v(visual))
        return self.fc_final(torch.cat([audio, visual], 1)), self.fc_aux_a(audio), self.fc_aux_v(visual)

    def forward(self, mfcc: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `classify` gives."""
        return self.classify(self.embed_audio(mfcc), self.embed_faces(faces))

    def _stream(self, stream: str, stem: str, x: Tensor) -> Tensor:
        x = functional.relu(self.get_submodule(f"{stream}_bn1")(self.get_submodule(stem)(x)))
        x = functional.max_pool2d(x, 3, 2, 1)
        for i in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"{stream}_layer{i}")(x)
        return x.mean((2, 3))
