"""Light-ASD's back end: two GRUs over the sum of audio and face embeddings, and its classifiers.

Source: Liao et al., "A Light Weight Model for Active Speaker Detection", CVPR 2023 (MIT licence), written from a
description; names of tensors are the original's. What differs: rows that are missing are left out of the sequences.

B is tracks, T rows of the longest one, D columns of both embeddings (128 in the original).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 128


class BothWays(nn.Module):
    """A GRU forwards, then another one backwards over what the first one gives, GELU behind each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(width, width, batch_first=True)
        self.gru_backward = nn.GRU(width, width, batch_first=True)

    def forward(self, rows: Tensor, there: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D); rows that are not `there` (B, T) are stepped over, and their result is 0."""
        if there is None or bool(there.all()):
            turned = functional.gelu(self.gru_forward(rows)[0]).flip(1)
            return functional.gelu(self.gru_backward(turned)[0].flip(1))
        front = (~there).to(torch.uint8).argsort(dim=1, stable=True)  # (B, T), the rows that are there come first
        count, steps = there.sum(1, keepdim=True), torch.arange(there.shape[1], device=there.device)
        back = torch.where(steps < count, count - 1 - steps, steps)  # (B, T), turns each track at its own end
        hidden = functional.gelu(self.gru_forward(_at(rows, front))[0])
        hidden = functional.gelu(_at(self.gru_backward(_at(hidden, back))[0], back))
        return torch.where(there[..., None], _at(hidden, front.argsort(dim=1)), 0.0)


class LightAsdBack(nn.Module):
    """From embeddings to logits.

    Args:
        width: columns of both embeddings, D.
        outputs: logits of each row.
        visual_classifier: have the second classifier too, which sees the face alone and serves training only.
    """

    def __init__(self, width: int = WIDTH, outputs: int = 2, visual_classifier: bool = True) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"GRU": BothWays(width)})
        self.lossAV = nn.ModuleDict({"FC": nn.Linear(width, outputs)})
        self.lossV = nn.ModuleDict({"FC": nn.Linear(width, outputs)}) if visual_classifier else None

    def fuse(self, audio: Tensor, visual: Tensor, there: Tensor | None = None) -> Tensor:
        """Return (B, T, D) from embeddings (B, T, D); those of a modality that is missing are 0.

        Args:
            audio, visual: embeddings of the same rows.
            there: (B, T), False for rows to step over; None: all are there.
        """
        fused: Tensor = self.model["GRU"](audio + visual, there)
        return fused

    def forward(self, audio: Tensor, visual: Tensor, there: Tensor | None = None) -> Tensor:
        """Return logits (B, T, outputs); see `fuse`."""
        logits: Tensor = self.lossAV["FC"](self.fuse(audio, visual, there))
        return logits


def _at(rows: Tensor, index: Tensor) -> Tensor:
    """Return rows (B, T, D) in the order of `index` (B, T)."""
    return rows.gather(1, index[..., None].expand_as(rows))
