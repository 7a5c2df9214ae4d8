"""RoBERTa as a torch module: transformers' network, with several layers read from one forward.

Source: Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019; transformers (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from .speech import ATTENTION, import_transformers

RobertaNetwork = Any  # transformers' RobertaModel without its pooler


class UnreadableShape(ValueError):
    """A configuration describes no RoBERTa, or one that is not supported."""


@dataclass(frozen=True)
class RobertaShape:
    """Sizes of a RoBERTa; the defaults are those of the published base model.

    Args:
        vocab: numbers of tokens that there are.
        dim: width of the blocks, D. layers: blocks. heads: of attention. ffn: width inside the feed-forward parts.
        positions: rows of the table of positions; the first `pad_id + 1` are never used.
        types: rows of the table of token types.
        pad_id: number of the padding token.
        norm_eps: of the layer norms.
    """

    vocab: int = 50265
    dim: int = 768
    layers: int = 12
    heads: int = 12
    ffn: int = 3072
    positions: int = 514
    types: int = 1
    pad_id: int = 1
    norm_eps: float = 1e-5

    @property
    def max_tokens(self) -> int:
        """Tokens that one text can have, with its start and end."""
        return self.positions - self.pad_id - 1

    def differences(self, other: RobertaShape) -> list[str]:
        """Return one line for each measure in which another network differs: `name: expected mine, found theirs`."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: expected {mine}, found {theirs}" for name, mine, theirs in pairs if mine != theirs]


_NAMES = {
    "vocab": "vocab_size",
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "pad_id": "pad_token_id",
    "norm_eps": "layer_norm_eps",
}


def from_transformers(config: Mapping[str, Any]) -> RobertaShape:
    """Read a transformers `config.json` of model type `roberta`.

    Raises:
        UnreadableShape: for another model type, or a variant that is not supported.
    """
    kind = config.get("model_type", "roberta")
    if kind != "roberta":
        raise UnreadableShape(f"it is a {kind!r} model, not a 'roberta' one")
    for name, only in {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}.items():
        if config.get(name, only) not in (only, None):
            raise UnreadableShape(f"{name} is {config[name]!r}; only {only!r} is supported")
    try:
        found = {
            ours: int(config[theirs]) for ours, theirs in _NAMES.items() if theirs in config and ours != "norm_eps"
        }
        return RobertaShape(**found, norm_eps=float(config.get("layer_norm_eps", RobertaShape().norm_eps)))
    except (TypeError, ValueError) as error:
        raise UnreadableShape(f"its sizes cannot be read: {error}") from error


def build(shape: RobertaShape) -> RobertaNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    Raises:
        MissingExtra: if transformers is not installed.
    """
    transformers = import_transformers("RoBERTa")
    sizes: dict[str, Any] = {theirs: getattr(shape, ours) for ours, theirs in _NAMES.items()}
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
