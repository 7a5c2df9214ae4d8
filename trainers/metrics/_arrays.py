"""What every metric asks of its two arrays, and the sums that regression metrics are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...store.errors import BadInput

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Squares of larger numbers could overflow, and no label or prediction is that large on purpose.
LARGEST = 1e100
# A confusion matrix of more classes would be a mistaken column (ids, counts), not classes.
MOST_CLASSES = 4096
# Below this share of the mean square, a variance is the rounding error of its own subtraction.
ROUNDING = 1e-13


def shapes(preds: npt.NDArray[Any], target: npt.NDArray[Any]) -> str:
    """Name both shapes, for messages."""
    return f"preds {preds.shape} and target {target.shape}"


def check_pair(preds: npt.NDArray[Any], target: npt.NDArray[Any], metric: str, outputs: bool = False) -> None:
    """Refuse two arrays that are not of one shape, (N,) or with `outputs` also (N, K), and non-empty.

    Raises:
        BadInput: with both shapes in the message.
    """
    if not 1 <= preds.ndim <= 1 + outputs or preds.shape != target.shape or preds.size == 0:
        several = ", or both (N, K)," if outputs else ""
        raise BadInput(
            f"`{metric}` takes preds (N,) and target (N,){several} with N >= 1.",
            f"Found {shapes(preds, target)}.",
            "Give both the same shape first; arrays are never broadcast against each other.",
        )


def regression_arrays(preds: Any, target: Any, metric: str, outputs: bool = False) -> tuple[Floats, Floats]:
    """Return both arrays as float64 (N,); with `outputs` (N, K) is taken too.

    Raises:
        BadInput: shapes differ, are empty or not of this form, or there are NaN, infinite or absurdly large
            (> 1e100) values.
    """
    arrays = []
    for name, values in (("preds", preds), ("target", target)):
        try:
            arrays.append(np.asarray(values, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise BadInput(f"`{metric}` takes numbers.", f"{name}: {error}.", "Convert it to floats first.") from error
    check_pair(arrays[0], arrays[1], metric, outputs)
    for name, array in zip(("preds", "target"), arrays, strict=True):
        bad = int(np.count_nonzero(~(np.abs(array) <= LARGEST)))
        if bad:
            raise BadInput(
                f"`{metric}` takes finite numbers.",
                f"{bad} of {array.size} values of {name} are NaN, infinite or beyond 1e100 ({shapes(*arrays)}).",
                "Mask or mend these rows first; none is dropped silently.",
            )
    return arrays[0], arrays[1]


def class_arrays(preds: Any, target: Any, metric: str) -> tuple[Ints, Ints]:
    """Return both arrays as class ids, int64 (N,).

    Raises:
        BadInput: as `regression_arrays`, or an id is negative, fractional or >= 4096.
    """
    arrays = regression_arrays(preds, target, metric)
    for name, array in zip(("preds", "target"), arrays, strict=True):
        wrong = (array != np.floor(array)) | (array < 0) | (array >= MOST_CLASSES)
        if wrong.any():
            raise BadInput(
                f"`{metric}` takes class ids 0, 1, … below {MOST_CLASSES}.",
                f"{name} has {array[wrong][0]:g} ({shapes(*arrays)}).",
                "Take the arg-max of scores, and number the classes from 0.",
            )
    return arrays[0].astype(np.int64), arrays[1].astype(np.int64)


def score_arrays(preds: Any, target: Any, metric: str) -> tuple[Floats, Floats]:
    """Return scores and binary labels, both as float64 (N,).

    Raises:
        BadInput: as `regression_arrays`, or a label is neither 0 nor 1.
    """
    p, y = regression_arrays(preds, target, metric)
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        raise BadInput(
            f"`{metric}` takes a target of 1 (positive) and 0 (negative).",
            f"It has {y[wrong][0]:g} ({shapes(p, y)}).",
            "Mark the positive class by 1 and every other by 0.",
        )
    return p, y


@dataclass(frozen=True)
class Moments:
    """Sums over rows, each of shape (…); they add up over disjoint sets of rows with equal shifts.

    Predictions and targets are shifted before summing, so that squares do not swallow small differences.

    Args:
        n: number of rows, as float.
        p, y, pp, yy, py: Σp, Σy, Σp², Σy², Σpy of the shifted values.
        ae, se: Σ|preds − target| and Σ(preds − target)², not shifted.
        offset: shift of preds minus shift of target.
    """

    n: Floats
    p: Floats
    y: Floats
    pp: Floats
    yy: Floats
    py: Floats
    ae: Floats
    se: Floats
    offset: Floats

    def central(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return population variances of preds and target, covariance, and mean(preds) − mean(target), each
        (…).

        A variance that is only rounding error is exactly 0. Where n is 0 everything is nan.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_p, mean_y = self.p / self.n, self.y / self.n
            square_p, square_y = self.pp / self.n, self.yy / self.n
            var_p, var_y = square_p - mean_p**2, square_y - mean_y**2
            cov = self.py / self.n - mean_p * mean_y
        var_p = np.where(var_p <= ROUNDING * square_p, 0.0, var_p)
        var_y = np.where(var_y <= ROUNDING * square_y, 0.0, var_y)
        cov = np.where((var_p == 0) | (var_y == 0), 0.0, cov)
        return var_p, var_y, cov, mean_p - mean_y + self.offset


FIELDS = ("n", "p", "y", "pp", "yy", "py", "ae", "se")


def row_products(preds: Floats, target: Floats, shift_p: Floats, shift_y: Floats) -> Floats:
    """Return what each row adds to the eight sums of `Moments`, in the order of `FIELDS`: (…, N, 8)."""
    p, y, error = preds - shift_p, target - shift_y, preds - target
    return np.stack([np.ones_like(p), p, y, p * p, y * y, p * y, np.abs(error), error * error], axis=-1)


def moments_from(sums: Floats, offset: Floats) -> Moments:
    """Wrap sums of `row_products` (…, 8) made with shifts whose difference is `offset`."""
    return Moments(**{name: sums[..., i] for i, name in enumerate(FIELDS)}, offset=offset)


def centre(values: Floats, mask: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Return the shift for values (…, N): their mean, or the value itself where all are equal; (…, 1).

    A constant array is thus shifted to exact zeros, which a rounded mean would not do.
    """
    if mask is None:
        mask = np.ones(values.shape, dtype=bool)
    count = np.maximum(mask.sum(axis=-1, keepdims=True), 1)
    mean = np.where(mask, values, 0.0).sum(axis=-1, keepdims=True) / count
    low = np.where(mask, values, np.inf).min(axis=-1, keepdims=True)
    high = np.where(mask, values, -np.inf).max(axis=-1, keepdims=True)
    return np.where(low == high, low, mean)


def moments(preds: Floats, target: Floats, mask: npt.NDArray[np.bool_] | None = None) -> Moments:
    """Sum over the last axis of preds and target (…, N), where the mask (…, N) is True; nothing is checked."""
    if mask is not None:
        preds, target = np.where(mask, preds, 0.0), np.where(mask, target, 0.0)
    shift_p, shift_y = centre(preds, mask), centre(target, mask)
    products = row_products(preds, target, shift_p, shift_y)
    if mask is not None:
        products = products * mask[..., None]
    return moments_from(products.sum(axis=-2), (shift_p - shift_y)[..., 0])


def mean_over_outputs(from_moments: Callable[[Moments], Floats], preds: Any, target: Any, metric: str) -> float:
    """Score (N,), or each of the K columns of (N, K) and average; nan if any column is undefined.

    Raises:
        BadInput: see `regression_arrays`.
    """
    p, y = regression_arrays(preds, target, metric, outputs=True)
    return float(np.mean(from_moments(moments(p.T, y.T))))
