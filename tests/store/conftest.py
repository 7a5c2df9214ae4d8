"""A small kit for tests of the store: a container to test, feature sets, series, and programs run as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest

from cuebank.store import FeatureSpec, FeatureStore, Recipe, Series, Timebase

PROGRAMS = Path(__file__).resolve().parent / "programs"


@pytest.fixture(params=["zarr", "h5"])
def container(request: pytest.FixtureRequest) -> str:
    """Each container in turn; the contract tests hold for all."""
    return request.param


@pytest.fixture
def quick_path(tmp_path: Path) -> Path:
    """A folder in memory where there is one: for tests that sync thousands of times and lose nothing but processes."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="cuebank-test-") as folder:
        yield Path(folder)


@pytest.fixture
def store_path(quick_path: Path, container: str) -> Path:
    """Where a store of this container may be made, in a folder of its own."""
    return quick_path / f"features.{container}"


def _make_spec(name: str = "demo.x", dim: int = 3, dtype: str = "float32", **recipe: Any) -> FeatureSpec:
    timebase = Timebase(Fraction(50), Fraction(1, 80), Fraction(1, 40))
    made = Recipe(**{"backbone": "demo", "weights": {"source": "none", "seed": 7}, **recipe})
    return FeatureSpec(name, "numeric", dim, dtype, made, timebase)


@pytest.fixture
def make_spec() -> Callable[..., FeatureSpec]:
    """Return a maker of descriptions."""
    return _make_spec


def _make_series(seed: int, rows: int = 5, dim: int = 3, dtype: str = "float32") -> Series:
    rng = np.random.default_rng(seed)
    valid = rng.random(rows) < 0.8
    values = np.where(valid[:, None], rng.standard_normal((rows, dim)), 0).astype(dtype)
    return Series(values, np.sort(rng.random(rows) * 10), valid)


@pytest.fixture
def make_series() -> Callable[..., Series]:
    """Return a maker of series that equal what is read back after they were written."""
    return _make_series


@pytest.fixture
def small_store(store_path: Path) -> Path:
    """A store with one feature set `demo.x` of two segments: clips c0…c3, c4/left, and a failed one."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(_make_spec())
        for i in range(4):
            store.write("demo.x", f"c{i}", None, *_make_series(i, rows=4 + i))
        store.record_failure("demo.x", "bad", None, "no sound")
        store.commit()
        store.write("demo.x", "c4", "left", *_make_series(4))
        store.commit()
    return store_path


@pytest.fixture
def run_program() -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts a program of the folder `programs`; `log` takes its output."""
    started = []

    def run(name: str, *arguments: object, log: TextIO | int = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, PROGRAMS / name, *map(str, arguments)],
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
