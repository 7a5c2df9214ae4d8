"""Which block of a network a layer's name means; every family whose blocks are numbered asks here."""

from __future__ import annotations

from ...store.errors import BadInput
from ..base import Card


def block_of(card: Card, layer: str) -> int | None:
    """Return the number of the block that was asked for; None for the model's own output, `last`.

    Raises:
        BadInput: if there is no such layer.
    """
    if layer == "last":
        return None
    if layer.isdecimal() and 1 <= int(layer) <= card.layers and layer == str(int(layer)):
        return int(layer)
    raise BadInput(
        f"Layer `{layer}` of {card.name} was asked for.",
        f"It has layers 1 to {card.layers}.",
        f"Use --layer last, or a number from 1 to {card.layers}.",
    )
