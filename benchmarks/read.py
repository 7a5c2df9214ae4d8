"""How long reading takes, beside the usual ways to keep features in files.

    python benchmarks/read.py [--clips 1000] [--rounds 9] [--folder FOLDER] [--json] [--no-save]

The corpus is synthetic and seeded: clips of 50 to 400 rows x 768 float16 (about 350 KB), every file in the page cache.
Everyone reads the same clips in the same random order, and every byte is copied into one reused buffer: a view that
nobody reads is no measurement. In each round all take turns, in another order each time; figures are medians of the
rounds, ratios are of medians.

- *whole clips*, and *windows* of 50 rows at random places; "irregular" is a set without a rate, whose rows are searched.
  Rivals that know no time are given row numbers. h5py and zarr-python read one array of all rows, uncompressed.
- *look-up*: the way from two string keys to a series. "Seen" is all of `read` without touching a byte.
- *batches*: 64 whole clips into one padded block (64, 400, 768) of float32 and a mask, beside copying such a block.

The result goes to `benchmarks/results/read.json`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from cuebank.store import FeatureSpec, FeatureStore, Recipe, Timebase
from cuebank.store.gather import Gatherer

RESULTS = Path(__file__).resolve().parent / "results"
DIM, LEAST, MOST, WINDOW, BATCH = 768, 50, 400, 50, 64
COMMIT_BYTES = 64 * 2**20
# (group, who, rival, the rival's time divided by ours must be at least this)
TARGETS = [
    ("whole clips", "cuebank", "np.load", 3.5),
    ("whole clips", "cuebank", "h5py, chunks of 256 rows", 3.5),
    ("whole clips", "cuebank", "h5py, contiguous", None),
    ("whole clips", "cuebank", "zarr-python, sharded", 40),
    ("whole clips", "cuebank", "np.memmap", 1 / 1.2),
    ("windows", "cuebank", "np.memmap", 1 / 1.25),
    ("windows", "cuebank, irregular", "np.memmap", 1 / 1.5),
    ("windows", "cuebank", "np.load, mmap_mode", 8),
    ("windows", "cuebank", "h5py, chunks of 256 rows", None),
    ("windows", "cuebank", "zarr-python, sharded", None),
    ("look-up", "cuebank, key not seen", "5 us", 1),
    ("look-up", "cuebank, key seen", "1.5 us", 1),
    ("batches", "cuebank, numpy buffer", "np.copyto of the block", 0.8),
    ("batches", "cuebank, torch buffer", "np.copyto of the block", 1.1),
]

Work = Callable[[int], None]


class Corpus:
    """The same clips in each format.

    Args:
        folder: where the files are made.
        clips: how many.
    """

    def __init__(self, folder: Path, clips: int) -> None:
        self.rng = np.random.default_rng(0)
        self.rows = self.rng.integers(LEAST, MOST + 1, clips)
        self.starts = np.concatenate([[0], np.cumsum(self.rows)])
        self.keys = [f"session-{i // 40:03d}/clip-{i:05d}" for i in range(clips)]
        self.folder = folder
        self.timebase = Timebase(Fraction(50), Fraction(1, 80), Fraction(1, 40))
        total = int(self.starts[-1])
        (folder / "npy").mkdir()
        pool = self.rng.standard_normal((4 * MOST, DIM)).astype(np.float16)
        flat = np.memmap(folder / "flat.raw", np.float16, "w+", shape=(total, DIM))
        for i, rows in enumerate(self.rows):
            first = self.rng.integers(0, len(pool) - rows)
            flat[self.starts[i] : self.starts[i + 1]] = pool[first : first + rows]
        with h5py.File(folder / "all.h5", "w") as file:
            file.create_dataset("chunked", data=flat, chunks=(256, DIM))
            file.create_dataset("contiguous", data=flat)
        array = zarr.create_array(
            folder / "all.zarr",
            shape=flat.shape,
            dtype=flat.dtype,
            chunks=(256, DIM),
            shards=(256 * 128, DIM),
            compressors=None,
            filters=None,
        )
        array[:] = flat
        self._write_store(flat)

    def _write_store(self, flat: np.ndarray) -> None:
        recipe = Recipe("synthetic", {"source": "random", "seed": 0})
        with FeatureStore.open(self.folder / "features.zarr", "a") as store:
            store.create(FeatureSpec("regular.x", "numeric", DIM, "float16", recipe, self.timebase))
            store.create(FeatureSpec("irregular.x", "numeric", DIM, "float16", recipe))
            for i, key in enumerate(self.keys):
                values = flat[self.starts[i] : self.starts[i + 1]]
                times = self.timebase.centers(len(values))
                valid = np.ones(len(values), bool)
                np.save(self.folder / "npy" / f"{i}.npy", values)
                store.write("regular.x", key, None, values, times, valid)
                jitter = self.rng.uniform(-0.009, 0.009, len(values))
                store.write("irregular.x", key, None, values, times + jitter, valid)
                if store.pending_bytes > COMMIT_BYTES:
                    store.commit()
            store.commit()

    def span(self, i: int) -> tuple[int, int]:
        """Rows of a clip in the flat array."""
        return int(self.starts[i]), int(self.starts[i + 1])


def whole_clips(corpus: Corpus, store: FeatureStore) -> dict[str, Work]:
    """Everyone who reads whole clips; each is called with the number of a clip."""
    buffer = np.empty((MOST, DIM), np.float16)
    file = h5py.File(corpus.folder / "all.h5", "r")
    sharded = zarr.open_array(corpus.folder / "all.zarr", mode="r")
    mapped = np.memmap(corpus.folder / "flat.raw", np.float16, "r", shape=(int(corpus.starts[-1]), DIM))
    paths = [str(corpus.folder / "npy" / f"{i}.npy") for i in range(len(corpus.rows))]
    spans = [corpus.span(i) for i in range(len(corpus.rows))]

    def keep(values: np.ndarray) -> None:
        np.copyto(buffer[: len(values)], values)

    def from_h5py(dataset: Any) -> Work:
        def read(i: int) -> None:
            first, last = spans[i]
            dataset.read_direct(buffer, np.s_[first:last], np.s_[: last - first])

        return read

    return {
        "cuebank": lambda i: keep(store.read("regular.x", corpus.keys[i]).values),
        "cuebank, out=": lambda i: store.read("regular.x", corpus.keys[i], out=buffer) and None,
        "np.memmap": lambda i: keep(mapped[spans[i][0] : spans[i][1]]),
        "np.load": lambda i: keep(np.load(paths[i])),
        "h5py, contiguous": from_h5py(file["contiguous"]),
        "h5py, chunks of 256 rows": from_h5py(file["chunked"]),
        "zarr-python, sharded": lambda i: keep(sharded[spans[i][0] : spans[i][1]]),
    }


def windows(corpus: Corpus, store: FeatureStore) -> dict[str, Work]:
    """Everyone who reads 50 rows somewhere in a clip; the place depends on the number of the clip only."""
    buffer = np.empty((MOST, DIM), np.float16)
    file = h5py.File(corpus.folder / "all.h5", "r")
    sharded = zarr.open_array(corpus.folder / "all.zarr", mode="r")
    mapped = np.memmap(corpus.folder / "flat.raw", np.float16, "r", shape=(int(corpus.starts[-1]), DIM))
    paths = [str(corpus.folder / "npy" / f"{i}.npy") for i in range(len(corpus.rows))]
    row = [int(corpus.rng.integers(0, rows - WINDOW + 1)) for rows in corpus.rows]
    first = [int(corpus.starts[i]) + row[i] for i in range(len(row))]
    step = 1 / float(corpus.timebase.rate_hz)
    begin = [(row[i] + 0.125) * step for i in range(len(row))]  # half a step before the centre of that row
    end = [begin[i] + WINDOW * step for i in range(len(row))]

    def keep(values: np.ndarray) -> None:
        np.copyto(buffer[: len(values)], values)

    def from_store(name: str) -> Work:
        return lambda i: keep(store.read(name, corpus.keys[i], None, begin[i], end[i]).values)

    def from_h5py(dataset: Any) -> Work:
        return lambda i: dataset.read_direct(buffer, np.s_[first[i] : first[i] + WINDOW], np.s_[:WINDOW])

    return {
        "cuebank": from_store("regular.x"),
        "cuebank, irregular": from_store("irregular.x"),
        "np.memmap": lambda i: keep(mapped[first[i] : first[i] + WINDOW]),
        "np.load, mmap_mode": lambda i: keep(np.load(paths[i], mmap_mode="r")[row[i] : row[i] + WINDOW]),
        "h5py, contiguous": from_h5py(file["contiguous"]),
        "h5py, chunks of 256 rows": from_h5py(file["chunked"]),
        "zarr-python, sharded": lambda i: keep(sharded[first[i] : first[i] + WINDOW]),
    }
