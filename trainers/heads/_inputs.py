"""What several heads have in common: the order of their inputs, and how rows become one vector."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...store.errors import BadInput
from ._layers import masked_mean

ROLES = ("video", "audio", "text", "openface")  # the usual order; other roles follow, by name


def ordered(
    head: str, input_dims: Mapping[str, int], order: tuple[str, ...] | None, known: tuple[str, ...] = ROLES
) -> tuple[str, ...]:
    """Return the roles in the order that was asked for, or the usual one.

    Args:
        head: name of the head, for messages.
        input_dims: role -> D.
        order: each role once; None: the usual order.
        known: roles that usually come first, in their order.

    Raises:
        BadInput: if there is no input, or the order does not name each once.

    Example:
        >>> ordered("linear", {"gait": 3, "text": 2, "video": 4}, None)
        ('video', 'text', 'gait')
    """
    usual = (*(role for role in known if role in input_dims), *sorted(input_dims.keys() - set(known)))
    roles = usual if order is None else order
    if sorted(roles) != sorted(usual) or not roles:
        raise BadInput(
            f"A head `{head}` was built.",
            f"Its inputs are {', '.join(usual) or 'none'}, and its order is {', '.join(roles) or 'empty'}.",
            "The order names each input once.",
        )
    return roles


def pooled(role: str, features: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None) -> Tensor:
    """Return one vector per item (…, D): the mean of the valid rows where there are rows; nan where none is valid."""
    if masks is not None and role in masks:
        return masked_mean(features[role], masks[role])
    return features[role]
