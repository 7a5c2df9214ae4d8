"""Defects that were found once, one test each."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuebank.extractors.runner import extract
from cuebank.store import BadInput, ClipsTable, Conflict, FeatureSpec, FeatureStore, Recipe
from cuebank.trainers.train_head import train_head

CUEBANK = Path(sys.executable).with_name("cuebank")
TINY = {"weights": "random", "pooling": "mean"}


@pytest.fixture
def media(tmp_path: Path) -> Callable[[int], Path]:
    """Make a sound file with this number."""

    def make(number: int) -> Path:
        path = tmp_path / f"m{number}.wav"
        samples = np.random.default_rng(number).integers(-3000, 3000, 8000).astype("<i2")
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
        return path

    return make


def table(path: Path, rows: list[str], header: str = "clip_id,path,group_id,engagement") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_clips_that_the_newest_table_does_not_list_are_reported_and_another_table_can_be_given(
    media: Callable[[int], Path], tmp_path: Path
) -> None:
    rows = [f"c{i},{media(i).name},g{i % 4},{i / 10}" for i in range(12)]
    store = tmp_path / "f.zarr"
    extract("hubert-tiny", table(tmp_path / "a.csv", rows[:4]), store, **TINY)
    extract("hubert-tiny", table(tmp_path / "b.csv", rows[4:]), store, **TINY)
    report = train_head("engagement", store, epochs=1, folds=2).to_json()
    assert report["n"] == 8
    assert any(warning.startswith("4 series") for warning in report["warnings"])
    both = train_head("engagement", store, clips=table(tmp_path / "all.csv", rows), epochs=1, folds=2).to_json()
    assert both["n"] == 12
    assert not any("series of" in warning for warning in both["warnings"])


def test_a_clip_whose_stretch_changed_is_not_silently_skipped(media: Callable[[int], Path], tmp_path: Path) -> None:
    store, header = tmp_path / "f.zarr", "clip_id,path,start,end"
    before = table(tmp_path / "a.csv", [f"x,{media(0).name},0,0.3"], header)
    after = table(tmp_path / "b.csv", [f"x,{media(0).name},0.1,0.5"], header)
    extract("hubert-tiny", before, store, **TINY)
    with pytest.raises(Conflict, match="--overwrite"):
        extract("hubert-tiny", after, store, **TINY)
    with FeatureStore.open(store) as opened:
        assert opened.clips().clips[0].end == 0.3
    assert extract("hubert-tiny", after, store, overwrite=True, **TINY).done == 1
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "m0.wav").rename(moved / "m0.wav")
    again = table(moved / "b.csv", ["x,m0.wav,0.1,0.5"], header)
    assert extract("hubert-tiny", again, store, **TINY).skipped == 1


def test_the_output_of_ls_can_be_cut_off_by_head(tmp_path: Path) -> None:
    spec = FeatureSpec("demo.x", "numeric", 1, "float32", Recipe("demo", {"sha256": "0"}))
    with FeatureStore.open(tmp_path / "f.zarr", "a") as store:
        store.create(spec)
        for i in range(20_000):
            store.write("demo.x", f"clip {i}", None, [[i]], [0.0], [True])
        store.commit()
    line = f'"{CUEBANK}" store ls "{tmp_path / "f.zarr"}" | head -1'
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert "refused" not in done.stderr


def test_control_characters_of_a_table_do_not_reach_the_terminal(tmp_path: Path) -> None:
    clips = table(tmp_path / "a.csv", ["1,2,3"], "clip_id,a\x1b[31mb,a\x1b[31mb")
    words = [CUEBANK, "extract", "--backbone", "hubert-tiny", "--clips", clips, "--store", tmp_path / "f.zarr"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) > 2


def test_a_store_that_was_closed_takes_nothing_more(tmp_path: Path) -> None:
    spec = FeatureSpec("demo.x", "numeric", 1, "float32", Recipe("demo", {"sha256": "0"}))
    store = FeatureStore.open(tmp_path / "f.zarr", "a")
    store.create(spec)
    store.close()
    with pytest.raises(BadInput, match="closed"):
        store.write("demo.x", "a", None, [[1]], [0.0], [True])
    assert not (tmp_path / "f.zarr.writing").exists()


def test_an_output_folder_that_cannot_be_is_told_before_the_training(
    media: Callable[[int], Path], tmp_path: Path
) -> None:
    store = tmp_path / "f.zarr"
    rows = [f"c{i},{media(i).name},g{i % 4},{i / 10}" for i in range(8)]
    extract("hubert-tiny", table(tmp_path / "a.csv", rows), store, **TINY)
    (tmp_path / "out").touch()

    class Never:
        def start(self, total: int, unit: str, what: str) -> None:
            raise AssertionError("the training began")

    with pytest.raises(BadInput):
        train_head("engagement", store, out=tmp_path / "out", progress=Never())  # type: ignore[arg-type]


def test_a_table_below_a_folder_that_is_not_utf8_is_refused_with_its_lines(
    media: Callable[[int], Path], tmp_path: Path
) -> None:
    import os

    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    media(0).rename(folder / "m0.wav")
    with pytest.raises(BadInput, match=r"line 2: .*UTF-8"):
        ClipsTable.read_csv(table(folder / "a.csv", ["x,m0.wav"], "clip_id,path"))


def test_a_table_in_between_does_not_hide_that_a_clip_changed(media: Callable[[int], Path], tmp_path: Path) -> None:
    store, header = tmp_path / "f.zarr", "clip_id,path,start"
    rows = [f"a,{media(0).name},", f"b,{media(1).name},"]
    extract("hubert-tiny", table(tmp_path / "1.csv", rows, header), store, **TINY)
    extract("hubert-tiny", table(tmp_path / "2.csv", rows[:1], header), store, **TINY)
    with pytest.raises(Conflict, match="'b'"):
        extract("hubert-tiny", table(tmp_path / "3.csv", [rows[0], f"b,{media(2).name},"], header), store, **TINY)
    blank_is_zero = table(tmp_path / "4.csv", [f"{row}0" for row in rows], header)
    assert extract("hubert-tiny", blank_is_zero, store, **TINY).skipped == 2
