"""Training losses, each over the last (row) axis, so that all folds of a batched program have theirs at once.

Source: SEMPI's losses as described by its authors; written independently. What differs by default: squared
error compares row i with target i only (theirs broadcast N × 1 against N), the focal weight is per row
(theirs is taken from the batch mean), and a batch in which concordance does not exist gives 0 without a
gradient instead of NaN. `loss(name, upstream=True)` is theirs to the digit.

B is rows in a batch, F folds (any leading shape, or none), C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..store.errors import BadInput, NotFound, nearest

# Smallest denominator of the concordance: far below any spread of labels, and 2 / 1e-30 is still finite in float32.
SMALLEST = 1e-30
# Exponent of the focal weight, as published (Lin et al. 2017) and as SEMPI has it.
FOCAL_GAMMA = 2.0

LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Loss:
    """A named loss.

    Args:
        name: `ccc`, `mse`, `mae`, `ce` or `focal`.
        kind: `regression` (preds (…, B)) or `classes` (logits (…, B, C), targets class ids (…, B)).
        function: `(preds, target, mask or None) -> (…)`.
        upstream: whether this is the original's variant.
    """

    name: str
    kind: str
    function: LossFunction
    upstream: bool = False

    def __call__(self, preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss of each leading index."""
        return self.function(preds, target, mask)


def _check(name: str, preds: Tensor, target: Tensor, mask: Tensor | None, classes: bool = False) -> None:
    """Refuse shapes that torch would broadcast or that have no rows."""
    rows = preds.shape[:-1] if classes else preds.shape
    fits = len(rows) >= 1 and rows == target.shape and (mask is None or mask.shape == target.shape)
    if not fits or target.shape[-1] == 0:
        masked = "" if mask is None else f", mask {tuple(mask.shape)}"
        wanted = "logits (…, B, C) and class ids (…, B)" if classes else "preds (…, B) and target (…, B)"
        raise BadInput(
            f"The loss `{name}` takes {wanted}, B >= 1.",
            f"Found preds {tuple(preds.shape)} and target {tuple(target.shape)}{masked}.",
            "Give both the same rows, e.g. preds.squeeze(-1); nothing is broadcast.",
        )


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the last axis of the rows in the mask; 0 without a gradient where there is none."""
    if mask is None:
        return values.mean(-1)
    return torch.where(mask, values, 0.0).sum(-1) / mask.sum(-1).clamp_min(1)


def ccc_loss(preds: Tensor, target: Tensor, mask: Tensor | None = None, *, upstream: bool = False) -> Tensor:
    r"""Return minus the concordance of a batch.

    .. math:: L = \frac{-2 s_{py}}{s_p^2 + s_y^2 + (\bar p - \bar y)^2}

    with unbiased (n − 1) covariance :math:`s_{py}` and variances, unlike the metric of the same name.

    Args:
        preds: predictions, (…, B).
        target: true values, (…, B).
        mask: True where a row counts, (…, B); None for all.
        upstream: let a batch of one row, and a batch in which both are the same constant, be NaN, as the
            original does.
            Otherwise such a batch is 0 with a gradient of 0: nothing can be learnt from it.

    Returns:
        (…), −1 (best) to 1.

    Raises:
        BadInput: shapes differ; both are in the message.

    Example:
        >>> ccc_loss(torch.tensor([0.1, 0.4, 0.3]), torch.tensor([0.0, 0.5, 0.4]))
        tensor(-0.8471)
    """
    _check("ccc", preds, target, mask)
    n: Tensor | float
    if mask is None:
        n = float(preds.shape[-1])
        mean_p, mean_y = preds.mean(-1, keepdim=True), target.mean(-1, keepdim=True)
        p, y = preds - mean_p, target - mean_y
    else:
        count = mask.sum(-1, keepdim=True).to(preds.dtype)
        preds, target = torch.where(mask, preds, 0.0), torch.where(mask, target, 0.0)
        mean_p, mean_y = (
            preds.sum(-1, keepdim=True) / count.clamp_min(1),
            target.sum(-1, keepdim=True) / count.clamp_min(1),
        )
        p, y = torch.where(mask, preds - mean_p, 0.0), torch.where(mask, target - mean_y, 0.0)
        n = count.squeeze(-1).clamp_min(1)
    # Numerator and denominator are both multiplied by n - 1, which makes a single row 0/0 without a special case.
    difference = (mean_p - mean_y).squeeze(-1)
    spread = (p * p + y * y).sum(-1) + (n - 1) * difference * difference
    if not upstream:
        spread = spread.clamp_min(SMALLEST)
    return -2 * (p * y).sum(-1) / spread


def mse_loss(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean squared error of preds (…, B) against target (…, B): (…); 0 where the mask has no row.

    Example:
        >>> mse_loss(torch.tensor([0.1, 0.4, 0.3]), torch.tensor([0.0, 0.5, 0.4]))
        tensor(0.0100)
    """
    _check("mse", preds, target, mask)
    return _mean((preds - target).square(), mask)


