"""How long reading takes, beside the usual ways to keep features in files.

    python benchmarks/read.py [--clips 1000] [--rounds 15] [--folder FOLDER] [--fold] [--json] [--no-save]

The corpus is synthetic and seeded: clips of 50 to 400 rows x 768 float16 (about 350 KB), every file in the page cache.
"cuebank" is a store in the Zarr container, "cuebank, HDF5" one in the other, as commits leave it; with `--fold` both
are compacted first, which makes the HDF5 one a single file.

Everyone reads the same clips in the same random order, and every byte is copied into one reused buffer: a view that
nobody reads is no measurement. In each round all take turns, in another order each time; a turn is every clip once.
Figures are medians of the rounds, ratios are of medians.

- *whole clips*, and *windows* of 50 rows at random places; "irregular" is a set without a rate: rows are searched.
  Rivals that know no time are given row numbers. h5py and zarr-python read one array of all rows, uncompressed.
- *look-up*: the way from two string keys to a series: `missing` of one key, which remembers nothing from call to call;
  "seen" is all of `read` of a key that was read before, without touching a byte.
- *batches*: 64 whole clips into one padded block (64, 400, 768) of float32 and a mask, beside copying such a block.

The result goes to `benchmarks/results/read_cpu.json`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from corpus import COMMIT_BYTES, CONTAINERS, DIM, MOST, TIMEBASE, Noise, spec
from machine import finish, footer, machine

from cuebank.store import FeatureStore
from cuebank.store.compact import compact
from cuebank.store.gather import Gatherer

WINDOW, BATCH, BATCHES = 50, 64, 16
# (group, who, rival, the rival's time divided by ours must be at least this)
TARGETS = [
    ("whole clips", "cuebank", "np.load", 3.5),
    ("whole clips", "cuebank", "h5py, chunks of 256 rows", 3.5),
    ("whole clips", "cuebank", "h5py, contiguous", None),
    ("whole clips", "cuebank", "zarr-python, sharded", 40),
    ("whole clips", "cuebank", "np.memmap", 1 / 1.2),
    ("whole clips", "cuebank, HDF5", "cuebank", 0.9),
    ("whole clips", "cuebank, HDF5, out=", "cuebank, out=", 0.9),
    ("windows", "cuebank", "np.memmap", 1 / 1.25),
    ("windows", "cuebank, irregular", "np.memmap", 1 / 1.5),
    ("windows", "cuebank, HDF5", "cuebank", 0.9),
    ("windows", "cuebank, HDF5, irregular", "cuebank, irregular", 0.9),
    ("windows", "cuebank", "np.load, mmap_mode", 8),
    ("windows", "cuebank", "h5py, chunks of 256 rows", None),
    ("windows", "cuebank", "zarr-python, sharded", None),
    ("look-up", "cuebank, key not seen", "5 us", 1),
    ("look-up", "cuebank, key seen", "1.5 us", 1),
    ("look-up", "cuebank, HDF5, key not seen", "cuebank, key not seen", 0.9),
    ("look-up", "cuebank, HDF5, key seen", "cuebank, key seen", 0.9),
    ("batches", "cuebank, numpy buffer", "np.copyto of the block", 0.8),
    ("batches", "cuebank, torch buffer", "np.copyto of the block", 1.1),
    ("batches", "cuebank, HDF5, numpy buffer", "cuebank, numpy buffer", 0.9),
    ("batches", "cuebank, HDF5, torch buffer", "cuebank, torch buffer", 0.9),
]

Work = Callable[[int], None]


class Corpus(Noise):
    """The same clips in each format.

    Args:
        folder: where the files are made.
        clips: how many.
        fold: whether the stores are compacted.
    """

    def __init__(self, folder: Path, clips: int, fold: bool) -> None:
        super().__init__(clips)
        self.folder = folder
        (folder / "npy").mkdir()
        flat = np.memmap(folder / "flat.raw", np.float16, "w+", shape=(int(self.starts[-1]), DIM))
        for i in range(clips):
            flat[self.starts[i] : self.starts[i + 1]] = self.values(i)
            np.save(folder / "npy" / f"{i}.npy", self.values(i))
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
        jitter = [self.rng.uniform(-0.009, 0.009, rows) for rows in self.rows]
        for suffix in CONTAINERS.values():
            self._write_store(folder / f"features{suffix}", jitter, fold)

    def _write_store(self, path: Path, jitter: list[np.ndarray], fold: bool) -> None:
        with FeatureStore.open(path, "a") as store:
            store.create(spec("regular.x"))
            store.create(spec("irregular.x", regular=False))
            for i, key in enumerate(self.keys):
                values, times, valid = self.series(i)
                store.write("regular.x", key, None, values, times, valid)
                store.write("irregular.x", key, None, values, times + jitter[i], valid)
                if store.pending_bytes > COMMIT_BYTES:
                    store.commit()
            store.commit()
            if fold:
                compact(store)

    def span(self, i: int) -> tuple[int, int]:
        """Rows of a clip in the flat array."""
        return int(self.starts[i]), int(self.starts[i + 1])


def whole_clips(corpus: Corpus, store: FeatureStore, other: FeatureStore) -> dict[str, Work]:
    """Everyone who reads whole clips; each is called with the number of a clip."""
    buffer = np.empty((MOST, DIM), np.float16)
    file = h5py.File(corpus.folder / "all.h5", "r")
    sharded = zarr.open_array(corpus.folder / "all.zarr", mode="r")
    mapped = np.memmap(corpus.folder / "flat.raw", np.float16, "r", shape=(int(corpus.starts[-1]), DIM))
    paths = [str(corpus.folder / "npy" / f"{i}.npy") for i in range(len(corpus.rows))]
    spans, keys = [corpus.span(i) for i in range(len(corpus.rows))], corpus.keys

    def keep(values: np.ndarray) -> None:
        np.copyto(buffer[: len(values)], values)

    def from_h5py(dataset: Any) -> Work:
        def read(i: int) -> None:
            first, last = spans[i]
            dataset.read_direct(buffer, np.s_[first:last], np.s_[: last - first])

        return read

    return {
        "cuebank": lambda i: keep(store.read("regular.x", keys[i]).values),
        "cuebank, out=": lambda i: store.read("regular.x", keys[i], out=buffer) and None,
        "cuebank, HDF5": lambda i: keep(other.read("regular.x", keys[i]).values),
        "cuebank, HDF5, out=": lambda i: other.read("regular.x", keys[i], out=buffer) and None,
        "np.memmap": lambda i: keep(mapped[spans[i][0] : spans[i][1]]),
        "np.load": lambda i: keep(np.load(paths[i])),
        "h5py, contiguous": from_h5py(file["contiguous"]),
        "h5py, chunks of 256 rows": from_h5py(file["chunked"]),
        "zarr-python, sharded": lambda i: keep(sharded[spans[i][0] : spans[i][1]]),
    }


def windows(corpus: Corpus, store: FeatureStore, other: FeatureStore) -> dict[str, Work]:
    """Everyone who reads 50 rows somewhere in a clip; the place depends on the number of the clip only."""
    buffer = np.empty((MOST, DIM), np.float16)
    file = h5py.File(corpus.folder / "all.h5", "r")
    sharded = zarr.open_array(corpus.folder / "all.zarr", mode="r")
    mapped = np.memmap(corpus.folder / "flat.raw", np.float16, "r", shape=(int(corpus.starts[-1]), DIM))
    paths = [str(corpus.folder / "npy" / f"{i}.npy") for i in range(len(corpus.rows))]
    row = [int(corpus.rng.integers(0, rows - WINDOW + 1)) for rows in corpus.rows]
    first = [int(corpus.starts[i]) + row[i] for i in range(len(row))]
    keys, step = corpus.keys, 1 / float(TIMEBASE.rate_hz)
    begin = [(row[i] + 0.125) * step for i in range(len(row))]  # half a step before the centre of that row
    end = [begin[i] + WINDOW * step for i in range(len(row))]

    def keep(values: np.ndarray) -> None:
        np.copyto(buffer[: len(values)], values)

    def from_store(store: FeatureStore, name: str) -> Work:
        return lambda i: keep(store.read(name, keys[i], None, begin[i], end[i]).values)

    def from_h5py(dataset: Any) -> Work:
        return lambda i: dataset.read_direct(buffer, np.s_[first[i] : first[i] + WINDOW], np.s_[:WINDOW])

    return {
        "cuebank": from_store(store, "regular.x"),
        "cuebank, irregular": from_store(store, "irregular.x"),
        "cuebank, HDF5": from_store(other, "regular.x"),
        "cuebank, HDF5, irregular": from_store(other, "irregular.x"),
        "np.memmap": lambda i: keep(mapped[first[i] : first[i] + WINDOW]),
        "np.load, mmap_mode": lambda i: keep(np.load(paths[i], mmap_mode="r")[row[i] : row[i] + WINDOW]),
        "h5py, contiguous": from_h5py(file["contiguous"]),
        "h5py, chunks of 256 rows": from_h5py(file["chunked"]),
        "zarr-python, sharded": lambda i: keep(sharded[first[i] : first[i] + WINDOW]),
    }


def look_ups(corpus: Corpus, store: FeatureStore, other: FeatureStore) -> dict[str, Work]:
    """The way to a series, without its bytes."""
    keys = corpus.keys
    return {
        "cuebank, key not seen": lambda i: store.missing("regular.x", [(keys[i], None)]) and None,
        "cuebank, key seen": lambda i: store.read("regular.x", keys[i]) and None,
        "cuebank, HDF5, key not seen": lambda i: other.missing("regular.x", [(keys[i], None)]) and None,
        "cuebank, HDF5, key seen": lambda i: other.read("regular.x", keys[i]) and None,
    }


def batches(corpus: Corpus, store: FeatureStore, other: FeatureStore) -> dict[str, Work]:
    """Everyone who makes padded batches; each is called with the number of a batch."""
    block = corpus.rng.standard_normal((BATCH, MOST, DIM)).astype(np.float32)
    copy = np.zeros_like(block)
    # More batches than the processor's cache holds, so that nobody finds what the one before has just read.
    chosen = [
        [(corpus.keys[i], None) for i in corpus.rng.permutation(len(corpus.keys))[:BATCH]] for _ in range(BATCHES)
    ]

    def gather(store: FeatureStore, out: Any) -> Work:
        gatherer = Gatherer(store, "regular.x", out=out)
        return lambda i: gatherer.gather(chosen[i]) and None

    made: dict[str, Work] = {
        "np.copyto of the block": lambda i: np.copyto(copy, block),
        "cuebank, numpy buffer": gather(store, np.zeros_like(block)),
        "cuebank, HDF5, numpy buffer": gather(other, np.zeros_like(block)),
    }
    spans = dict(zip(corpus.keys, map(corpus.span, range(len(corpus.keys))), strict=True))
    mapped = np.memmap(corpus.folder / "flat.raw", np.float16, "r", shape=(int(corpus.starts[-1]), DIM)).view(
        np.ndarray
    )
    plain = np.zeros_like(block)

    def by_hand(i: int) -> None:
        plain[:] = 0
        for item, (key, _) in enumerate(chosen[i]):
            first, last = spans[key]
            plain[item, : last - first] = mapped[first:last]

    made["numpy assignment by hand"] = by_hand
    try:
        import torch
    except ImportError:
        return made
    made["cuebank, torch buffer"] = gather(store, torch.zeros(BATCH, MOST, DIM))
    made["cuebank, HDF5, torch buffer"] = gather(other, torch.zeros(BATCH, MOST, DIM))
    series = [torch.from_numpy(np.array(mapped[first:last])) for first, last in spans.values()]
    number = {key: i for i, key in enumerate(corpus.keys)}

    def pad_sequence(i: int) -> None:
        rows = [series[number[key]].float() for key, _ in chosen[i]]
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    made["torch pad_sequence, from memory"] = pad_sequence
    return made


def time_group(made: dict[str, Work], count: int, rounds: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return for each contender the median and all of the microseconds an item, one number a round."""
    taken: dict[str, list[float]] = {name: [] for name in made}
    for work in made.values():
        for i in range(count):
            work(i)  # page cache, checksums, keys
    names = list(made)
    for _ in range(rounds):
        order = rng.permutation(count).tolist()
        for name in rng.permutation(names).tolist():  # nobody always comes after the same one
            work = made[name]
            started = time.perf_counter()
            for i in order:
                work(i)
            taken[name].append((time.perf_counter() - started) / count * 1e6)
    return {
        name: {"us": round(statistics.median(us), 3), "rounds_us": [round(one, 3) for one in us]}
        for name, us in taken.items()
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything and put the numbers together."""
    about = machine("numpy", "h5py", "zarr", "torch")
    corpus = Corpus(folder, options.clips, options.fold)
    stores = [FeatureStore.open(folder / f"features{suffix}") for suffix in CONTAINERS.values()]
    groups = {}
    for name, make, count in (
        ("whole clips", whole_clips, options.clips),
        ("windows", windows, options.clips),
        ("look-up", look_ups, options.clips),
        ("batches", batches, BATCHES),
    ):
        groups[name] = time_group(make(corpus, *stores), count, options.rounds, np.random.default_rng(1))
    ratios = []
    for group, who, rival, least in TARGETS:
        if who not in groups[group]:
            continue  # no torch
        limit = float(rival.split()[0]) if rival.endswith(" us") else groups[group][rival]["us"]
        ratio = limit / groups[group][who]["us"]
        met = None if least is None else ratio >= least
        ratios.append(
            {"group": group, "who": who, "rival": rival, "ratio": round(ratio, 3), "least": least, "met": met}
        )
    return {
        "benchmark": "read",
        "n_clips": options.clips,
        "rows": int(corpus.starts[-1]),
        "dim": DIM,
        "rounds": options.rounds,
        "folded": options.fold,
        "microseconds": groups,
        "ratios": ratios,
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    lines = [f"{result['n_clips']} clips, {result['rows']:,} rows x {result['dim']} float16, hot, medians"]
    for group, made in result["microseconds"].items():
        lines += ["", f"{group:<36} {'us each':>12}"]
        lines += [f"  {name:<34} {one['us']:>12.2f}" for name, one in made.items()]
    lines += ["", f"{'ratios':<60} {'times':>8} {'at least':>9}"]
    for one in result["ratios"]:
        least = "" if one["least"] is None else f"{one['least']:.2f}"
        named = f"{one['group']}: {one['rival']} / {one['who']}"
        lines.append(f"  {named:<58} {one['ratio']:>8.2f} {least:>9}{'  MISSED' if one['met'] is False else ''}")
    return "\n".join([*lines, "", footer(result)])


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where to make the files (5 GB); default: a temporary folder")
    parser.add_argument("--fold", action="store_true", help="compact the stores first")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(options, Path(folder))
    finish(result, to_text(result), "read_cpu", options.json, not options.no_save)


if __name__ == "__main__":
    main()
