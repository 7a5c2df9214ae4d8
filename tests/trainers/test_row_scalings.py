"""Scalings of rows: those of all valid training rows at once, fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cuebank.trainers.features import min_max, standard
from cuebank.trainers.row_features import MemoryValues, RowFeatures
from cuebank.trainers.row_scalings import fold_scalings
from cuebank.trainers.spans import Spans

LENGTHS = [4, 0, 7, 2, 6]
FOLDS = [np.array([0, 2]), np.array([3, 4]), np.array([0, 1, 2, 3, 4])]


def features(dtype: torch.dtype = torch.float16) -> tuple[RowFeatures, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    rows = (torch.randn(19, 3, generator=rng) * torch.tensor([1.0, 50.0, 0.0]) + torch.tensor([100.0, -3.0, 7.0])).to(
        dtype
    )
    valid = torch.rand(19, generator=rng) > 0.3
    rows[~valid] = torch.nan
    spans = Spans.of_lengths(LENGTHS)
    times = {"audio": torch.zeros(19, dtype=torch.float64)}
    made = RowFeatures({"audio": 3}, {"audio": spans}, {"audio": MemoryValues(rows, spans)}, {"audio": valid}, times)
    return made, rows.float(), valid


@pytest.mark.parametrize(("way", "reference"), [("standard", standard), ("min_max", min_max)])
def test_each_folds_scaling_is_that_of_its_valid_rows(way: str, reference: object) -> None:
    made, rows, valid = features()
    found = fold_scalings(made, FOLDS, {"audio": way})
    for fold, items in zip(found, FOLDS, strict=True):
        index = made.shared.flat(torch.from_numpy(items))
        wanted = reference(rows[index][valid[index]])  # type: ignore[operator]
        torch.testing.assert_close(fold["audio"].shift, wanted.shift, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(fold["audio"].scale, wanted.scale, rtol=1e-5, atol=1e-6)
        assert fold["audio"].offset == wanted.offset
        assert fold["audio"].scale[2] == 1  # a constant column


def test_a_fold_without_a_valid_row_of_an_input_takes_it_as_it_is() -> None:
    made, _, valid = features()
    valid[: LENGTHS[0]] = False
    found = fold_scalings(made, [np.array([0, 1]), np.array([2])], {"audio": "standard"})
    assert found[0] == {}
    assert "audio" in found[1]
