"""Rows of several inputs on one grid of slots, so that what happened at one time stands in one place.

B is items in a batch, T rows of one item and input, S slots, D columns of one input. Everything is decided item by
item, from its own valid rows: neither padding nor the other items of a batch change anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...store.errors import BadInput


@dataclass(frozen=True, eq=False)
class Placed:
    """One input on the grid.

    Args:
        values: mean of the valid rows in each slot, (B, S, D); zero where there is none.
        there: whether a slot has a valid row, (B, S) bool.
        slot: which slot of the grid each of them is, (S,) int64.
        seconds: mean time of the slot's rows, (B, S); zero where there is none; None if no times are known.
    """

    values: Tensor
    there: Tensor
    slot: Tensor
    seconds: Tensor | None


def place(
    features: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None,
    times: Mapping[str, Tensor] | None,
    slots: int,
    by_time: bool,
) -> dict[str, Placed]:
    """Put all inputs on the grid.

    With `by_time`, an item's slots divide the time from its first to its last valid row, of whatever input, into
    equal parts. So 32 rows at equal steps come to stand one by one on 32 slots, whether they are at the centres of
    windows or begin and end with the clip. Rows without times are taken to be at equal steps. Otherwise row k is
    slot k.

    Args:
        features: role -> (B, T, D), or (B, D): one vector for the whole item, in the middle slot only.
        masks: role -> (B, T), for the roles that have rows.
        times: role -> (B, T) seconds.
        slots: S.
        by_time: how.

    Raises:
        BadInput: if row k is to be slot k and an item has more rows than slots.
    """
    rows = {role: masks[role] for role in features if masks is not None and role in masks}
    clocks = {role: times[role].double() for role in rows if times is not None and role in times}
    span = _span(clocks, rows) if by_time and clocks else None
    placed = {}
    for role, values in features.items():
        if role not in rows:
            middle = torch.tensor([slots // 2], device=values.device)
            there = torch.ones(values.shape[0], 1, dtype=torch.bool, device=values.device)
            placed[role] = Placed(values.unsqueeze(1), there, middle, None)
            continue
        mask, clock = rows[role], clocks.get(role)
        if not by_time:
            index = _one_by_one(role, mask, slots)
        elif clock is not None and span is not None:
            index = _slot_of((clock - span[0]) / (span[1] - span[0]), slots)  # 0/0 where all is at one time
        else:
            index = _slot_of(_equal_steps(mask), slots)
        placed[role] = _mean_per_slot(values, mask, clock, index, slots)
    return placed


def _span(clocks: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the times of the first and the last valid row of each item, (B, 1) each."""
    first = [torch.where(masks[role], clock, torch.inf).amin(1, keepdim=True) for role, clock in clocks.items()]
    last = [torch.where(masks[role], clock, -torch.inf).amax(1, keepdim=True) for role, clock in clocks.items()]
    return torch.stack(first).amin(0), torch.stack(last).amax(0)


def _equal_steps(mask: Tensor) -> Tensor:
    """Return the centre of each row's part of an item that ends with its last valid row, (B, T) in 0..1."""
    number = torch.arange(mask.shape[1], dtype=torch.float64, device=mask.device)
    count = torch.where(mask, number + 1, 0.0).amax(1, keepdim=True)
    return (number + 0.5) / count


def _slot_of(position: Tensor, slots: int) -> Tensor:
    """Return the slot of positions (B, T) in 0..1; the middle one where all rows of an item are at one time."""
    position = torch.nan_to_num(position, nan=0.5, posinf=1.0, neginf=0.0)
    return (position * slots).floor().clamp(0, slots - 1).long()


def _one_by_one(role: str, mask: Tensor, slots: int) -> Tensor:
    """Return row k -> slot k, (B, T)."""
    if bool(mask[:, slots:].any()):
        longest = int(torch.where(mask, torch.arange(mask.shape[1], device=mask.device) + 1, 0).max())
        raise BadInput(
            f"Row k of `{role}` was to be put on slot k of {slots}.",
            f"An item has {longest} rows.",
            "Use --set place=time, or as many slots.",
        )
    return torch.arange(mask.shape[1], device=mask.device).clamp(max=slots - 1).expand(mask.shape)


def _mean_per_slot(values: Tensor, mask: Tensor, clock: Tensor | None, index: Tensor, slots: int) -> Placed:
    slot = torch.arange(slots, device=values.device)
    belongs = (index.unsqueeze(1) == slot.view(1, -1, 1)) & mask.unsqueeze(1)  # (B, S, T)
    count = belongs.sum(-1, keepdim=True)  # (B, S, 1)
    # A product rather than an indexed sum, whose order of summation is not fixed on CUDA.
    share = belongs.to(values.dtype)
    kept = torch.where(mask.unsqueeze(-1), values, 0.0)  # what is masked may be nan
    means = share @ kept / count.clamp_min(1)  # (B, S, D)
    seconds = None
    if clock is not None:
        kept_times = torch.where(mask, clock, 0.0).unsqueeze(-1)
        seconds = (belongs.double() @ kept_times / count.clamp_min(1)).squeeze(-1)  # (B, S)
    return Placed(means, count.squeeze(-1) > 0, slot, seconds)
