"""Predictions cut into cells, one per (fold, group), with the sums per cell that scores and intervals are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .groups import Ints
from .metrics._arrays import Floats, centre, row_products


@dataclass(frozen=True)
class Cells:
    """Checked predictions of S seeds for N rows, and the P (fold, group) cells that the rows fall into.

    Args:
        preds: (S, N) float64.
        target: (N,) float64.
        folds: (N,) int64, 0..fold_count − 1.
        groups: (N,) int64, any numbers; only groups that occur count.
        fold_count: number of folds, also those without rows.
    """

    preds: Floats
    target: Floats
    folds: Ints
    groups: Ints
    fold_count: int

    @cached_property
    def _cut(self) -> tuple[Ints, Ints, Ints, int]:
        """Fold of each cell (P,), group of each cell (P,), cell of each row (N,), number of groups."""
        present, group_of_row = np.unique(self.groups, return_inverse=True)
        keys, cell_of_row = np.unique(self.folds * present.size + group_of_row, return_inverse=True)
        return keys // present.size, keys % present.size, cell_of_row.astype(np.int64), present.size

    @property
    def group_count(self) -> int:
        """Number of groups that occur."""
        return self._cut[3]

    @property
    def cell_count(self) -> int:
        """Number of cells, P."""
        return int(self._cut[0].size)

    @property
    def group_of_cell(self) -> Ints:
        """(P,), numbered 0..group_count − 1."""
        return self._cut[1]

    @property
    def cell_of_row(self) -> Ints:
        """(N,)."""
        return self._cut[2]

    @cached_property
    def cells_of_folds(self) -> list[Ints]:
        """Cells of each fold; empty for a fold without rows."""
        return [np.flatnonzero(self._cut[0] == fold) for fold in range(self.fold_count)]

    @cached_property
    def moment_sums(self) -> tuple[Floats, Floats]:
        """Sums of `row_products` in each cell (P, S, 8), and the offset of their shifts (S,)."""
        order = np.argsort(self.cell_of_row, kind="stable")
        starts = np.flatnonzero(np.diff(self.cell_of_row[order], prepend=-1))
        shift_p, shift_y = centre(self.preds), centre(self.target)  # (S, 1), (1,)
        sums = [
            np.add.reduceat(row_products(preds[order], self.target[order], shift, shift_y), starts, axis=0)  # (P, 8)
            for preds, shift in zip(self.preds, shift_p, strict=True)
        ]
        return np.stack(sums, axis=1), shift_p[:, 0] - shift_y

    @cached_property
    def confusion_sums(self) -> Floats:
        """Confusion counts in each cell, rows truth, (P, S, C, C)."""
        classes = int(max(self.preds.max(), self.target.max())) + 1
        truth = self.cell_of_row * classes + self.target.astype(np.int64)
        counts = [
            np.bincount(truth * classes + preds.astype(np.int64), minlength=self.cell_count * classes**2)
            for preds in self.preds
        ]
        return np.stack([one.reshape(-1, classes, classes) for one in counts], axis=1).astype(np.float64)
