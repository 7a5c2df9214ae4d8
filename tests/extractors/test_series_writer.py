"""Series are written and committed beside the model, steadily, and a broken disk is told."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import series_writer
from cuebank.extractors.base import Rows
from cuebank.extractors.series_writer import SeriesWriter
from cuebank.store import CuebankError, FeatureSpec, FeatureStore, Key, Recipe

SPEC = FeatureSpec("demo.x", "numeric", 1, "float16", Recipe("demo", {"source": "x"}))


def rows(value: float, count: int = 2) -> Rows:
    return Rows(np.full((count, 1), value, np.float32), np.arange(count) / 50, np.ones(count, bool))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    opened = FeatureStore.open(tmp_path / "f.zarr", "a")
    opened.create(SPEC)
    yield opened
    opened.close()


def committed(store: FeatureStore) -> list[str]:
    with FeatureStore.open(store.path) as other:
        return [item.clip_id for item in other.series(SPEC.name)]


def wait_for(condition: Any, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_everything_is_committed_when_finish_returns(store: FeatureStore) -> None:
    writer = SeriesWriter(store, commit_every_s=60)
    for i in range(20):
        writer.put(SPEC.name, Key(f"c{i}"), rows(i))
    writer.put(SPEC.name, Key("bad"), "no sound.")
    assert writer.finish() == []
    assert committed(store) == [f"c{i}" for i in range(20)]
    assert store.failures(SPEC.name) == [("bad", None, "no sound.")]


def test_the_first_commit_comes_early_even_if_no_further_series_does(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_writer, "FIRST_COMMIT_S", 0.1)
    writer = SeriesWriter(store, commit_every_s=60)
    writer.put(SPEC.name, Key("c"), rows(1))
    assert wait_for(lambda: committed(store) == ["c"])
    writer.finish()


def test_commits_follow_the_clock_and_the_bytes(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SeriesWriter(store, commit_every_s=0)
    writer.put(SPEC.name, Key("a"), rows(1))
    assert wait_for(lambda: committed(store) == ["a"])
    writer.finish()
    monkeypatch.setattr(series_writer, "COMMIT_BYTES", 1000)
    writer = SeriesWriter(store, commit_every_s=60)
    writer._due = time.monotonic() + 60
    writer.put(SPEC.name, Key("small"), rows(1))
    assert not wait_for(lambda: "small" in committed(store), 0.2)
    writer.put(SPEC.name, Key("large"), rows(1, 1000))
    assert wait_for(lambda: {"small", "large"} <= set(committed(store)))
    writer.finish()


def test_a_slow_commit_does_not_hold_up_whoever_hands_over(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, commit = threading.Event(), store.commit
    monkeypatch.setattr(store, "commit", lambda: (release.wait(5), commit()))
    writer = SeriesWriter(store, commit_every_s=0)
    started = time.monotonic()
    for i in range(50):
        writer.put(SPEC.name, Key(f"c{i}"), rows(i))
    assert time.monotonic() - started < 1.0
    release.set()
    writer.finish()
    assert len(committed(store)) == 50


def test_what_waits_for_the_disk_is_bounded(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_writer, "WAITING_BYTES", 10_000)
    release, write = threading.Event(), store.write
    monkeypatch.setattr(store, "write", lambda *a: (release.wait(5), write(*a)))
    writer = SeriesWriter(store, commit_every_s=60)
    put = threading.Thread(
        target=lambda: [writer.put(SPEC.name, Key(f"c{i}"), rows(i, 1000)) for i in range(5)], daemon=True
    )
    put.start()
    put.join(0.3)
    assert put.is_alive(), "5 series of 13 kB must not fit into 10 kB"
    release.set()
    put.join(5)
    assert not put.is_alive()
    writer.finish()
    assert len(committed(store)) == 5


def test_a_series_that_the_store_refuses_is_recorded_as_a_failure_and_reported(store: FeatureStore) -> None:
    writer = SeriesWriter(store, commit_every_s=60)
    writer.put(SPEC.name, Key("good"), rows(1))
    writer.put(SPEC.name, Key("huge"), rows(1e6))
    refused = writer.finish()
    assert [(f.clip_id, "float16" in f.reason) for f in refused] == [("huge", True)]
    assert committed(store) == ["good"]
    assert [f.clip_id for f in store.failures(SPEC.name)] == ["huge"]


@pytest.mark.parametrize("where", ["write", "commit"])
def test_a_full_disk_is_told_in_words_and_stops_the_run(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, where, fail)
    writer = SeriesWriter(store, commit_every_s=0)

    def go_on() -> None:
        for i in range(1000):
            writer.put(SPEC.name, Key(f"c{i}"), rows(i))
            time.sleep(0.001)

    with pytest.raises(CuebankError, match=r"No space left on device.*what was committed is safe"):
        go_on()
    with pytest.raises(CuebankError, match="No space left"):
        writer.finish()
    assert committed(store) == []
