"""Linear heads in closed form or by Newton's method: all penalties of all folds from one product of all rows.

Ridge: minimise 1/2 |y - Xw - b|^2 + λ/2 |w|^2. Logistic: minimise the sum of cross-entropies + λ/2 |w|^2, where two
classes have one vector of coefficients. Intercepts are not penalised. So λ is scikit-learn's `Ridge(alpha=λ)` and
`LogisticRegression(C=1/λ)`, to which the results are equal.

N is rows, D columns, K outputs (classes, or numbers to predict), L penalties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .linear_newton import TOLERANCE, logistic_path
from .linear_spaces import Floats, Ints, Rows, Space

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("regression", "classes")
# A class that a fold's training rows lack is never predicted: its chance is below e^-30 of the likeliest one's.
NEVER = -30.0

# (outputs (M, K), labels of the same rows) -> score
Score = Callable[[Floats, Any], float]


@dataclass(frozen=True, eq=False)
class LinearPath:
    """The solutions of one fold.

    Args:
        lambdas: (L,), falling.
        weights: (L, K, D).
        biases: (L, K).
    """

    lambdas: Floats
    weights: Floats
    biases: Floats


@dataclass(frozen=True, eq=False)
class FittedLinear:
    """The solution of one fold whose penalty was chosen on its validation rows.

    Args:
        weight: (K, D). bias: (K,).
        penalty: λ. score: its validation score, nan if undefined for every penalty.
        lambdas, scores: the whole path, (L,) each, λ falling.
    """

    weight: Floats
    bias: Floats
    penalty: float
    score: float
    lambdas: Floats
    scores: Floats

    def state(self, shift: Floats | None = None, scale: Floats | None = None) -> dict[str, Tensor]:
        """Return the state dict of a head `linear` that is given (values - shift) / scale, (D,) each, float32."""
        import torch

        weight, bias = self.weight, self.bias
        if shift is not None:
            bias = bias + weight @ shift
        if scale is not None:
            weight = weight * scale
        return {"out.weight": torch.from_numpy(weight).float(), "out.bias": torch.from_numpy(bias).float()}


def fit_linear(
    values: npt.NDArray[np.floating],
    labels: npt.NDArray[Any],
    folds: Sequence[tuple[Ints, Ints]],
    lambdas: Sequence[float],
    kind: str,
    *,
    score: Score,
    better: Callable[[float, float], bool],
    classes: int | None = None,
    per_row: bool = False,
    standardise: bool = False,
    units: Sequence[Floats | None] | None = None,
    tolerance: float = TOLERANCE,
) -> list[FittedLinear]:
    """Fit each fold for all penalties, and keep the one that scores best on its validation rows.

    Args:
        values: (N, D).
        labels: (N,) or (N, K) floats for `regression`; (N,) class ids for `classes`.
        folds: numbers of the training rows and of the validation rows of each fold.
        lambdas, kind, classes, per_row, standardise, units, tolerance: see `linear_paths`.
        score: of outputs (M, K) against the labels of the same rows.
        better: whether a score is a strict improvement over another; of equal scores the larger penalty is kept, and
            the largest of all if no score exists.

    Raises:
        BadInput: as `linear_paths`; if a fold has no validation rows.
    """
    for i, (_, validation) in enumerate(folds):
        if not len(validation):
            raise BadInput("A penalty was to be chosen.", f"Fold {i} has no validation rows.", "Use another protocol.")
    paths = linear_paths(
        values,
        labels,
        [train for train, _ in folds],
        lambdas,
        kind,
        classes=classes,
        per_row=per_row,
        standardise=standardise,
        units=units,
        tolerance=tolerance,
    )
    fitted = []
    for path, (_, validation) in zip(paths, folds, strict=True):
        outputs = outputs_of(path, values, validation)
        scores = np.array([score(one, labels[validation]) for one in outputs])
        best = 0
        for i in range(1, len(scores)):
            if better(scores[i], scores[best]):
                best = i
        fitted.append(
            FittedLinear(
                path.weights[best],
                path.biases[best],
                float(path.lambdas[best]),
                float(scores[best]),
                path.lambdas,
                scores,
            )
        )
    return fitted


def linear_paths(
    values: npt.NDArray[np.floating],
    labels: npt.NDArray[Any],
    trains: Sequence[Ints],
    lambdas: Sequence[float],
    kind: str,
    *,
    classes: int | None = None,
    per_row: bool = False,
    standardise: bool = False,
    units: Sequence[Floats | None] | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[LinearPath]:
    """Yield the solutions of each fold, for all penalties.

    Args:
        values: (N, D), of any float type.
        labels: (N,) or (N, K) floats for `regression`; (N,) class ids for `classes`.
        trains: numbers of the training rows of each fold.
        lambdas: above 0.
        kind: `regression` or `classes`.
        classes: K for `classes`; None: one more than the largest id.
        per_row: penalties are those of the mean over a fold's training rows: λ is multiplied by their number.
        standardise: penalise the coefficients of columns with deviation 1 over a fold's training rows.
        tolerance: of the gradient of `classes`, as a share of what it is without features.
        units: of each fold: what counts as 1 in each column, (D,), for the penalty; None: the columns as they are.

    Returns:
        Solutions for the columns as they are in `values`, whatever the units. A class that the training rows of a fold
        lack has coefficients 0 and an intercept that keeps it from being predicted.

    Raises:
        BadInput: for penalties, values or labels that are no numbers, rows that do not fit together, a fold whose
            training rows have one label or class only.
    """
    _check(values, labels, lambdas, kind, classes)
    rows = Rows(values)
    targets = labels if kind == "classes" else labels.reshape(len(labels), -1).astype(np.float64)
    count = (classes or int(labels.max()) + 1) if kind == "classes" else targets.shape[1]
    for i, train in enumerate(trains):
        _check_fold(i, targets[train])
        space = rows.space(train, None if units is None else units[i], standardise)
        falling = np.sort(np.asarray(lambdas, dtype=np.float64))[::-1] * (len(train) if per_row else 1)
        if kind == "classes":
            coefficients, biases = _logistic(rows, space, targets[train], falling, count, tolerance)
        else:
            coefficients, biases = _ridge(rows, space, targets[train], falling)  # (L, r, K), (L, K)
        weights = np.swapaxes(space.basis @ coefficients, 1, 2)  # (L, K, D)
        yield LinearPath(falling, weights, biases - weights @ space.mean)


def outputs_of(path: LinearPath, values: npt.NDArray[np.floating], rows: Ints) -> Floats:
    """Return the outputs of all solutions for some rows, (L, M, K)."""
    count, outputs, dim = path.weights.shape
    flat = path.weights.reshape(count * outputs, dim).T  # (D, L K)
    found = (values[rows].astype(np.float64) @ flat).reshape(len(rows), count, outputs)
    return np.ascontiguousarray(found.swapaxes(0, 1)) + path.biases[:, None]


def _ridge(rows: Rows, space: Space, targets: Floats, lambdas: Floats) -> tuple[Floats, Floats]:
    """Return coefficients (L, r, K) and intercepts (L, K) about the training mean."""
    mean = targets.mean(0)
    products = np.zeros((space.basis.shape[0], len(mean)))
    for part, block in rows.centred(space.train, space.mean):
        products += block.T @ (targets[part] - mean)
    along = space.basis.T @ products  # (r, K)
    shrunk = along / (space.energy[:, None] + lambdas[:, None, None])  # (L, r, K)
    return shrunk, np.broadcast_to(mean, (len(lambdas), len(mean)))


def _logistic(
    rows: Rows, space: Space, targets: npt.NDArray[Any], lambdas: Floats, outputs: int, tolerance: float
) -> tuple[Floats, Floats]:
    """Return coefficients (L, r, K) and intercepts (L, K) about the training mean."""
    turned = np.empty((len(space.train), len(space.energy)))
    for part, block in rows.centred(space.train, space.mean):
        turned[part] = block @ space.basis
    present, ids = np.unique(targets, return_inverse=True)
    # Two classes have opposite coefficients, each half of scikit-learn's one vector, so half its sum of squares.
    factor = 2.0 if len(present) == 2 else 1.0
    path = logistic_path(turned, space.energy, ids, len(present), list(lambdas * factor), tolerance)
    coefficients = np.zeros((len(lambdas), len(space.energy), outputs))
    biases = np.full((len(lambdas), outputs), NEVER)
    for i, (weight, bias) in enumerate(path):
        coefficients[i][:, present], biases[i, present] = weight, bias
    return coefficients, biases


def _check(
    values: npt.NDArray[Any], labels: npt.NDArray[Any], lambdas: Sequence[float], kind: str, classes: int | None
) -> None:
    asked = f"A linear head was to be fitted for {kind}."
    if kind not in KINDS:
        raise BadInput(asked, "There is no such kind.", f"Use one of {', '.join(KINDS)}.")
    if values.ndim != 2 or len(values) != len(labels) or labels.ndim > (2 if kind == "regression" else 1):
        raise BadInput(
            asked, f"Found values {values.shape} and labels {labels.shape}.", "Give (N, D), and labels for N rows."
        )
    if not len(lambdas) or not all(0 < one < math.inf for one in lambdas):
        raise BadInput(asked, f"Its penalties are {', '.join(map(str, lambdas)) or 'none'}.", "Use some above 0.")
    if kind == "classes" and not (np.issubdtype(labels.dtype, np.integer) and labels.min(initial=0) >= 0):
        raise BadInput(asked, f"Its labels are {labels.dtype}, or below 0.", "Give class ids 0, 1, …")
    if kind == "classes" and classes is not None and labels.max(initial=0) >= classes:
        raise BadInput(asked, f"There is a class {labels.max()}, and {classes} classes.", "Say how many there are.")
    if not np.isfinite(labels).all():
        raise BadInput(asked, "A label is NaN or infinite.", "Leave out rows without a label.")


def _check_fold(fold: int, targets: npt.NDArray[Any]) -> None:
    """Refuse training rows from which nothing can be learnt."""
    if not len(targets) or (targets == targets[0]).all(0).any():
        raise BadInput(
            "A linear head was to be fitted.",
            f"The {len(targets)} training rows of fold {fold} have the same label or class.",
            "Use fewer folds, or a protocol that mixes the labels.",
        )
