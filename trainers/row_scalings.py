"""Scalings of row features, fitted on the valid rows of each run's training items.

Every item is read once, for all folds together: its count, mean and squared deviations are added to those of the
folds that train on it (Chan, Golub and LeVeque 1983), so that a corpus that is streamed need not fit in memory.

F is folds, D columns of an input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .features import Scaling, scaling_of
from .row_features import RowFeatures

Ints = npt.NDArray[np.int64]


class Sums:
    """Statistics of F sets of rows with D columns."""

    def __init__(self, folds: int, dim: int) -> None:
        self.count = torch.zeros(folds, 1, dtype=torch.float64)
        self.mean = torch.zeros(folds, dim, dtype=torch.float64)
        self.square = torch.zeros(folds, dim, dtype=torch.float64)  # sum of squared deviations from the mean
        self.low = torch.full((folds, dim), torch.inf, dtype=torch.float64)
        self.high = torch.full((folds, dim), -torch.inf, dtype=torch.float64)

    def add(self, rows: Tensor, folds: Tensor) -> None:
        """Add rows (n, D), n >= 1, to some folds (k,)."""
        wide = rows.double()
        n, mean = len(wide), wide.mean(0)
        square = (wide - mean).square().sum(0)
        before = self.count[folds]
        total = before + n
        apart = mean - self.mean[folds]
        self.square[folds] += square + apart.square() * before * n / total
        self.mean[folds] += apart * n / total
        self.count[folds] = total
        self.low[folds] = torch.minimum(self.low[folds], wide.amin(0))
        self.high[folds] = torch.maximum(self.high[folds], wide.amax(0))


def fold_scalings(features: RowFeatures, trains: Sequence[Ints], how: dict[str, str]) -> list[dict[str, Scaling]]:
    """Return the scalings of each fold by role.

    Args:
        features: of all items.
        trains: items that each fold is trained on, whole ones, (F,).
        how: role -> `standard` (mean 0, deviation 1) or `min_max` (-0.5..0.5); other roles are taken as they are.
    """
    member = torch.zeros(len(features), len(trains), dtype=torch.bool)
    for fold, items in enumerate(trains):
        member[torch.from_numpy(items), fold] = True
    scalings: list[dict[str, Scaling]] = [{} for _ in trains]
    for role, way in how.items():
        sums = Sums(len(trains), features.dims[role])
        for item in torch.nonzero(member.any(1)).flatten().tolist():
            start, length = (int(part[item]) for part in (features.spans[role].starts, features.spans[role].lengths))
            valid = features.valid[role][start : start + length]
            if bool(valid.any()):
                sums.add(features.values[role].item(item)[valid], torch.nonzero(member[item]).flatten())
        for fold, into in enumerate(scalings):
            if sums.count[fold] > 0:
                into[role] = _scaling(sums, fold, way)
    return scalings


def _scaling(sums: Sums, fold: int, way: str) -> Scaling:
    low, high = sums.low[fold], sums.high[fold]
    size = torch.maximum(low.abs(), high.abs())
    if way == "min_max":
        return scaling_of(low, high - low, -0.5, size, torch.float32)
    return scaling_of(sums.mean[fold], (sums.square[fold] / sums.count[fold]).sqrt(), 0.0, size, torch.float32)
