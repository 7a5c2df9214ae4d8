"""Tokens for a Perceiver from inputs on a grid of slots: one for each slot of each input, or one for each slot.

What is not there is left out of the attention, or, where a token lacks some of its columns, out of the token's norm and
of the product that follows: never put in as zeros. B is items, N tokens, W their width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...store.errors import BadInput
from ._perceiver_slots import Placed

# Sines and cosines that tell a time: of 1, 2, 4 … half turns over the grid, or of periods of 1, 4, 16 … seconds.
BANDS = 6
INITIAL = 0.02  # deviation of what is learned, as in transformers' Perceiver


class SeparateTokens(nn.Module):
    """One token for each slot of each input: its columns and the encoding of its time, projected to one width.

    Args:
        dims: role -> D, in the order of the tokens.
        width: W.
        slots: of the grid.
        time_encoding: `none`, `slots` or `seconds`.
        modality_encoding: add a learned vector for each input.
    """

    def __init__(
        self, dims: Mapping[str, int], width: int, slots: int, time_encoding: str, modality_encoding: bool
    ) -> None:
        super().__init__()
        self.slots, self.time_encoding, self.width = slots, time_encoding, width
        extra = 0 if time_encoding == "none" else 2 * BANDS
        self.project = nn.ModuleDict({_key(role): nn.Linear(dim + extra, width) for role, dim in dims.items()})
        self.modality: nn.ParameterDict | None = None
        if modality_encoding:
            vectors = {_key(role): nn.Parameter(torch.randn(width) * INITIAL) for role in dims}
            self.modality = nn.ParameterDict(vectors)

    def forward(self, placed: Mapping[str, Placed]) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, W), and which of them are there (B, N)."""
        tokens = []
        for role, one in placed.items():
            values = one.values
            if self.time_encoding != "none":
                code = _time_code(role, one, self.slots, self.time_encoding)
                values = torch.cat([values, code.expand(*values.shape[:2], -1)], -1)
            token = self.project[_key(role)](values)
            tokens.append(token if self.modality is None else token + self.modality[_key(role)])
        return torch.cat(tokens, 1), torch.cat([one.there for one in placed.values()], 1)


class JoinedTokens(nn.Module):
    """One token for each slot: the columns of all inputs side by side, each input padded by zero columns.

    Args:
        dims: role -> D, in the order of the columns.
        multiple: the columns of an input are filled up to a multiple of it; ViPER's 27 columns of FAU become 32.
        slots: of the grid.
        time_encoding: `none`, `slots` or `seconds`: further columns.
    """

    def __init__(self, dims: Mapping[str, int], multiple: int, slots: int, time_encoding: str) -> None:
        super().__init__()
        self.slots, self.time_encoding, self.multiple = slots, time_encoding, multiple
        code = 0 if time_encoding == "none" else _filled(2 * BANDS, multiple)
        self.width = sum(_filled(dim, multiple) for dim in dims.values()) + code

    def forward(self, placed: Mapping[str, Placed]) -> tuple[Tensor, Tensor]:
        """Return tokens, and which of them have any input (B, N).

        Tokens are (B, N, W) if they lack nothing, else (B, N, 2 W): columns, then 1 where a column is there (see
        `PresentNorm`).
        """
        length = max(one.values.shape[1] for one in placed.values())
        wide = [_spread(one, length) for one in placed.values()]
        there = torch.stack([one.there for one in wide], -1)  # (B, N, inputs)
        columns = [functional.pad(one.values, (0, -one.values.shape[2] % self.multiple)) for one in wide]
        widths = [column.shape[2] for column in columns]
        if self.time_encoding != "none":
            code = self._code(dict(zip(placed, wide, strict=True)))
            columns.append(functional.pad(code, (0, -code.shape[2] % self.multiple)).expand(*there.shape[:2], -1))
        tokens, some = torch.cat(columns, -1), there.any(-1)
        if bool((there | ~some.unsqueeze(-1)).all()):
            return torch.where(some.unsqueeze(-1), tokens, 0.0), some
        parts = [there[..., i : i + 1].expand(*there.shape[:2], width) for i, width in enumerate(widths)]
        if self.time_encoding != "none":
            parts.append(some.unsqueeze(-1).expand_as(columns[-1]))
        present = torch.cat(parts, -1)  # (B, N, W)
        return torch.cat([torch.where(present, tokens, 0.0), present.to(tokens.dtype)], -1), some

    def _code(self, wide: Mapping[str, Placed]) -> Tensor:
        """Return the encoding of the slots' times, (1 or B, N, 2 * BANDS)."""
        first = next(iter(wide.values()))
        if self.time_encoding == "slots":
            return _code_of_slots(first, self.slots)
        known = [(one.there, _seconds(role, one)) for role, one in wide.items()]
        count = torch.stack([there for there, _ in known]).sum(0).clamp_min(1)
        seconds = torch.stack([torch.where(there, time, 0.0) for there, time in known]).sum(0) / count
        return _code_of_seconds(seconds, first.values.dtype)


