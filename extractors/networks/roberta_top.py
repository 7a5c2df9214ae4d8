"""The last blocks of a RoBERTa alone, from stored rows of tokens on: transformers' blocks, with the original's names.

Source: Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019; transformers (Apache-2.0).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .roberta_shape import TRANSFORMERS_NAMES, RobertaShape
from .speech import ATTENTION, import_transformers


class RobertaTop(nn.Module):
    """Blocks `shape.layers - count` to `shape.layers - 1`, freshly initialised as transformers does.

    State-dict names are those of the whole network, `encoder.layer.10.…`.

    Args:
        shape: measures of the whole network.
        count: how many blocks, at least 1.
        dropout: probability while training, of hidden values and of attention.

    Raises:
        MissingExtra: if transformers is not installed.
    """

    def __init__(self, shape: RobertaShape, count: int, dropout: float = 0.1) -> None:
        super().__init__()
        transformers = import_transformers("RoBERTa")
        from transformers.models.roberta.modeling_roberta import RobertaLayer

        sizes: dict[str, Any] = {theirs: getattr(shape, ours) for ours, theirs in TRANSFORMERS_NAMES.items()}
        config = transformers.RobertaConfig(
            **sizes, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, attn_implementation=ATTENTION
        )
        # Keys instead of places: a list would count from 0, and so would the names.
        blocks = {str(number): RobertaLayer(config) for number in range(shape.layers - count, shape.layers)}
        self.encoder = nn.ModuleDict({"layer": nn.ModuleDict(blocks)})
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=config.initializer_range)
                nn.init.zeros_(module.bias)

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the network's last hidden state.

        Args:
            rows: (B, T, D), the output of the block below.
            mask: (B, T) bool, True for tokens. Each text needs one at least; what stands elsewhere changes nothing for
                tokens, unless it is NaN or infinite.

        Returns:
            (B, T, D).
        """
        attended = None if bool(mask.all()) else mask[:, None, None]  # (B, 1, 1, T)
        blocks: Any = self.encoder["layer"]
        for block in blocks.values():
            output = block(rows, attended)
            # Up to transformers 4, blocks return a tuple.
            rows = output[0] if isinstance(output, tuple) else output  # (B, T, D)
        return rows
