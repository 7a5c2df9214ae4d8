"""TalkNet's back end: sound and face attend to each other, then their sequence to itself; three classifiers.

Source: Tao et al., "Is Someone Speaking?" (TalkNet), ACM MM 2021 (MIT licence), written from a description; names of
tensors are the original's. What differs: rows that are missing are masked.

B is tracks, T rows of the longest one, D columns of both embeddings (128 in the original).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, ATTENTION_HEADS, DROPOUT = 128, 8, 0.1


class AttentionLayer(nn.Module):
    """Attention of one sequence to another, and a feed-forward part; the original's residual adds the other one."""

    def __init__(self, width: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, ATTENTION_HEADS, dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = dropout

    def forward(self, source: Tensor, target: Tensor, there: Tensor | None = None) -> Tensor:
        """Return (B, T, D).

        Args:
            source: keys, values and residual, (B, T, D).
            target: queries, (B, T, D); the source itself for self-attention.
            there: (B, T), False for rows of the source that nobody attends to. Where a track has none, all rows of its
                source must be equal (zeros); the result is then the same for any T.
        """
        hidden = None if there is None else ~there & there.any(1, keepdim=True)
        attended, _ = self.self_attn(target, source, source, key_padding_mask=hidden, need_weights=False)
        rows = self.norm1(source + self._drop(attended))
        deep = self.linear2(self._drop(functional.relu(self.linear1(rows))))
        result: Tensor = self.norm2(rows + self._drop(deep))
        return result

    def _drop(self, rows: Tensor) -> Tensor:
        return functional.dropout(rows, self.dropout, self.training)


class CrossedBack(nn.Module):
    """What TalkNet and LoCoNet have in common: both cross-attention layers and the classifiers.

    Args:
        width: columns of both embeddings, D.
        outputs: logits of each row.
        dropout: probability, within the attention layers.
        single_classifiers: have classifiers of sound alone and face alone too, which serve training only.
    """

    def __init__(
        self, width: int = WIDTH, outputs: int = 2, dropout: float = DROPOUT, single_classifiers: bool = True
    ) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {"crossA2V": AttentionLayer(width, dropout), "crossV2A": AttentionLayer(width, dropout)}
        )
        self.lossAV = nn.ModuleDict({"FC": nn.Linear(2 * width, outputs)})
        self.lossA = nn.ModuleDict({"FC": nn.Linear(width, outputs)}) if single_classifiers else None
        self.lossV = nn.ModuleDict({"FC": nn.Linear(width, outputs)}) if single_classifiers else None

    def cross(
        self, audio: Tensor, visual: Tensor, audio_there: Tensor | None = None, visual_there: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return both sequences, each having seen the other: (B, T, D) each, 0 where they are missing.

        Args:
            audio, visual: embeddings of the same rows, (B, T, D); 0 where they are missing.
            audio_there, visual_there: (B, T), which are not missing; None: all are there.
        """
        crossed_audio: Tensor = self.model["crossA2V"](audio, visual, audio_there)
        crossed_visual: Tensor = self.model["crossV2A"](visual, audio, visual_there)
        # Layer norm would blow up what little attention adds to a missing row, and its gradient.
        return _only(crossed_audio, audio_there), _only(crossed_visual, visual_there)


class TalkNetBack(CrossedBack):
    """From embeddings to logits; see `CrossedBack`."""

    def __init__(
        self, width: int = WIDTH, outputs: int = 2, dropout: float = DROPOUT, single_classifiers: bool = True
    ) -> None:
        super().__init__(width, outputs, dropout, single_classifiers)
        self.model["selfAV"] = AttentionLayer(2 * width, dropout)

    def fuse(self, crossed_audio: Tensor, crossed_visual: Tensor, there: Tensor | None = None) -> Tensor:
        """Return (B, T, 2D) from what `cross` gives; rows that are not `there` (B, T) are seen by nobody."""
        joint = torch.cat([crossed_audio, crossed_visual], -1)
        fused: Tensor = self.model["selfAV"](joint, joint, there)
        return fused

    def forward(
        self, audio: Tensor, visual: Tensor, audio_there: Tensor | None = None, visual_there: Tensor | None = None
    ) -> Tensor:
        """Return logits (B, T, outputs); see `cross`."""
        there = None if audio_there is None or visual_there is None else audio_there | visual_there
        logits: Tensor = self.lossAV["FC"](self.fuse(*self.cross(audio, visual, audio_there, visual_there), there))
        return logits


def _only(rows: Tensor, there: Tensor | None) -> Tensor:
    return rows if there is None else torch.where(there[..., None], rows, 0.0)