class PresentNorm(nn.LayerNorm):
    """Layer norm over the columns that are there; what is not there is 0 behind it, so it adds nothing to a product.

    A Perceiver on tokens that lack an input is then the Perceiver without that input's columns. The parameters are
    those of `nn.LayerNorm`, and so is the result for tokens that lack nothing.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (…, W) for tokens (…, W), or for columns and their presence side by side (…, 2 W)."""
        if tokens.shape[-1] == self.weight.shape[0]:
            return super().forward(tokens)
        values, present = tokens.chunk(2, -1)
        count = present.sum(-1, keepdim=True).clamp_min(1)
        centred = (values - values.sum(-1, keepdim=True) / count) * present
        variance = centred.square().sum(-1, keepdim=True) / count
        return (centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias) * present


def _key(role: str) -> str:
    return f"of_{role}"  # a role may have the name of a method of torch's containers


def _filled(dim: int, multiple: int) -> int:
    return -(-dim // multiple) * multiple


def _spread(one: Placed, length: int) -> Placed:
    """Return an input with as many slots as the others: one vector for the whole item stands in each of them."""
    if one.values.shape[1] == length:
        return one
    batch, _, dim = one.values.shape
    slot = torch.arange(length, device=one.slot.device)
    return Placed(one.values.expand(batch, length, dim), one.there.expand(batch, length), slot, None)


def _time_code(role: str, one: Placed, slots: int, kind: str) -> Tensor:
    """Return the encoding of the times of one input's slots, (1 or B, S, 2 * BANDS)."""
    return _code_of_slots(one, slots) if kind == "slots" else _code_of_seconds(_seconds(role, one), one.values.dtype)


def _seconds(role: str, one: Placed) -> Tensor:
    if one.seconds is None:
        raise BadInput(
            "The head `perceiver` was to encode times in seconds.",
            f"The input `{role}` has no times.",
            "Use --set time_encoding=slots, or an input with rows.",
        )
    return one.seconds


def _code_of_slots(one: Placed, slots: int) -> Tensor:
    position = (one.slot.double() + 0.5) / slots
    half_turns = 2.0 ** torch.arange(BANDS, dtype=torch.float64, device=one.slot.device)
    return _waves(position.unsqueeze(-1) * half_turns).unsqueeze(0).to(one.values.dtype)


def _code_of_seconds(seconds: Tensor, dtype: torch.dtype) -> Tensor:
    periods = 4.0 ** torch.arange(BANDS, dtype=torch.float64, device=seconds.device)
    return _waves(2 * seconds.double().unsqueeze(-1) / periods).to(dtype)


def _waves(half_turns: Tensor) -> Tensor:
    angle = math.pi * half_turns
    return torch.cat([angle.sin(), angle.cos()], -1)
