"""Ragged row features: batches are the items' rows padded, from memory and streamed alike; subsets and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.trainers import row_features
from cuebank.trainers.row_features import MemoryValues, RowFeatures, StreamedValues
from cuebank.trainers.row_store import Part, fill, spoilt_notes

LENGTHS = {"audio": [3, 0, 5, 2], "video": [1, 4, 0, 2]}
DIMS = {"audio": 4, "video": 2}


class Fake:
    """Items of random rows; the flag of every third row is False, and there stands NaN."""

    def __init__(self, lengths: dict[str, list[int]], dtype: str = "float16") -> None:
        rng = np.random.default_rng(0)
        self.dims = DIMS
        self.dtypes: dict[str, np.dtype[Any]] = {role: np.dtype(dtype) for role in DIMS}
        self.reads = 0
        self.parts: dict[str, list[Part]] = {}
        for role, sizes in lengths.items():
            self.parts[role] = []
            for size in sizes:
                valid = np.arange(size) % 3 != 2
                values = np.where(valid[:, None], rng.standard_normal((size, DIMS[role])), np.nan).astype(dtype)
                self.parts[role].append(Part(values, valid, np.sort(rng.random(size))))

    def lengths(self, role: str) -> list[int]:
        return [len(part.values) for part in self.parts[role]]

    def read(self, item: int) -> dict[str, Part]:
        self.reads += 1
        return {role: self.parts[role][item] for role in self.parts}

    def rows(self, role: str, item: int, first: int, last: int) -> np.ndarray:
        self.reads += 1
        return self.parts[role][item].values[first:last]


@pytest.fixture(params=[10**9, 0], ids=["memory", "streamed"])
def limit(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_a_batch_has_the_rows_of_its_items_and_zeros_elsewhere(limit: int) -> None:
    reader = Fake(LENGTHS)
    features, spoilt = fill(reader, limit, None)
    kind = MemoryValues if limit else StreamedValues
    assert all(isinstance(one, kind) for one in features.values.values())
    assert spoilt == {"audio": 0, "video": 0}
    items = torch.tensor([2, 0, 1])
    for role in DIMS:
        values, mask, times = features.batch(role, items)
        longest = max(LENGTHS[role][i] for i in items.tolist())
        assert values.shape == (3, longest, DIMS[role])
        assert values.dtype == torch.float32
        assert times.dtype == torch.float64
        for row, item in enumerate(items.tolist()):
            part = reader.parts[role][item]
            size = len(part.values)
            assert mask[row, :size].tolist() == part.valid.tolist()
            assert not mask[row, size:].any()
            wanted = np.where(part.valid[:, None], part.values, 0).astype(np.float32)
            np.testing.assert_array_equal(values[row, :size], wanted)
            assert (values[row, size:] == 0).all()
            assert times[row, :size].tolist() == part.times.tolist()
    assert features.entity_batch(items) is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_long_items_are_the_same_rows_by_another_way(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Fake(LENGTHS)
    for role in DIMS:
        for i, part in enumerate(reader.parts[role]):
            values = np.nan_to_num(np.abs(part.values) * 50).astype(dtype)
            reader.parts[role][i] = part._replace(values=values)
        reader.dtypes[role] = np.dtype(dtype)
    features, _ = fill(reader, 10**9, None)
    items = torch.tensor([2, 0, 1, 2])
    short = features.batch("audio", items)
    monkeypatch.setattr(row_features, "LONG_ROWS", 1)
    for found, wanted in zip(features.batch("audio", items), short, strict=True):
        assert torch.equal(found, wanted)
        assert found.dtype == wanted.dtype


def test_values_in_memory_are_read_once_and_kept_in_their_stored_type() -> None:
    reader = Fake(LENGTHS)
    features, _ = fill(reader, 10**9, None)
    reads = reader.reads
    features.batch("audio", torch.tensor([0, 2]))
    assert reader.reads == reads == 4
    assert isinstance(features.values["audio"], MemoryValues)
    assert features.values["audio"].rows.dtype == torch.float16
    assert features.nbytes == (10 * 4 + 7 * 2) * 2


def test_the_limit_counts_all_inputs_together() -> None:
    size = (10 * 4 + 7 * 2) * 2
    for limit, kind in ((size, MemoryValues), (size - 1, StreamedValues)):
        features, _ = fill(Fake(LENGTHS), limit, None)
        assert isinstance(features.values["video"], kind)


def test_rows_that_hold_no_numbers_are_masked_and_counted(limit: int) -> None:
    reader = Fake(LENGTHS)
    reader.parts["audio"][0].values[0, 1] = np.inf
    reader.parts["audio"][2].values[:2] = np.nan
    features, spoilt = fill(reader, limit, None)
    assert spoilt == {"audio": 3, "video": 0}
    assert spoilt_notes(spoilt, {"audio": "a.b", "video": "c.d"}) == [
        "3 rows of `a.b` hold NaN or infinity; they are masked."
    ]
    values, mask, _ = features.batch("audio", torch.tensor([0, 2]))
    assert bool(torch.isfinite(values).all())
    assert mask.tolist() == [[False, True, False, False, False], [False, False, False, True, True]]


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def shared(limit: int) -> tuple[Fake, RowFeatures]:
    sizes = [3, 0, 7, 4]
    reader = Fake({"audio": sizes, "video": sizes})
    for role in DIMS:
        for i, part in enumerate(reader.parts[role]):
            reader.parts[role][i] = part._replace(times=reader.parts["audio"][i].times)
    entities = np.arange(14, dtype=np.int64) % 2
    return reader, fill(reader, limit, entities)[0]


def test_a_subset_has_the_same_rows_under_other_numbers(limit: int) -> None:
    _, features = shared(limit)
    some = features.subset(torch.tensor([2, 3]))
    assert len(some) == 2
    for role in DIMS:
        for found, wanted in zip(
            some.batch(role, torch.tensor([1, 0])), features.batch(role, torch.tensor([3, 2])), strict=True
        ):
            assert torch.equal(found, wanted)
    again = some.subset(torch.tensor([1]))
    assert torch.equal(
        again.batch("audio", torch.tensor([0])).values, features.batch("audio", torch.tensor([3])).values
    )
    same(again.values["audio"].item(0), features.values["audio"].item(3))


def test_windows_are_stretches_of_their_items(limit: int) -> None:
    _, features = shared(limit)
    some = features.subset(torch.tensor([0, 2, 3]))
    cut, whole = some.windowed(3)
    assert whole.tolist() == [0, 1, 2, 0, 1, 1, 1, 2, 2]
    begin = {3: 0, 4: 0, 5: 3, 6: 6, 7: 0, 8: 3}
    for window in range(3, 9):
        items = torch.tensor([window])
        found, item = cut.batch("video", items), int(whole[window])
        wanted = some.batch("video", torch.tensor([item]))
        rows = slice(begin[window], begin[window] + found.values.shape[1])
        assert torch.equal(found.values, wanted.values[:, rows])
        assert torch.equal(found.mask, wanted.mask[:, rows])
        assert torch.equal(cut.entity_batch(items), some.entity_batch(torch.tensor([item]))[:, rows])
        same(cut.values["video"].item(window), some.values["video"].item(item)[rows])


def test_entities_are_minus_one_behind_an_items_end(limit: int) -> None:
    _, features = shared(limit)
    found = features.entity_batch(torch.tensor([0, 3]))
    assert found is not None
    assert found.tolist() == [[0, 1, 0, -1], [0, 1, 0, 1]]
