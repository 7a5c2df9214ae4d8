"""The training rows of every fold in axes of their own, from one product of all rows.

A ridge or logistic fit on some rows sees of their D columns only the matrix X^T X (if there are more rows than columns)
or X X^T (if fewer). Either is computed once for all rows. A fold's is that of all rows less that of the rows that the
fold leaves out, or a part of it; its eigenvectors are axes in which every penalty is a division.

N is rows, n those of a fold's training part, D columns, r axes (at most n - 1 and D). All is float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCK = 8192  # rows that are widened to float64 at once
# What is left of a sum of squares after a subtraction must be at least this share of it: 3 of 16 digits may be lost.
SMALLEST_SHARE = 1e-3
# A column whose deviation is below this share of its size is constant but for rounding, as in `features`.
CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Space:
    """The axes of one fold.

    Args:
        basis: (D, r); coefficients in the axes are `basis @ them` for the columns.
        energy: sum of squares of the training rows along each axis, (r,), falling, above 0.
        mean: of the training rows, (D,).
        train: their numbers, (n,).
    """

    basis: Floats
    energy: Floats
    mean: Floats
    train: Ints


class Rows:
    """All rows, and what folds share.

    Args:
        values: (N, D), of any float type; it is not copied.

    Raises:
        BadInput: if a value is NaN or infinite.
    """

    def __init__(self, values: npt.NDArray[np.floating]) -> None:
        self.values = values
        self.wide = values.shape[1] > values.shape[0]
        everything = np.arange(len(values))
        self.centre = np.zeros(values.shape[1])
        self.centre = self._sum(everything) / len(values)
        if not np.isfinite(self.centre).all():
            bad = [i for i, row in enumerate(values) if not np.isfinite(row).all()]
            raise BadInput(
                f"A linear head was to be fitted to {len(values)} rows of {values.shape[1]} columns.",
                f"{len(bad)} rows hold NaN or infinity, first row {bad[0]}." if bad else "Their sum is infinite.",
                "Mend the feature set, or leave these rows out.",
            )
        self._gram: Floats | None = None
        self._kernel: Floats | None = None

    def space(self, train: Ints, unit: Floats | None = None, standardise: bool = False) -> Space:
        """Return the axes of some rows.

        Args:
            train: their numbers, (n,), each once.
            unit: what counts as 1 in each column, (D,): a penalty is on coefficients of columns in these units; None:
                the columns as they are.
            standardise: take each column's deviation over these rows as its unit instead; 1 for a constant column.
        """
        mean = self._sum(train) / len(train)  # of the centred rows
        if self.wide:
            return self._few_rows(train, mean, unit, standardise)
        gram = self._gram_of(train, mean)  # (D, D)
        if standardise:
            unit = self._deviation(gram.diagonal(), mean, len(train))
        if unit is not None:
            gram = gram / np.outer(unit, unit)
        energy, axes, kept = _eigen(gram, len(train))
        basis = axes[:, kept] if unit is None else axes[:, kept] / unit[:, None]
        return Space(basis, energy[kept], mean + self.centre, train)

    def centred(self, rows: Ints, mean: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield (where, rows less a mean) in blocks of rows."""
        for start in range(0, len(rows), BLOCK):
            part = slice(start, min(start + BLOCK, len(rows)))
            yield part, self.values[rows[part]].astype(np.float64) - mean

    def _few_rows(self, train: Ints, mean: Floats, unit: Floats | None, standardise: bool) -> Space:
        centred = self.values[train].astype(np.float64) - (self.centre + mean)  # (n, D)
        if standardise:
            unit = self._deviation(np.square(centred).sum(0), mean, len(train))
        if unit is None:
            kernel = self._kernel_of(train, centred)
        else:
            centred = centred / unit
            kernel = centred @ centred.T
        energy, axes, kept = _eigen(kernel, self.values.shape[1])
        basis = centred.T @ (axes[:, kept] / np.sqrt(energy[kept]))  # (D, r)
        if unit is not None:
            basis /= unit[:, None]
        return Space(basis, energy[kept], mean + self.centre, train)

    def _kernel_of(self, train: Ints, centred: Floats) -> Floats:
        """Return the products of the training rows less their mean, (n, n), out of those of all rows."""
        if self._kernel is None:
            wide = self.values.astype(np.float64) - self.centre
            self._kernel = wide @ wide.T
        kernel = self._kernel[np.ix_(train, train)]
        row = kernel.mean(0)
        found = kernel - row - row[:, None] + row.mean()
        return found if found.trace() >= SMALLEST_SHARE * kernel.trace() else centred @ centred.T

    def _gram_of(self, train: Ints, mean: Floats) -> Floats:
        """Return the sum of squares and products of some rows about their mean, (D, D)."""
        if self._gram is None:
            self._gram = self._squares(np.arange(len(self.values)), self.centre)
        left_out = np.setdiff1d(np.arange(len(self.values)), train)
        if len(left_out) < len(train):
            found = self._gram - self._squares(left_out, self.centre) - len(train) * np.outer(mean, mean)
            if (found.diagonal() >= SMALLEST_SHARE * self._gram.diagonal()).all():
                return found
        return self._squares(train, self.centre + mean)

    def _squares(self, rows: Ints, mean: Floats) -> Floats:
        total = np.zeros((self.values.shape[1],) * 2)
        for _, block in self.centred(rows, mean):
            total += block.T @ block
        return total

    def _sum(self, rows: Ints) -> Floats:
        total = np.zeros(self.values.shape[1])
        with np.errstate(invalid="ignore", over="ignore"):
            for _, block in self.centred(rows, self.centre):
                total += block.sum(0)
        return total

    def _deviation(self, squares: Floats, mean: Floats, count: int) -> Floats:
        deviation = np.sqrt(squares.clip(min=0) / count)
        return np.where(deviation > CONSTANT * np.abs(self.centre + mean).clip(min=1e-30), deviation, 1.0)


def _eigen(matrix: Floats, other: int) -> tuple[Floats, Floats, Ints]:
    """Return eigenvalues, eigenvectors and which to keep, largest first; `other` is the length summed over."""
    energy, axes = np.linalg.eigh(matrix)
    smallest = max(energy[-1], 0.0) * max(len(matrix), other) * np.finfo(np.float64).eps
    kept = np.flatnonzero(energy > smallest)[::-1]
    return energy, axes, kept
