"""Texts through the installed command: transcripts into a store, and RoBERTa over them, a column, and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors.media.flash import make_flash_and_click, steady
from cuebank.store import FeatureStore
from cuebank.store.verify import verify

CUEBANK = Path(sys.executable).with_name("cuebank")
TEXTS, SPANS = "whisper-random-tiny.random-0@last", "whisper-random-tiny.random-0@spans"
OVER_TEXTS = "roberta-tiny.random-0-of-whisper-random-tiny-random-0-last@last"
WHISPER = ("--backbone", "whisper-random-tiny", "--layer", "last", "--layer", "spans")
ROBERTA = ("--backbone", "roberta-tiny")


def extracted(folder: Path, *words: str, code: int = 0, store: str = "f.zarr") -> Any:
    done = subprocess.run(
        [CUEBANK, "extract", *words, "--weights", "random", "--clips", "clips.csv", "--store", store, "--json"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of one film: `b` has no words in the table, and there is a text file for neither."""
    make_flash_and_click(tmp_path / "film.mov", steady(Fraction(25), 4), 4, Fraction(1))
    (tmp_path / "clips.csv").write_text(
        "clip_id,path,start,end,said\na,film.mov,,2,it is a face\nb,film.mov,2,4,\n", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize("store", ["f.zarr", "f.h5"])
def test_transcripts_are_written_and_then_read_for_features(folder: Path, store: str) -> None:
    report = extracted(folder, *WHISPER, "--codec", "zstd", store=store)
    assert (report["done"], report["feature_sets"]) == (2, [TEXTS, SPANS])
    report = extracted(folder, *ROBERTA, "--text", f"stored:{TEXTS}", "--layer", "1", "--layer", "last", store=store)
    assert report["done"] == 2
    assert OVER_TEXTS in report["feature_sets"]
    with FeatureStore.open(folder / store) as features:
        for clip in ("a", "b"):
            texts, spans, rows = (features.read(name, clip) for name in (TEXTS, SPANS, OVER_TEXTS))
            assert len(texts.values) == len(spans.values) >= 1
            assert all(isinstance(text, str) for text in texts.values)
            np.testing.assert_allclose(texts.times, spans.values.mean(1), rtol=0, atol=1e-12)
            assert 0 <= rows.times.min() <= rows.times.max() <= 2
            assert len(rows.values) == len("".join(texts.values)) + len(texts.values) - 1 + 2
        recipe = features.spec(OVER_TEXTS).recipe.preprocessing
        assert recipe[0]["fingerprint"] == features.spec(TEXTS).fingerprint
        assert recipe[1]["tokenizer"] == "utf8-bytes-1"
    assert verify(folder / store)["ok"]
    assert extracted(folder, *WHISPER, store=store)["skipped"] == 2


def test_a_column_gives_features_and_a_blank_cell_a_recorded_failure(folder: Path) -> None:
    report = extracted(folder, *ROBERTA, "--text", "column:said", "--pooling", "mean", code=1)
    assert report["done"] == 1
    (failed,) = report["failed"]
    assert failed["clip_id"] == "b"
    assert "blank" in failed["reason"]
    with FeatureStore.open(folder / "f.zarr") as features:
        (name,) = features.feature_sets()
        assert features.read(name, "a").values.shape == (1, 48)
        assert features.read(name, "a").times.tolist() == [1.0]
        assert [failure.clip_id for failure in features.failures(name)] == ["b"]


def test_a_column_that_is_not_there_stops_the_run_before_anything_is_written(folder: Path) -> None:
    error = extracted(folder, *ROBERTA, "--text", "column:sayd", code=1)
    assert "Did you mean `said`?" in str(error)
    error = extracted(folder, *ROBERTA, "--text", f"stored:{TEXTS}", code=1)
    assert "There is no store yet." in str(error)
    assert not (folder / "f.zarr").exists()


def test_files_beside_the_medium(folder: Path) -> None:
    report = extracted(folder, *ROBERTA, code=1)
    assert ["No such file" in failed["reason"] for failed in report["failed"]] == [True, True]
    (folder / "film.txt").write_text("it smiles\n")
    report = extracted(folder, *ROBERTA)
    assert (report["done"], report["feature_sets"]) == (2, ["roberta-tiny.random-0@last"])


def test_a_dry_run_counts_texts_too(folder: Path) -> None:
    report = extracted(folder, *WHISPER, *ROBERTA, "--layer", "roberta-tiny=last", "--text", "column:said", "--dry-run")
    assert report["dry_run"]["clips"] == 2
    assert not (folder / "f.zarr").exists()


def test_a_real_clip_goes_all_the_way(shared: Any, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(f"clip_id,path\nreal,{shared('media', 'talking_2.mp4')}\n")
    assert extracted(tmp_path, *WHISPER)["done"] == 1
    assert extracted(tmp_path, *ROBERTA, "--text", f"stored:{TEXTS}")["done"] == 1
    with FeatureStore.open(tmp_path / "f.zarr") as features:
        spans = features.read(SPANS, "real").values
        assert 0 <= spans.min() <= spans.max() <= 5.1
        assert features.read(OVER_TEXTS, "real").values.shape[1] == 48
    assert verify(tmp_path / "f.zarr")["ok"]


def test_prompts_that_clip_chose_become_features_of_their_texts(folder: Path) -> None:
    chosen = "clip-prompts-tiny.random-0@chosen+even4"
    slots = ("--slots", "4")
    assert extracted(folder, "--backbone", "clip-prompts-tiny", "--layer", "chosen", *slots)["feature_sets"] == [chosen]
    report = extracted(folder, *ROBERTA, "--text", f"stored:{chosen}", "--pooling", "cls", "--dtype", "float32")
    with FeatureStore.open(folder / "f.zarr") as features:
        numbers, rows = (features.read(name, "a") for name in (chosen, report["feature_sets"][0]))
        assert rows.values.shape == (4, 48)
        assert rows.times.tolist() == numbers.times.tolist()
        same = numbers.values[:, 0] == numbers.values[0, 0]
        assert (rows.values[same] == rows.values[0]).all()
