"""A small kit for tests of the store: a container to test, where its bytes lie, feature sets, series, processes."""

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


class Layout:
    """What lies where in a store that is a Zarr folder, or HDF5 files; the store itself need not be sound.

    Args:
        path: of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hdf5 = path.suffix == ".h5"
        self.root = path.with_name(path.name + ".segments") if self.hdf5 else path  # the folder of the feature sets

    @property
    def parts(self) -> list[str]:
        """Names of what the store is made of, whether or not it is there."""
        return [self.path.name, self.root.name] if self.hdf5 else [self.path.name]

    @property
    def beside(self) -> list[str]:
        """Names of all that lies in the folder of the store."""
        return sorted(path.name for path in self.path.parent.iterdir())

    @property
    def strangers(self) -> list[str]:
        """Names of what lies beside the store and is no part of it."""
        return [name for name in self.beside if name not in self.parts]

    def files(self) -> list[Path]:
        """Return all files of the store, sorted."""
        tops = [self.path.with_name(name) for name in self.parts]
        found = [path for top in tops if top.is_dir() for path in top.rglob("*")]
        return sorted(path for path in [*tops, *found] if path.is_file())

    def contents(self) -> dict[Path, bytes]:
        """Return what is in each file."""
        return {path: path.read_bytes() for path in self.files()}

    def holds(self, marker: bytes) -> bool:
        """Return whether some bytes are anywhere in the folder of the store, the writing area included."""
        return any(marker in path.read_bytes() for path in self.path.parent.rglob("*") if path.is_file())

    def bundles(self, part: str = "segments", feature_set: str = "demo.x") -> list[Path]:
        """Return the folders or files of the segments, or of the merged indexes, from the oldest to the newest."""
        folder = self.root / feature_set / part
        return sorted(path for path in folder.glob("[0-9]*")) if folder.is_dir() else []

    def document(self, bundle: Path) -> Path:
        """Return the file that says what a bundle is."""
        return bundle if self.hdf5 else bundle / "zarr.json"

    def damage(self, key: tuple[str, str | None], name: str = "values", feature_set: str = "demo.x") -> None:
        """Flip a bit of the rows of a series, as the disk might."""
        with FeatureStore.open(self.path) as store:
            segment, place = store._committed(feature_set).locate(*key)
            rows = segment.file.map_rows(name)
            if isinstance(rows, np.ndarray):
                begin = segment.file.stored.region(name)[0] if self.hdf5 else 0
                offset = begin + place.start * rows.strides[0]
            else:
                offset = int(rows.entries[place.start // rows.chunk_rows, 0]) + 20
            if self.hdf5:
                path = Path(segment.file.stored.file.path)
            else:
                path = Path(segment.file.folder) / name / ("0.0" if name == "values" else "0")
        self.flip(path, 8 * offset + 1)

    @staticmethod
    def flip(path: Path, bit: int) -> None:
        """Flip a bit of a file."""
        data = bytearray(path.read_bytes())
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)


@pytest.fixture
def layout() -> type[Layout]:
    """Return what knows where the bytes of a store lie."""
    return Layout


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
    return _small_store(store_path)


def _small_store(store_path: Path) -> Path:
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
def zarr_store(quick_path: Path) -> Path:
    """The small store as Zarr: for tests of what is in its files."""
    return _small_store(quick_path / "features.zarr")


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
