"""The same clip gives the same bits whatever else is in the table, in whatever order, with any number of workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import extract
from cuebank.store import Clip, ClipsTable, FeatureStore

CARDS = ("hubert-tiny", "hubert-tiny-large")


def contents(store: Path) -> dict[tuple[str, str], tuple[bytes, ...]]:
    """Bytes of all series of a store, by feature set and clip."""
    with FeatureStore.open(store) as features:
        return {
            (name, item.clip_id): tuple(array.tobytes() for array in features.read(name, item.clip_id))
            for name in features.feature_sets()
            for item in features.series(name)
        }


def made(clips: ClipsTable, store: Path, **options: Any) -> dict[tuple[str, str], tuple[bytes, ...]]:
    report = extract(CARDS, clips, store, **{"weights": "random", "dtype": "float32", **options})
    assert not report.failed
    return contents(store)


@pytest.fixture(scope="module")
def clips(write_wav: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> ClipsTable:
    folder = tmp_path_factory.mktemp("media")
    return ClipsTable(Clip(f"c{i}", write_wav(folder / f"{i}.wav", 0.5 + 0.13 * i, seed=i)) for i in range(7))


@pytest.fixture(scope="module")
def alone(clips: ClipsTable, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[bytes, ...]]:
    """Each clip in a table, a run and a store of its own."""
    folder = tmp_path_factory.mktemp("alone")
    found = {}
    for clip in clips:
        found |= made(ClipsTable([clip]), folder / f"{clip.clip_id}.zarr", decode_workers=0)
    assert len(found) == 2 * len(clips)
    return found


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("order", ["table", "reversed", "shuffled"])
def test_company_order_and_workers_do_not_change_a_bit(
    clips: ClipsTable, alone: dict[Any, Any], tmp_path: Path, order: str, workers: int
) -> None:
    arranged = list(clips.clips)
    if order == "reversed":
        arranged.reverse()
    elif order == "shuffled":
        np.random.default_rng(workers).shuffle(arranged)
    assert made(ClipsTable(arranged), tmp_path / "f.zarr", decode_workers=workers) == alone


def test_a_resumed_run_does_not_change_a_bit(clips: ClipsTable, alone: dict[Any, Any], tmp_path: Path) -> None:
    class Interrupt:
        seen = 0

        def start(self, total: int, unit: str, what: str) -> None: ...

        def advance(self, note: str = "", steps: int = 1) -> None:
            self.seen += 1
            if self.seen == 2:
                raise KeyboardInterrupt

        def close(self) -> None: ...

    store = tmp_path / "f.zarr"
    for _ in range(3):
        assert extract(CARDS, clips, store, weights="random", dtype="float32", progress=Interrupt()).interrupted
    assert 0 < len(contents(store)) < len(alone)
    assert made(clips, store) == alone


def test_making_everything_anew_gives_the_same_bits(clips: ClipsTable, alone: dict[Any, Any], tmp_path: Path) -> None:
    store = tmp_path / "f.zarr"
    made(clips, store)
    assert made(clips, store, overwrite=True) == alone


@pytest.mark.slow
def test_the_published_size_of_base_does_not_change_a_bit_either(clips: ClipsTable, tmp_path: Path) -> None:
    options = {"weights": "random", "layers": ("9", "last"), "dtype": "float32"}
    extract("hubert-base", ClipsTable(clips.clips[::-1]), tmp_path / "f.zarr", decode_workers=2, **options)
    for i, clip in enumerate(clips):
        extract("hubert-base", ClipsTable([clip]), tmp_path / f"{i}.zarr", decode_workers=0, **options)
        assert contents(tmp_path / f"{i}.zarr").items() <= contents(tmp_path / "f.zarr").items()
