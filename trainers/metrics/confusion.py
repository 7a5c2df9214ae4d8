"""Confusion matrix: rows are the truth, columns the predictions. A table, from which the class metrics are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...store.errors import BadInput
from ._arrays import Ints, class_arrays

NAME = "confusion"
TITLE = "Confusion matrix"
HIGHER_IS_BETTER = None
KIND = "classes"
UNDEFINED = None


def confusion(preds: Any, target: Any, classes: int | None = None) -> Ints:
    r"""Count how often each true class was predicted as each class.

    .. math:: C_{ij} = |\{k : y_k = i, p_k = j\}|

    with targets :math:`y` and predictions :math:`p`.

    Args:
        preds: predicted class ids, (N,), 0..classes − 1.
        target: true class ids, (N,), 0..classes − 1.
        classes: number of classes; None for one more than the highest id that occurs.

    Returns:
        Counts (classes, classes), int64, rows truth; classes that do not occur have rows and columns of
        zeros.

    Raises:
        BadInput: shapes differ, are empty or not (N,), or an id is no class.

    Example:
        >>> confusion([0, 1, 1], [0, 0, 1])
        array([[1, 1],
               [0, 1]])
    """
    p, y = class_arrays(preds, target, NAME)
    highest = int(max(p.max(), y.max()))
    size = highest + 1 if classes is None else classes
    if highest >= size:
        raise BadInput(
            f"A confusion matrix of {size} classes was asked for.",
            f"There is a class id {highest} in preds {p.shape} and target {y.shape}.",
            f"Number the classes 0..{size - 1}, or ask for {highest + 1} classes.",
        )
    return np.bincount(y * size + p, minlength=size * size).reshape(size, size).astype(np.int64)
