"""A dry run says what there is to do, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuebank.extractors import extract
from cuebank.store import Clip, ClipsTable, FeatureStore


def run(clips: ClipsTable, store: Path, **options: Any) -> Any:
    return extract("hubert-tiny", clips, store, **{"weights": "random", "decode_workers": 0, **options})


@pytest.mark.parametrize(
    "choice", [{"pooling": "none"}, {"pooling": "mean"}, {"keep_last_s": 0.6}], ids=["rows", "mean", "last"]
)
def test_rows_and_bytes_are_those_that_the_run_then_stores(
    make_clips: Callable[..., ClipsTable], tmp_path: Path, choice: dict[str, Any]
) -> None:
    clips, store = make_clips(5), tmp_path / "f.zarr"
    options = {"layers": ("1", "last"), **choice}
    estimate = run(clips, store, dry_run=True, **options).estimate
    assert not store.exists()
    run(clips, store, **options)
    with FeatureStore.open(store) as features:
        assert sum(one.rows for one in features.coverage().values()) == estimate.rows
    assert estimate.bytes == estimate.rows * (64 * 2 + 9)
    assert estimate.clips == 5
    lengths = [min(0.5 * (1 + 0.13 * i), choice.get("keep_last_s", 9)) for i in range(5)]
    assert estimate.hours == pytest.approx(sum(lengths) / 3600, rel=1e-3)
    assert 0 < estimate.seconds < 60
    assert "noise" in estimate.measured


def test_what_is_there_is_not_counted_and_the_store_stays_as_it_is(
    make_clips: Callable[..., ClipsTable], tmp_path: Path
) -> None:
    clips, store = make_clips(4), tmp_path / "f.zarr"
    run(ClipsTable(clips.clips[:3]), store)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    report = run(clips, store, dry_run=True)
    assert (report.done, report.skipped, report.estimate.clips) == (0, 3, 1)
    assert run(clips, store, dry_run=True, overwrite=True).estimate.clips == 4
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_spans_and_files_that_cannot_be_read_are_told(make_wav: Callable[..., Path], tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.mp4", make_wav("good.wav", 4.0)
    bad.write_text("no video")
    clips = ClipsTable([Clip("bad", bad), Clip("part", good, None, 1.0, 2.0), Clip("late", good, None, 3.5, 9.0)])
    report = run(clips, tmp_path / "f.zarr", dry_run=True)
    assert [failure.clip_id for failure in report.failed] == ["bad"]
    assert report.estimate.clips == 2
    assert report.estimate.hours * 3600 == pytest.approx(1.5)
    assert report.estimate.rows == 49 + 24
