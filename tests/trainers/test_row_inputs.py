"""What a head gets of rows, and its outputs for items: the same whatever is beside an item in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers import row_inputs
from cuebank.trainers.features import Scaling
from cuebank.trainers.labels import ItemLabels, RowLabels
from cuebank.trainers.loop import evaluate
from cuebank.trainers.row_features import MemoryValues, RowFeatures
from cuebank.trainers.row_inputs import RowInputs
from cuebank.trainers.spans import Spans

LENGTHS = [3, 9, 1, 5, 5, 2]
ROWS = sum(LENGTHS)


def features(entities: bool = True) -> RowFeatures:
    rng = torch.Generator().manual_seed(0)
    spans = Spans.of_lengths(LENGTHS)
    return RowFeatures(
        dims={"audio": 3},
        spans={"audio": spans},
        values={"audio": MemoryValues(torch.randn(ROWS, 3, generator=rng), spans)},
        valid={"audio": torch.rand(ROWS, generator=rng) > 0.2},
        times={"audio": torch.rand(ROWS, generator=rng, dtype=torch.float64)},
        entities=torch.zeros(ROWS, dtype=torch.int64) if entities else None,
    )


def test_scalings_are_applied_to_valid_rows_and_masked_rows_stay_zero() -> None:
    data = features()
    inputs = RowInputs(data, {"audio": Scaling(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 1.0, 4.0]), 0.5)})
    arguments = inputs.arguments(torch.tensor([1, 0]))
    plain = RowInputs(data, {}).arguments(torch.tensor([1, 0]))
    mask = arguments["masks"]["audio"]
    wanted = (plain["features"]["audio"] - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 1.0, 4.0]) + 0.5
    torch.testing.assert_close(arguments["features"]["audio"][mask], wanted[mask])
    assert (arguments["features"]["audio"][~mask] == 0).all()
    assert not mask.all()


@pytest.mark.parametrize("name", ["each-row", "scene"])
def test_outputs_for_rows_come_item_after_item_whatever_the_batches(
    row_heads: Mapping[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = row_heads[name].build({"audio": 3}, 2, None).double()
    data = features()
    spans = data.shared
    wide = MemoryValues(data.values["audio"].rows.double(), spans)  # type: ignore[attr-defined]
    data = RowFeatures(data.dims, data.spans, {"audio": wide}, data.valid, data.times, data.entities)
    items = np.array([5, 1, 3, 0, 2, 4])
    found = []
    for size in (1, 10, 4096):
        monkeypatch.setattr(row_inputs, "EVALUATION_ROWS", size)
        found.append(evaluate(head, RowInputs(data, {}), items))
    alone = [evaluate(head, RowInputs(data, {}), np.array([item])) for item in items]
    assert found[0].shape == (ROWS, 2)
    for one in found:
        torch.testing.assert_close(one, torch.cat(alone), atol=1e-12, rtol=0)
    again = RowLabels(torch.arange(ROWS), torch.ones(ROWS, dtype=torch.bool), spans).of(items)[1]
    assert again.tolist() == spans.flat(torch.from_numpy(items)).tolist()


def test_outputs_for_items_come_in_the_order_asked_for(row_heads: Mapping[str, Any]) -> None:
    head = row_heads["pooled"].build({"audio": 3}, 2, None)
    inputs = RowInputs(features(entities=False), {})
    items = np.array([5, 1, 3, 0, 2, 4, 1])
    found = evaluate(head, inputs, items)
    assert found.shape == (7, 2)
    for row, item in enumerate(items):
        torch.testing.assert_close(found[row : row + 1], evaluate(head, inputs, np.array([item])), atol=1e-6, rtol=0)


def test_labels_of_rows_are_picked_where_there_are_some() -> None:
    spans = Spans.of_lengths(LENGTHS)
    there = torch.arange(ROWS) % 2 == 0
    labels = RowLabels(torch.arange(ROWS), there, spans)
    outputs = torch.arange(18.0).view(2, 9, 1)
    picked, wanted = labels.pick(outputs, torch.tensor([0, 1]))
    assert wanted.tolist() == [0, 2, 4, 6, 8, 10]
    assert picked[:, 0].tolist() == [0, 2, 10, 12, 14, 16]
    keep, of = labels.of(np.array([1, 0]))
    assert of.tolist() == [4, 6, 8, 10, 0, 2]
    assert keep.tolist() == [False, True] * 4 + [False, True, False, True]
    assert labels.counts().tolist() == [2, 4, 1, 2, 3, 1]


def test_a_head_for_the_other_unit_is_refused() -> None:
    spans = Spans.of_lengths(LENGTHS)
    with pytest.raises(BadInput, match=r"one label for each clip.*\(2, 9, 1\)"):
        ItemLabels(torch.zeros(6)).pick(torch.zeros(2, 9, 1), torch.tensor([0, 1]))
    with pytest.raises(BadInput, match=r"a label for each row.*\(2, 1\)"):
        RowLabels(torch.zeros(ROWS), torch.ones(ROWS, dtype=torch.bool), spans).pick(
            torch.zeros(2, 1), torch.tensor([0, 1])
        )
