"""LoCoNet's back end: speakers of one scene beside each other, along time and among each other.

Source: Wang et al., "LoCoNet", CVPR 2024, written from a description; names of tensors are the original's. What
differs: rows that are missing are masked; the original sees black pictures there.

B is scenes, S speakers of each (the one in question first), T rows, D columns of both embeddings (128 in the original).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .talknet_back import DROPOUT, WIDTH, AttentionLayer, CrossedBack

SPEAKERS, LAYERS, REACH = 3, 3, 7


class SpeakerConvolution(nn.Module):
    """A convolution over all speakers and 7 rows, and a feed-forward part.

    Args:
        width: columns, C.
        speakers: of a scene, S.
    """

    def __init__(self, width: int, speakers: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(width, width * speakers, (speakers, REACH), padding=(0, REACH // 2))
        self.ln = nn.LayerNorm(width)
        self.conv2d_1x1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2d_1x1_2 = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, T) to the same."""
        scenes, width, speakers, rows = x.shape
        mixed = self.conv2d(x).view(scenes, width, speakers, rows)
        mixed = self.ln(mixed.movedim(1, -1)).movedim(-1, 1)
        return self.conv2d_1x1_2(functional.gelu(self.conv2d_1x1(mixed))) + x


class LoCoNetBack(CrossedBack):
    """From embeddings to logits; see `CrossedBack`.

    Args:
        speakers: of a scene, S.
        layers: pairs of speaker convolution and self-attention.
    """

    def __init__(
        self,
        width: int = WIDTH,
        outputs: int = 2,
        dropout: float = DROPOUT,
        single_classifiers: bool = True,
        speakers: int = SPEAKERS,
        layers: int = LAYERS,
    ) -> None:
        super().__init__(width, outputs, dropout, single_classifiers)
        pairs = [
            layer
            for _ in range(layers)
            for layer in (SpeakerConvolution(2 * width, speakers), AttentionLayer(2 * width, dropout))
        ]
        self.model["convAV"] = nn.ModuleList(pairs)

    def fuse(self, crossed_audio: Tensor, crossed_visual: Tensor, there: Tensor | None = None) -> Tensor:
        """Return (B, S, T, 2D).

        Args:
            crossed_audio, crossed_visual: what `cross` gives, (B, S, T, D).
            there: (B, S, T), False for rows that nobody sees.
        """
        x = torch.cat([crossed_audio, crossed_visual], -1)  # (B, S, T, 2D)
        flat = None if there is None else there.flatten(0, 1)
        for layer in self.model["convAV"].children():
            if there is not None:
                x = torch.where(there[..., None], x, 0.0)
            if isinstance(layer, SpeakerConvolution):
                x = layer(x.movedim(-1, 1)).movedim(1, -1)
            else:
                rows = x.flatten(0, 1)  # (B * S, T, 2D)
                x = layer(rows, rows, flat).view_as(x)
        return x

    def crossed_speakers(
        self, audio: Tensor, visual: Tensor, audio_there: Tensor | None = None, visual_there: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return both sequences of each speaker, each having seen the other: (B, S, T, D) each.

        Args:
            audio: what is heard in each scene, (B, T, D); 0 where it is missing.
            visual: faces, (B, S, T, D); 0 where they are missing.
            audio_there, visual_there: (B, T) and (B, S, T), which are not missing; None: all are there.
        """
        heard = audio[:, None].expand_as(visual)
        heard_there = None if audio_there is None else audio_there[:, None].expand(visual.shape[:3]).flatten(0, 1)
        seen_there = None if visual_there is None else visual_there.flatten(0, 1)
        crossed = self.cross(heard.flatten(0, 1), visual.flatten(0, 1), heard_there, seen_there)
        return crossed[0].view(visual.shape), crossed[1].view(visual.shape)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Return logits (B, S, T, outputs) where nothing is missing; see `crossed_speakers`."""
        logits: Tensor = self.lossAV["FC"](self.fuse(*self.crossed_speakers(audio, visual)))
        return logits
