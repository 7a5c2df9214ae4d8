"""The linear probe: what it computes, its path of penalties, refusals. How it is fitted: `test_linear_runs`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.heads.linear import CARD, Linear, LinearConfig
from cuebank.trainers.linear_runs import fit_runs


def test_it_is_one_linear_layer_over_the_means_of_valid_rows() -> None:
    torch.manual_seed(0)
    model = Linear({"gait": 2, "video": 3}, 2, LinearConfig())
    assert sum(p.numel() for p in model.parameters()) == 2 * (5 + 1)
    assert list(model.state_dict()) == ["out.weight", "out.bias"]
    video, gait = torch.randn(4, 3), torch.randn(4, 6, 2)
    mask = torch.arange(6) < torch.tensor([[1], [6], [2], [4]])
    means = torch.stack([rows[keep].mean(0) for rows, keep in zip(gait, mask, strict=True)])
    wanted = torch.cat([video, means], 1) @ model.out.weight.T + model.out.bias
    torch.testing.assert_close(model({"gait": gait, "video": video}, {"gait": mask}), wanted)


def test_its_card_says_that_it_is_fitted_in_closed_form() -> None:
    assert CARD.fit is fit_runs
    assert CARD.takes == "vector"


def test_penalties_stand_at_equal_ratios() -> None:
    path = LinearConfig(lambda_low=1e-3, lambda_high=1e3, lambdas=7).path()
    np.testing.assert_allclose(path, [1e-3, 1e-2, 0.1, 1, 10, 100, 1000], rtol=1e-12)
    assert LinearConfig(lambda_low=0.5, lambda_high=0.5, lambdas=1).path() == [0.5]
    assert LinearConfig(lambda_low=0.5, lambda_high=2, lambdas=1).path() == [0.5]
    assert len(LinearConfig().path()) == 17


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lambda_low": 0.0}, "lambda_low=0.0"),
        ({"lambda_low": float("nan")}, "lambda_low=nan"),
        ({"lambda_high": float("inf")}, "lambda_high=inf"),
        ({"lambda_low": 2.0, "lambda_high": 1.0}, "lambda_low=2.0"),
        ({"lambdas": 0}, "lambdas=0"),
    ],
)
def test_penalties_that_are_no_path_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        LinearConfig(**settings)
