"""Linear probe over the concatenated means of any inputs: ridge regression, or logistic regression of classes.

It is fitted in closed form (ridge) or by Newton's method (logistic), for a whole path of penalties; the validation rows
choose one. Whatever the task's loss, a regression minimises squared error and classes cross-entropy. The module is an
ordinary linear layer, which can also be trained in steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...store.errors import BadInput
from ..linear_runs import fit_runs
from ._base import Head, HeadCard
from ._inputs import ordered, pooled
from ._layers import Affine


@dataclass(frozen=True)
class LinearConfig:
    """Settings of the head.

    Args:
        lambda_low, lambda_high: smallest and largest penalty, above 0, for each training row: the objective is the mean
            loss (half the squared error, or the cross-entropy) plus half the penalty times the sum of squared weights.
        lambdas: how many penalties, at equal ratios; 1 uses `lambda_low` alone.
        standardise: penalise the weights of columns with deviation 1 over the training rows, so that the unit of a
            column does not matter.
        order: order of concatenation; default: video, audio, text, openface, then others by name.

    Raises:
        BadInput: for penalties that are no path.
    """

    lambda_low: float = 1e-4
    lambda_high: float = 1e4
    lambdas: int = 17
    standardise: bool = True
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not (0 < self.lambda_low <= self.lambda_high < math.inf and self.lambdas >= 1):
            raise BadInput(
                "A head `linear` was described.",
                f"Found lambda_low={self.lambda_low}, lambda_high={self.lambda_high}, lambdas={self.lambdas}.",
                "Penalties are above 0, the low one at most the high one, and there is at least one.",
            )

    def path(self) -> list[float]:
        """Return the penalties, rising.

        Example:
            >>> LinearConfig(lambda_low=0.1, lambda_high=10, lambdas=3).path()
            [0.1, 1.0, 10.0]
        """
        path = np.geomspace(self.lambda_low, self.lambda_high, self.lambdas)
        return [float(f"{value:.12g}") for value in path]


class Linear(Head):
    """The network of `LinearConfig`: one linear layer."""

    stackable: ClassVar[bool] = True

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: LinearConfig) -> None:
        super().__init__()
        self.config = config
        self.roles = ordered("linear", input_dims, config.order)
        self.out = Affine(sum(input_dims.values()), outputs)

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); see `Head.forward`. Rows are averaged under their mask; times have no effect."""
        result: Tensor = self.out(*(pooled(role, features, masks) for role in self.roles))
        return result


CARD = HeadCard(
    name="linear",
    title="Ridge or logistic regression on pooled inputs, the penalty chosen on a path",
    config=LinearConfig,
    build=Linear,
    fit=fit_runs,
)
