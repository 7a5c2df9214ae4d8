"""Rows on a grid of slots: each where its time says, the mean where several meet, nothing where there is none."""

from __future__ import annotations

import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.heads._perceiver_slots import place


def put(times: list[float], slots: int, by_time: bool = True, mask: list[bool] | None = None) -> list[list[int]]:
    """Return which rows each slot holds: values are powers of two, so that a mean times its count tells."""
    count = len(times)
    there = torch.tensor([mask or [True] * count])
    values = (2.0 ** torch.arange(count, dtype=torch.float64)).view(1, -1, 1)
    placed = place({"a": values}, {"a": there}, {"a": torch.tensor([times], dtype=torch.float64)}, slots, by_time)["a"]
    found: list[list[int]] = []
    for k in range(slots):
        fits = [
            rows
            for size in range(count + 1)
            for rows in [_rows(placed.values[0, k, 0].item() * size)]
            if len(rows) == size
        ]
        found.append(fits[-1] if placed.there[0, k] else [])
    return found


def _rows(total: float) -> list[int]:
    whole = round(total)
    return [i for i in range(whole.bit_length()) if whole >> i & 1] if abs(total - whole) < 1e-6 else []


def test_rows_go_to_the_slot_of_their_time_and_meet_as_their_mean() -> None:
    assert put([0.0, 0.9, 1.1, 4.0], 4) == [[0, 1], [2], [], [3]]
    assert put([10.0, 10.9, 11.1, 14.0], 4) == [[0, 1], [2], [], [3]]  # the item's own time, not the clip's
    assert put([0.0, 0.9, 1.1, 4.0, 99.0], 4, mask=[True, True, True, True, False]) == [[0, 1], [2], [], [3]]
    assert put([5.0], 4) == [[], [], [0], []]


@pytest.mark.parametrize("count", [1, 2, 5, 32, 50])
def test_as_many_rows_at_equal_steps_as_slots_stand_one_by_one(count: int) -> None:
    steps = {
        "centres": [(k + 0.5) * 0.3 for k in range(count)],
        "from start to end": [k / max(count - 1, 1) * 11.6 for k in range(count)],
        "windows of half overlap": [(k + 1) / (count + 1) * 11.6 for k in range(count)],
        "late in the clip": [100 + k * 0.02 for k in range(count)],
    }
    values = torch.arange(count, dtype=torch.float64).view(1, -1, 1)
    mask = torch.ones(1, count, dtype=torch.bool)
    for name, times in steps.items():
        clock = {"a": torch.tensor([times], dtype=torch.float64)}
        placed = place({"a": values}, {"a": mask}, clock, count, True)["a"]
        assert placed.there.all(), name
        assert torch.equal(placed.values, values), name
    assert torch.equal(place({"a": values}, {"a": mask}, None, count, True)["a"].values, values)


def test_vipers_pictures_and_windows_of_sound_stand_side_by_side() -> None:
    values = torch.arange(32, dtype=torch.float64).view(1, -1, 1)
    mask = torch.ones(1, 32, dtype=torch.bool)
    number = torch.arange(32, dtype=torch.float64).unsqueeze(0)
    times = {"video": number / 31 * 11.6, "audio": (number + 1) / 33 * 11.6}
    for one in place(dict.fromkeys(times, values), dict.fromkeys(times, mask), times, 32, True).values():
        assert torch.equal(one.values, values)


def test_rows_without_times_are_at_equal_steps_up_to_the_last_valid_one() -> None:
    values = torch.arange(1.0, 7.0).view(1, -1, 1)
    for count, wanted in ((6, [1.5, 3.5, 5.5]), (3, [1.0, 2.0, 3.0]), (1, [0.0, 1.0, 0.0])):
        mask = torch.arange(6).unsqueeze(0) < count
        placed = place({"a": values}, {"a": mask}, None, 3, True)["a"]
        assert placed.values.flatten().tolist() == wanted
        assert placed.there.flatten().tolist() == [value > 0 for value in wanted]


def test_row_k_is_slot_k_where_that_is_asked_for_and_too_many_are_refused() -> None:
    assert put([0.0, 0.1, 9.0], 4, by_time=False) == [[0], [1], [2], []]
    assert put([0.0, 0.1, 9.0], 4, by_time=False, mask=[True, False, True]) == [[0], [], [2], []]
    assert put([0.0] * 6, 4, by_time=False, mask=[True] * 4 + [False] * 2) == [[0], [1], [2], [3]]
    with pytest.raises(BadInput, match="An item has 5 rows"):
        put([0.0] * 6, 4, by_time=False, mask=[True] * 5 + [False])


def test_seconds_are_the_mean_time_of_a_slots_rows() -> None:
    values = torch.zeros(1, 4, 1)
    times = torch.tensor([[3.0, 4.0, 8.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False]])
    placed = place({"a": values}, {"a": mask}, {"a": times}, 2, True)["a"]
    assert placed.seconds is not None
    assert placed.seconds.tolist() == [[3.5, 8.0]]


def test_a_vector_stands_in_the_middle_and_a_role_without_rows_nowhere() -> None:
    features = {"vector": torch.ones(2, 3), "none": torch.ones(2, 5, 1), "rows": torch.ones(2, 5, 1)}
    masks = {"none": torch.zeros(2, 5, dtype=torch.bool), "rows": torch.ones(2, 5, dtype=torch.bool)}
    times = dict.fromkeys(masks, torch.arange(5).double().expand(2, 5))
    placed = place(features, masks, times, 8, True)
    assert placed["vector"].values.shape == (2, 1, 3)
    assert placed["vector"].slot.tolist() == [4]
    assert not placed["none"].there.any()
    assert (placed["none"].values == 0).all()
    assert placed["rows"].there.sum().item() == 2 * 5
