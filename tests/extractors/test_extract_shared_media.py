"""The nine real files: rows that follow the sound track, or an honest reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import extract
from cuebank.store import FeatureStore
from cuebank.store.verify import verify

NAME = "hubert-tiny.random-0@last"
# Seconds at which the sound begins and ends, from the table of the media's README.
SOUND = {
    "talking_1.mp4": (0.0, 6.1),
    "talking_2.mp4": (0.0, 5.0),
    "talking_3.mp4": (0.0, 5.0),
    "silent_face_1.mp4": (0.0, 11.8),
    "single_face.mp4": (0.0, 2.4),
    "emotional_portrait.mp4": (0.0, 19.7),
    "face_then_no_face.mov": (2.43, 6.4),
    "meeting_headset.wav": (0.0, 6.0),
    "video_call.mp4": (0.0, 13.4),
}


@pytest.fixture(scope="module")
def store(shared: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    table = folder / "clips.csv"
    lines = [f"{name},{shared('media', name)}" for name in SOUND]
    table.write_text("\n".join(["clip_id,path", *lines]))
    report = extract("hubert-tiny", table, folder / "f.zarr", weights="random")
    assert report.done == len(SOUND)
    assert report.failed == []
    return folder / "f.zarr"


@pytest.mark.parametrize("name", SOUND)
def test_rows_and_times_follow_the_sound_track(store: Path, name: str) -> None:
    begins, ends = SOUND[name]
    with FeatureStore.open(store) as features:
        series = features.read(NAME, name)
    # The README gives lengths to 0.1 s; rows stand 0.0125 s inside the sound at both ends.
    assert series.times[0] == pytest.approx(begins + 0.0125, abs=0.005)
    assert series.times[-1] == pytest.approx(ends, abs=0.08)
    np.testing.assert_allclose(np.diff(series.times), 0.02, rtol=0, atol=1e-9)
    assert len(series.times) == pytest.approx((ends - begins) * 50, abs=5)
    assert np.isfinite(series.values).all()


def test_the_store_of_the_real_files_is_sound(store: Path) -> None:
    assert verify(store)["ok"]


def test_real_speech_gives_rows_that_differ_over_time_and_silence_does_not(store: Path) -> None:
    with FeatureStore.open(store) as features:
        speech = features.read(NAME, "talking_2.mp4").values.astype(np.float32)
        silence = features.read(NAME, "silent_face_1.mp4").values.astype(np.float32)
    inner = slice(70, -70)  # the positional convolution sees the ends up to 64 rows away
    assert speech[inner].std(0).mean() > 10 * silence[inner].std(0).mean()