def mae_loss(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute error of preds (…, B) against target (…, B): (…); 0 where the mask has no row.

    Example:
        >>> mae_loss(torch.tensor([0.1, 0.4, 0.3]), torch.tensor([0.0, 0.5, 0.4]))
        tensor(0.1000)
    """
    _check("mae", preds, target, mask)
    return _mean((preds - target).abs(), mask)


def mse_loss_upstream_broadcast(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the original's squared error, every prediction against every target: (…). A defect, for parity
    only.

    It came from subtracting targets (N,) from predictions (N, 1). Its minimum is a constant prediction.
    """
    _check("mse", preds, target, mask)
    squares = (preds.unsqueeze(-1) - target.unsqueeze(-2)).square()  # (…, B, B)
    if mask is None:
        return squares.mean((-2, -1))
    pairs = mask.unsqueeze(-1) & mask.unsqueeze(-2)  # (…, B, B)
    return torch.where(pairs, squares, 0.0).sum((-2, -1)) / pairs.sum((-2, -1)).clamp_min(1)


def _row_cross_entropy(name: str, logits: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Cross-entropy of each row, (…, B)."""
    _check(name, logits, target, mask, classes=True)
    if target.dtype.is_floating_point:
        raise BadInput(
            f"The loss `{name}` takes class ids as integers.",
            f"The target (…, B) {tuple(target.shape)} is {target.dtype}.",
            "Convert labels to class ids first; a label of 1.5 is no class.",
        )
    flat = functional.cross_entropy(logits.flatten(0, -2), target.flatten().long(), reduction="none")
    return flat.view(target.shape)


def ce_loss(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of logits (…, B, C) and class ids (…, B): (…); 0 where the mask has no
    row.

    Example:
        >>> ce_loss(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(1.3863)
    """
    return _mean(_row_cross_entropy("ce", preds, target, mask), mask)


def focal_loss(preds: Tensor, target: Tensor, mask: Tensor | None = None, *, upstream: bool = False) -> Tensor:
    r"""Return the focal loss, (1 − p)² · ce with ce the cross-entropy and p = exp(−ce) the probability of the
    true class.

    Args:
        preds: logits, (…, B, C).
        target: class ids, (…, B), integers.
        mask: True where a row counts, (…, B).
        upstream: take ce and p from the mean over the batch, as the original does, instead of row by row.

    Returns:
        (…), >= 0; 0 where the mask has no row.

    Raises:
        BadInput: shapes differ, or the target is not of integers.

    Example:
        >>> focal_loss(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(0.7798)
    """
    ce = _row_cross_entropy("focal", preds, target, mask)
    if upstream:
        ce = _mean(ce, mask)
    weighted = (1 - torch.exp(-ce)) ** FOCAL_GAMMA * ce
    return weighted if upstream else _mean(weighted, mask)


def _upstream_ccc(preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    return ccc_loss(preds, target, mask, upstream=True)


def _upstream_focal(preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    return focal_loss(preds, target, mask, upstream=True)


# name: (kind, default, original's)
_LOSSES: dict[str, tuple[str, LossFunction, LossFunction]] = {
    "ccc": ("regression", ccc_loss, _upstream_ccc),
    "mse": ("regression", mse_loss, mse_loss_upstream_broadcast),
    "mae": ("regression", mae_loss, mae_loss),
    "ce": ("classes", ce_loss, ce_loss),
    "focal": ("classes", focal_loss, _upstream_focal),
}


def losses(kind: str | None = None) -> list[str]:
    """Return the names of the losses, all or of one kind (`regression`, `classes`).

    Example:
        >>> losses("classes")
        ['ce', 'focal']
    """
    return [name for name, (its_kind, _, _) in _LOSSES.items() if kind in (None, its_kind)]


def loss(name: str, *, upstream: bool = False) -> Loss:
    """Return the loss of this name.

    Args:
        name: `ccc`, `mse`, `mae`, `ce` or `focal`.
        upstream: the original's variant, with its defects.

    Raises:
        NotFound: there is no such loss; the nearest names are said.
    """
    if name not in _LOSSES:
        raise NotFound(f"A loss called `{name}` was asked for.", "There is no such loss.", nearest(name, losses()))
    kind, default, original = _LOSSES[name]
    return Loss(name, kind, original if upstream else default, upstream)
