"""What WavLM has besides the other speech networks: attention biased by gated relative positions.

Source: Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", 2022;
transformers (Apache-2.0). What differs: transformers keeps the bias of every pair of rows, (heads, T, T) numbers
several times over (2 GB for a minute); here only the bias of every distance is kept, and queries come in pieces.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

QUERIES = 128  # in one piece: 12 heads x 128 x 3000 keys (a minute) are 18 MB; larger pieces are no faster on a CPU


def attend_in_pieces(network: Any) -> None:
    """Let each block of a WavLM attend by `attend`; other networks are left alone."""
    for block in network.encoder.layers:
        if hasattr(block.attention, "gru_rel_pos_const"):
            block.attention.forward = MethodType(attend, block.attention)


def attend(
    self: Any, hidden_states: torch.Tensor, attention_mask: Any = None, position_bias: Any = None, **_: Any
) -> tuple[torch.Tensor, None, torch.Tensor]:
    """In place of the `forward` of transformers' WavLMAttention, for input without padding.

    Args:
        self: the attention module.
        hidden_states: (B, T, D).
        attention_mask: None.
        position_bias: what the first block returned; None in the first block.

    Returns:
        (B, T, D), None for the weights, and (H, 2 T - 1) the bias of the distances 1 - T to T - 1.

    Raises:
        NotImplementedError: for input with padding.
    """
    if attention_mask is not None:
        raise NotImplementedError("WavLM in pieces has no mask: give clips one by one, or of equal length")
    batch, length, width = hidden_states.shape
    if position_bias is None:
        distances = torch.arange(1 - length, length, device=hidden_states.device)
        position_bias = self.rel_attn_embed(self._relative_positions_bucket(distances)).T.contiguous()  # (H, 2 T - 1)
    heads = hidden_states.view(batch, length, self.num_heads, -1).transpose(1, 2)  # (B, H, T, d)
    gates = torch.sigmoid(self.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1))  # (B, H, T, 2)
    ours, theirs = gates.chunk(2, dim=-1)
    gate = ours * (theirs * self.gru_rel_pos_const - 1.0) + 2.0  # (B, H, T, 1)
    query, key, value = (
        layer(hidden_states).view(batch, length, self.num_heads, -1).transpose(1, 2)
        for layer in (self.q_proj, self.k_proj, self.v_proj)
    )
    # Row r holds what the query T - 1 - r sees of keys 0 to T - 1; a view, without memory of its own.
    biases = position_bias.unfold(1, length, 1)  # (H, T, T)
    pieces = []
    for start in range(0, length, QUERIES):
        stop = min(start + QUERIES, length)
        bias = gate[:, :, start:stop] * biases[:, length - stop : length - start].flip(1)  # (B, H, n, T)
        pieces.append(
            nn.functional.scaled_dot_product_attention(
                query[:, :, start:stop], key, value, attn_mask=bias.to(query.dtype)
            )
        )
    joined = torch.cat(pieces, dim=2).transpose(1, 2).reshape(batch, length, width)
    return self.out_proj(joined), None, position_bias
