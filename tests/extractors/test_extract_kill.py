"""Extractions that are killed, interrupted, or run twice at once lose nothing that was committed and harm nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuebank.extractors import extract
from cuebank.store import Clip, ClipsTable, FeatureStore
from cuebank.store.verify import verify

# Runs extractions on request: a line "STORE" starts one in a fork of this process, which has torch and transformers
# loaded already (importing them anew takes longer than the extraction); the answer is the fork's process id. A second
# line asks how it ended: until then the id stays taken, so that a signal cannot hit anybody else.
SERVER = """
import json, os, sys
import torch, av
import cuebank.extractors.backbones.speech, cuebank.extractors.networks.speech as speech
from cuebank.extractors.backbones.speech import SHAPES
from cuebank.extractors.runner import extract
speech.build(SHAPES["hubert-tiny"])
clips, options = sys.argv[1], json.loads(sys.argv[2])
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        extract("hubert-tiny", clips, line.strip(), **options)
        os._exit(0)
    print(pid, flush=True)
    sys.stdin.readline()
    print(os.waitpid(pid, 0)[1], flush=True)
"""
# One extraction in a process of its own; says when each clip is finished, and its report at the end.
SINGLE = """
import json, sys
from cuebank.extractors.runner import extract
class Say:
    def start(self, total, unit, what): print("start", total, flush=True)
    def advance(self, note="", steps=1): print("clip", note, flush=True)
    def close(self): pass
report = extract("hubert-tiny", sys.argv[1], sys.argv[2], progress=Say(), **json.loads(sys.argv[3]))
print(json.dumps(report.to_json()), flush=True)
"""
OPTIONS = {"weights": "random", "layers": ["1", "last"], "commit_every_s": 0.05}
COUNT = 150


@pytest.fixture
def table(make_wav: Callable[..., Path], tmp_path: Path) -> Path:
    """A table of many short clips, cut out of one file."""
    path = make_wav("long.wav", COUNT / 10 + 1)
    clips = [Clip(f"c{i:03d}", path, None, i / 10, i / 10 + 0.3 + (i % 5) / 10) for i in range(COUNT)]
    ClipsTable(clips).write_csv(tmp_path / "clips.csv")
    return tmp_path / "clips.csv"


@pytest.fixture
def undisturbed(table: Path, tmp_path: Path) -> dict[tuple[str, str], tuple[bytes, ...]]:
    extract("hubert-tiny", table, tmp_path / "undisturbed.zarr", **OPTIONS)
    found = contents(tmp_path / "undisturbed.zarr")
    assert len(found) == 2 * COUNT
    return found


def contents(store: Path) -> dict[tuple[str, str], tuple[bytes, ...]]:
    with FeatureStore.open(store) as features:
        return {
            (name, item.clip_id): tuple(array.tobytes() for array in features.read(name, item.clip_id))
            for name in features.feature_sets()
            for item in features.series(name)
        }


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def ask(server: subprocess.Popen[str], line: object) -> int:
    server.stdin.write(f"{line}\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def kill_rounds(table: Path, folder: Path, undisturbed: dict[Any, Any], rounds: int, seed: int) -> list[int]:
    """Kill an extraction `rounds` times; return how many series were committed after each kill."""
    dice, store, seen = random.Random(seed), folder / "killed.zarr", []
    command = [sys.executable, "-c", SERVER, str(table), json.dumps(OPTIONS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen(command, **pipes) as server:
        for number in range(rounds):
            pid = ask(server, store)
            # From before the first clip to about the end of a whole run.
            time.sleep(dice.uniform(0, 1.0) if number else 0.4)
            os.kill(pid, signal.SIGKILL)
            status = ask(server, "how?")
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
            if not store.exists():
                seen.append(0)
                continue
            found = contents(store)
            assert found.items() <= undisturbed.items(), "what is committed must be what an undisturbed run makes"
            checked = verify(store)
            assert checked["ok"], checked
            seen.append(len(found))
            if len(found) == len(undisturbed):
                store = folder / f"killed-{number}.zarr"  # there is nothing left to do in this one
        server.stdin.close()
    report = extract("hubert-tiny", table, store, **OPTIONS)
    assert report.done + report.skipped == COUNT
    assert contents(store) == undisturbed
    assert verify(store)["ok"]
    assert not list(folder.glob("*.writing")), "leftovers of dead writers are removed by the next one"
    return seen


def test_after_kill_9_everything_committed_reads_back_exactly_and_the_last_run_finishes(
    table: Path, undisturbed: dict[Any, Any], tmp_path: Path
) -> None:
    seen = kill_rounds(table, tmp_path, undisturbed, rounds=8, seed=1)
    assert any(0 < count < len(undisturbed) for count in seen), f"no kill came in the middle: {seen}"


@pytest.mark.slow
def test_after_fifty_kills_everything_committed_reads_back_exactly(
    table: Path, undisturbed: dict[Any, Any], tmp_path: Path
) -> None:
    seen = kill_rounds(table, tmp_path, undisturbed, rounds=50, seed=2)
    assert sum(0 < count < len(undisturbed) for count in seen) >= 10, seen


def start(table: Path, store: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SINGLE, str(table), str(store), json.dumps({**OPTIONS, **options})]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def test_two_extractions_of_one_table_into_one_store_do_no_harm(
    table: Path, undisturbed: dict[Any, Any], tmp_path: Path
) -> None:
    store = tmp_path / "shared.zarr"
    both = [start(table, store), start(table, store)]
    reports = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        reports.append(json.loads(out.splitlines()[-1]))
    assert all(report["done"] + report["skipped"] == COUNT and not report["failed"] for report in reports)
    assert contents(store) == undisturbed
    assert verify(store)["ok"]


def test_sigint_ends_a_running_extraction_with_a_report_and_its_work_committed(
    table: Path, undisturbed: dict[Any, Any], tmp_path: Path
) -> None:
    store = tmp_path / "f.zarr"
    with start(table, store, commit_every_s=60) as process:
        for line in process.stdout:
            if line.startswith("clip c020"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = json.loads(out.splitlines()[-1])
    assert report["interrupted"]
    assert 21 <= report["done"] < COUNT
    assert report["left"] == COUNT - report["done"]
    found = contents(store)
    assert 2 * report["done"] <= len(found) <= 2 * report["done"] + 2
    assert found.items() <= undisturbed.items()
    assert extract("hubert-tiny", table, store, **OPTIONS).done <= report["left"]
    assert contents(store) == undisturbed
