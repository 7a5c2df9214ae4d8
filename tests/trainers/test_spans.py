"""Where rows lie: padded and flat row numbers, windows."""

from __future__ import annotations

import torch

from cuebank.trainers.spans import Spans

LENGTHS = [3, 0, 5, 1]


def test_padded_and_flat_numbers_are_those_of_the_items_in_the_order_asked_for() -> None:
    spans = Spans.of_lengths(LENGTHS)
    rows = torch.arange(9).split(LENGTHS)
    items = torch.tensor([2, 0, 1, 2])
    index, inside = spans.padded(items)
    assert index.shape == inside.shape == (4, 5)
    for i, item in enumerate(items.tolist()):
        assert index[i][inside[i]].tolist() == rows[item].tolist()
        assert not inside[i, LENGTHS[item] :].any()
    assert spans.flat(items).tolist() == [row for item in items.tolist() for row in rows[item].tolist()]


def test_a_batch_of_items_without_rows_still_has_one_padded_row() -> None:
    index, inside = Spans.of_lengths(LENGTHS).padded(torch.tensor([1, 1]))
    assert index.shape == (2, 1)
    assert not inside.any()


def test_windows_are_further_items_that_cover_each_row_once() -> None:
    spans = Spans.of_lengths(LENGTHS)
    cut, whole = spans.windows(2)
    assert cut.lengths[:4].tolist() == LENGTHS
    windows = torch.arange(4, len(cut))
    assert sorted(cut.flat(windows).tolist()) == list(range(9))
    assert int(cut.lengths[windows].max()) == 2
    for window in windows.tolist():
        inside = set(cut.flat(torch.tensor([window])).tolist())
        assert inside <= set(spans.flat(whole[window : window + 1]).tolist())
