"""Metrics: one file, one formula. A file in this folder that declares `NAME` is a metric; the folder is the
list.

A metric file declares

- `NAME`, `TITLE`: as written in reports, and as printed on pictures;
- `HIGHER_IS_BETTER`: True, False, or None for what is a table rather than a score;
- `KIND`: `regression` (real numbers, of one output or several), `classes` (class ids 0, 1, …) or `scores` (real
  scores against labels 0 and 1);
- `UNDEFINED`: when the score does not exist, as a clause; None where it always does;
- a function called `NAME`, `(preds, target) -> float`; nan means *undefined* and nothing else, and the report
  writes it as null with the reason;
- `from_moments` or `from_confusion`: the same formula from sums that add up over groups of rows, for many
  samples at once, so that a thousand resamples of an interval are one matrix product; or, for what depends on
  the order of scores, `from_weights`: the same formula for many samples in which each row counts so many times.

Importing this package imports none of them.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...store.errors import NotFound, nearest


@dataclass(frozen=True)
class Metric:
    """One metric, as found in its file.

    Args:
        name: as in reports, e.g. `ccc`.
        title: for people, e.g. `CCC`.
        higher_is_better: None for a table, such as the confusion matrix.
        kind: `regression`, `classes` or `scores`.
        undefined: when the score does not exist, as a clause; None where it always exists.
        function: `(preds (N,), target (N,)) -> float`; regression also takes (N, K) and averages over outputs.
        from_moments: for regression, `Moments of shape (…) -> scores (…)`.
        from_confusion: for classes, `counts (…, C, C) -> scores (…)`.
        from_weights: for scores, `preds (N,), target (N,), weights (B, N) -> scores (B,)`.
    """

    name: str
    title: str
    higher_is_better: bool | None
    kind: str
    undefined: str | None
    function: Callable[..., Any]
    from_moments: Callable[..., Any] | None = None
    from_confusion: Callable[..., Any] | None = None
    from_weights: Callable[..., Any] | None = None

    def __call__(self, preds: Any, target: Any) -> Any:
        """Score predictions (N,) against targets (N,)."""
        return self.function(preds, target)

    def better(self, new: float, best: float) -> bool:
        """Whether `new` is a strict improvement over `best`; undefined is worse than every number.

        Example:
            >>> metric("ccc").better(0.4, 0.3), metric("mse").better(0.4, 0.3), metric("ccc").better(0.1, math.nan)
            (True, False, True)
        """
        if math.isnan(new):
            return False
        if math.isnan(best):
            return True
        return new > best if self.higher_is_better else new < best


@cache
def _found() -> dict[str, str]:
    """Names of the metric files, by scanning; a leading underscore means support code."""
    folder = Path(__file__).parent
    return {path.stem: path.stem for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


@cache
def metric(name: str) -> Metric:
    """Return the metric of this name.

    Raises:
        NotFound: there is no such metric; the nearest names are said.

    Example:
        >>> metric("ccc").title
        'CCC'
    """
    if name not in _found():
        raise NotFound(
            f"A metric called `{name}` was asked for.", "There is no such metric.", nearest(name, list(_found()))
        )
    module = importlib.import_module(f".{name}", __name__)
    return Metric(
        name=module.NAME,
        title=module.TITLE,
        higher_is_better=module.HIGHER_IS_BETTER,
        kind=module.KIND,
        undefined=module.UNDEFINED,
        function=getattr(module, module.NAME),
        from_moments=getattr(module, "from_moments", None),
        from_confusion=getattr(module, "from_confusion", None),
        from_weights=getattr(module, "from_weights", None),
    )


def metrics(kind: str | None = None) -> list[Metric]:
    """Return all scores (tables such as the confusion matrix are left out), by name.

    Args:
        kind: `regression`, `classes` or `scores`; None for all.
    """
    found = [metric(name) for name in _found()]
    return [one for one in found if one.higher_is_better is not None and kind in (None, one.kind)]
