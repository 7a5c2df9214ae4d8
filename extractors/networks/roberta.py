"""RoBERTa as a torch module: transformers' network, with several layers read from one forward.

Source: Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019; transformers (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .roberta_shape import TRANSFORMERS_NAMES, RobertaShape, UnreadableShape, from_transformers
from .speech import ATTENTION, import_transformers

__all__ = ["RobertaShape", "UnreadableShape", "build", "from_transformers", "hidden", "keep_layers", "masked_mean"]

RobertaNetwork = Any  # transformers' RobertaModel without its pooler


def build(shape: RobertaShape) -> RobertaNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    Raises:
        MissingExtra: if transformers is not installed.
    """
    transformers = import_transformers("RoBERTa")
    sizes: dict[str, Any] = {theirs: getattr(shape, ours) for ours, theirs in TRANSFORMERS_NAMES.items()}
    with torch.device("meta"):
        network = transformers.RobertaModel(
            transformers.RobertaConfig(**sizes, attn_implementation=ATTENTION), add_pooling_layer=False
        )
    # Constants, which no file of weights holds.
    network.embeddings.register_buffer("position_ids", torch.arange(shape.positions)[None], persistent=False)
    network.embeddings.register_buffer(
        "token_type_ids", torch.zeros(1, shape.positions, dtype=torch.long), persistent=False
    )
    return network.eval().requires_grad_(False)


def keep_layers(network: RobertaNetwork, count: int) -> None:
    """Drop the blocks above the first `count`."""
    network.encoder.layer = network.encoder.layer[:count]


def hidden(
    network: RobertaNetwork, ids: torch.Tensor, mask: torch.Tensor | None, layers: Sequence[int | None]
) -> list[torch.Tensor]:
    """Return the outputs of several layers from one forward.

    Args:
        network: with weights.
        ids: (B, T) numbers of tokens, int64.
        mask: (B, T), 1 for tokens and 0 for padding (whose `ids` are the padding token's); None: no padding.
        layers: k = 1…: output of block k; 0: the embeddings; None: the model's own output, which is the last block's.

    Returns:
        One (B, T, D) tensor per entry of `layers`.
    """
    kept: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        # Up to transformers 4, blocks return a tuple.
        return lambda _module, _inputs, output: kept.__setitem__(
            number, output[0] if isinstance(output, tuple) else output
        )

    hooks = [network.encoder.layer[k - 1].register_forward_hook(keep(k)) for k in layers if k]
    hooks.append(network.embeddings.register_forward_hook(keep(0)))
    try:
        final = network(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, D)
    finally:
        for hook in hooks:
            hook.remove()
    return [final if k is None else kept[k] for k in layers]


def masked_mean(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens of each text, start and end included, padding not.

    Args:
        rows: (B, T, D). mask: (B, T), 1 for tokens.

    Returns:
        (B, D).
    """
    weights = mask[..., None].to(rows.dtype)  # (B, T, 1)
    return (rows * weights).sum(1) / weights.sum(1)
