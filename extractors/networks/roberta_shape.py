"""The measures of a RoBERTa; importing this needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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


TRANSFORMERS_NAMES = {
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
            ours: int(config[theirs])
            for ours, theirs in TRANSFORMERS_NAMES.items()
            if theirs in config and ours != "norm_eps"
        }
        return RobertaShape(**found, norm_eps=float(config.get("layer_norm_eps", RobertaShape().norm_eps)))
    except (TypeError, ValueError) as error:
        raise UnreadableShape(f"its sizes cannot be read: {error}") from error
