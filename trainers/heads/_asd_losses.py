"""Losses that active-speaker heads have of their own, beside the run's.

Source: Light-ASD (CVPR 2023), TalkNet (ACM MM 2021), TalkNCE (ICASSP 2024), written from descriptions. What differs:
TalkNCE contrasts the encoders' embeddings; here they are stored and fixed, so what cross-attention makes of them is
contrasted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...store.errors import BadInput
from ._base import Target

# Light-ASD's loss divides logits by a temperature that falls with the epochs.
FIRST_TEMPERATURE, COOLING, COOLING_EPOCHS = 1.3, 0.02, 30


def temperature(epoch: int) -> float:
    """Return Light-ASD's temperature of an epoch, counted from 1; it stays behind the last published epoch.

    Example:
        >>> temperature(1), round(temperature(30), 2), round(temperature(99), 2)
        (1.3, 0.72, 0.72)
    """
    return FIRST_TEMPERATURE - COOLING * (min(epoch, COOLING_EPOCHS) - 1)


def loss_of_some(target: Target, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the run's loss of some rows, (n, outputs) against (n,) or (n, K): a scalar, 0 if there is no row."""
    return target.loss_of(logits, labels) if len(logits) else logits.sum()


def speaking(labels: Tensor, counts: Tensor) -> Tensor:
    """Return which rows are of the class 1, and labelled, (B, T).

    Raises:
        BadInput: if labels are no class ids.
    """
    if labels.is_floating_point():
        raise BadInput(
            "A contrastive loss of active speakers was to be computed.",
            "The task's labels are numbers, not classes.",
            "Use --set contrastive=0.",
        )
    return counts & (labels == 1)


def contrastive_loss(sounds: Sequence[Tensor], faces: Sequence[Tensor], scale: float) -> Tensor:
    """Return TalkNCE's loss: each face of a speaker against the sound of all moments at which they speak.

    For the rows i, j of one track it is the mean of -log(exp(s_ii) / sum_j exp(s_ij)), with s_ij the cosine between
    face i and sound j, divided by the temperature.

    Args:
        sounds, faces: of each track, (n, D), the rows in which the person speaks and has both. At least one track.
        scale: temperature, above 0.

    Returns:
        A scalar, the mean over all rows of tracks that have two or more; 0 where there is none.

    Example:
        >>> rows = torch.eye(2)
        >>> round(contrastive_loss([rows], [rows], 1.0).item(), 4)
        0.3133
    """
    total, count = sounds[0].sum() * 0, 0
    for heard, seen in zip(sounds, faces, strict=True):
        if len(heard) < 2:  # nothing to contrast with
            continue
        likeness = functional.normalize(seen, dim=-1) @ functional.normalize(heard, dim=-1).T / scale  # (n, n)
        own = torch.arange(len(heard), device=likeness.device)
        total = total + functional.cross_entropy(likeness, own, reduction="sum")
        count += len(heard)
    return total / max(1, count)
