"""Features of all items in memory: one matrix, whose columns are the inputs side by side, and their scalings.

One matrix makes taking the rows of a batch one call, and lets a head multiply neighbouring inputs at once.
Scalings belong to a run, because they are fitted on its training rows; they are applied to what was taken,
never to the matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..store.errors import BadInput, NotFound

NORMALISATIONS = ("none", "standard")
# Rows start at multiples of so many values: 64 bytes of float32, a line of the cache.
ALIGNMENT = 16
# A column whose range is below this share of its size is constant but for rounding; dividing by it would blow up noise.
CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Features:
    """Inputs of N items.

    Args:
        matrix: (N, W), the inputs one after another, then unused columns.
        dims: role -> D, in the order of the columns.
    """

    matrix: Tensor
    dims: Mapping[str, int]

    @classmethod
    def empty(cls, items: int, dims: Mapping[str, int], dtype: torch.dtype = torch.float32) -> Features:
        """Return features of so many items, all zero, to be filled through `split`."""
        width = -(-sum(dims.values()) // ALIGNMENT) * ALIGNMENT
        return cls(torch.zeros(items, width, dtype=dtype), dict(dims))

    @classmethod
    def of(cls, inputs: Mapping[str, Tensor]) -> Features:
        """Return a copy of inputs (N, D) by role.

        Example:
            >>> Features.of({"audio": torch.ones(4, 2)}).matrix.shape
            torch.Size([4, 16])
        """
        first = next(iter(inputs.values()))
        features = cls.empty(first.shape[0], {role: values.shape[1] for role, values in inputs.items()}, first.dtype)
        for role, part in features.split(features.matrix).items():
            part.copy_(inputs[role])
        return features

    def split(self, block: Tensor) -> dict[str, Tensor]:
        """Return views of a block of rows (…, W): role -> (…, D)."""
        parts = block[..., : sum(self.dims.values())].split(list(self.dims.values()), dim=-1)
        return dict(zip(self.dims, parts, strict=True))

    def to(self, device: torch.device | str) -> Features:
        """Return the same on a device."""
        return Features(self.matrix.to(device), self.dims)


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x - shift) / scale + offset, column by column.

    Args:
        shift, scale: (D,).
        offset: the same for all columns.
    """

    shift: Tensor
    scale: Tensor
    offset: float = 0.0

    def apply_(self, values: Tensor) -> Tensor:
        """Scale values (…, D) in place and return them."""
        return values.sub_(self.shift).div_(self.scale).add_(self.offset)

    def to(self, device: torch.device | str) -> Scaling:
        """Return the same on a device."""
        return Scaling(self.shift.to(device), self.scale.to(device), self.offset)


def standard(rows: Tensor) -> Scaling:
    """Return the scaling of rows (N, D) to mean 0 and population standard deviation 1; constant columns become
    0.

    Example:
        >>> standard(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).scale
        tensor([1., 1.])
    """
    wide = rows.double()
    mean, deviation = wide.mean(0), wide.std(0, correction=0)
    return _scaling(rows, mean, deviation, 0.0)


def min_max(rows: Tensor) -> Scaling:
    """Return the scaling of rows (N, D) to -0.5..0.5; constant columns become -0.5.

    Unlike SEMPI's, the maximum is that of the rows, not raised to 1: its fixed vectors squeezed 122 columns
    that way.

    Example:
        >>> scaling = min_max(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> scaling.apply_(torch.tensor([[2.0, 5.0]]))
        tensor([[ 0.0000, -0.5000]])
    """
    low, high = rows.min(0).values.double(), rows.max(0).values.double()
    return _scaling(rows, low, high - low, -0.5)


def _scaling(rows: Tensor, shift: Tensor, scale: Tensor, offset: float) -> Scaling:
    return scaling_of(shift, scale, offset, rows.abs().max(0).values.double(), rows.dtype)


def scaling_of(shift: Tensor, scale: Tensor, offset: float, size: Tensor, dtype: torch.dtype) -> Scaling:
    """Return a scaling that leaves columns alone, but for their shift, which are constant but for rounding.

    Args:
        shift, scale: (D,) float64.
        offset: the same for all columns.
        size: largest absolute value of each column, (D,) float64.
        dtype: of the scaling.
    """
    scale = torch.where(scale > CONSTANT * size.clamp_min(1e-30), scale, 1.0)
    return Scaling(shift.to(dtype), scale.to(dtype), offset)


def fixed_min_max(path: str | Path, dim: int) -> Scaling:
    """Read SEMPI's fixed vectors: v = (x - MIN) / (max(MAX, 1) - MIN) - 0.5.

    Args:
        path: an .npz file with `min_vec` and `max_vec` (D,).
        dim: D, the columns of the feature set.

    Raises:
        NotFound: if there is no such file.
        BadInput: if it is none, or holds other vectors.
    """
    asked = f"OpenFace normalisation was to be read from `{path}`, for {dim} columns."
    try:
        with np.load(path, allow_pickle=False) as archive:
            low, high = archive["min_vec"].astype(np.float32), archive["max_vec"].astype(np.float32)
    except FileNotFoundError as error:
        raise NotFound(asked, "There is no such file.", "Mend --openface-norm.") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(asked, f"It cannot be read: {error}.", "Give an .npz file with min_vec and max_vec.") from error
    scale = np.maximum(high, np.float32(1)) - low
    if low.shape != (dim,) or high.shape != (dim,) or not np.isfinite(scale).all() or not (scale > 0).all():
        raise BadInput(
            asked,
            f"It holds min_vec {low.shape} and max_vec {high.shape}, or ranges that are not positive numbers.",
            f"Give finite vectors ({dim},) with min_vec below max(max_vec, 1).",
        )
    return Scaling(torch.from_numpy(low), torch.from_numpy(scale), -0.5)
