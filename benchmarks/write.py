"""How long durable writing takes, beside writing the same bytes to one raw file.

    python benchmarks/write.py [--series 10000] [--pairs 5] [--folder FOLDER] [--json] [--no-save]

The corpus is synthetic and seeded: series of 50 to 400 rows x 768 float16 with times and flags (3.5 GB for 10,000),
handed over one by one. Each run is a fresh process; its clock runs from opening to closing, imports do not count.

- *raw*: values, times and flags of all series, one after the other, into one file, with `fsync` at each commit point,
  every 64 MiB.
- *in line*: `store.write` for each series, `store.commit()` whenever 64 MiB are pending.
- *handed over*: the writer of the extraction runs (`SeriesWriter`): another thread writes and commits, this one
  hands over views of the noise, faster than any model; so the up to 256 MiB that may wait are not in the memory below.
- *two writers*: two `FeatureStore` objects on one store; while one commits in a thread, the other fills.

Raw and ours take turns, as pairs, each pair in the other order; before each run all that waits for the disk is
written. Ratios are raw / ours, the median of the pairs. Memory is the peak of the whole process (VmHWM): interpreter,
imports, the noise (2.4 MB) and resident pages of mapped files count; the page cache does not.

*Codecs*: a twentieth of the series written in line, then all read, in one process; for information. *Fold*: compaction
and closing of the HDF5 store, which makes it one file; counted apart from writing, and once.

The result goes to `benchmarks/results/write_cpu.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py  # noqa: F401 (imports do not count)
import numpy as np
from corpus import COMMIT_BYTES, CONTAINERS, Noise, spec
from machine import finish, footer, in_fresh_process, machine, memory_mib

from cuebank.extractors.base import Rows
from cuebank.extractors.series_writer import SeriesWriter
from cuebank.store import FeatureStore, Key
from cuebank.store.compact import compact

NAME = "noise.x"
TARGETS = {"Zarr": 0.7, "HDF5": 0.6}
MEMORY_MIB = 300
CODECS = ("none", "zstd", "blosc")


def write_raw(path: Path, noise: Noise) -> None:
    """Everything into one file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    pending = 0
    for i in range(len(noise.rows)):
        for array in noise.series(i):
            view = memoryview(array).cast("B")
            while len(view):
                view = view[os.write(fd, view) :]
            pending += array.nbytes
        if pending >= COMMIT_BYTES:
            os.fsync(fd)
            pending = 0
    os.fsync(fd)
    os.close(fd)


def in_line(path: Path, noise: Noise) -> None:
    """One thread writes and commits."""
    with FeatureStore.open(path, "a") as store:
        store.create(spec(NAME))
        for i, key in enumerate(noise.keys):
            store.write(NAME, key, None, *noise.series(i))
            if store.pending_bytes >= COMMIT_BYTES:
                store.commit()
        store.commit()


def handed_over(path: Path, noise: Noise) -> None:
    """This thread hands over, another one writes and commits."""
    with FeatureStore.open(path, "a") as store:
        store.create(spec(NAME))
        writer = SeriesWriter(store, commit_every_s=3600)
        for i, key in enumerate(noise.keys):
            writer.put(NAME, Key(key), Rows(*noise.series(i)))
        writer.finish()


def two_writers(path: Path, noise: Noise) -> None:
    """One store object fills while the other commits."""
    with (
        FeatureStore.open(path, "a") as store,
        FeatureStore.open(path, "a") as other,
        ThreadPoolExecutor(1) as pool,
    ):
        store.create(spec(NAME))
        committing: Future[None] | None = None
        for i, key in enumerate(noise.keys):
            store.write(NAME, key, None, *noise.series(i))
            if store.pending_bytes >= COMMIT_BYTES:
                if committing is not None:
                    committing.result()
                committing = pool.submit(store.commit)
                store, other = other, store
        if committing is not None:
            committing.result()
        store.commit()


WAYS: dict[str, Callable[[Path, Noise], None]] = {
    "raw": write_raw,
    "in line": in_line,
    "handed over": handed_over,
    "two writers": two_writers,
}


def run_once(way: str, path: Path, series: int) -> dict[str, float]:
    """Write everything in this process."""
    noise = Noise(series)
    before = memory_mib("VmHWM")
    os.sync()
    started, cpu = time.perf_counter(), time.process_time()
    WAYS[way](path, noise)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"seconds": seconds, "processor_s": cpu, "peak_mib": memory_mib("VmHWM"), "before_mib": before}


def fold_once(path: Path) -> dict[str, float]:
    """Compact a store and close it."""
    os.sync()
    started = time.perf_counter()
    with FeatureStore.open(path, "a") as store:
        compact(store)
    return {"seconds": time.perf_counter() - started, "peak_mib": memory_mib("VmHWM")}


def code_once(codec: str, path: Path, series: int) -> dict[str, float]:
    """Write and read with a codec in this process; speeds are of the rows as they are in memory."""
    noise = Noise(series)
    size = sum(array.nbytes for i in range(series) for array in noise.series(i)) / 2**20
    os.sync()
    started = time.perf_counter()
    with FeatureStore.open(path, "a") as store:
        store.create(spec(NAME, codec=codec))
        for i, key in enumerate(noise.keys):
            store.write(NAME, key, None, *noise.series(i))
            if store.pending_bytes >= COMMIT_BYTES:
                store.commit()
        store.commit()
    written = time.perf_counter()
    buffer = np.empty_like(noise.values(int(np.argmax(noise.rows))))
    with FeatureStore.open(path) as store:
        stored = store.info()["feature_sets"][NAME]["bytes"] / 2**20
        began = time.perf_counter()
        for i in noise.rng.permutation(series).tolist():
            store.read(NAME, noise.keys[i], out=buffer)
        ended = time.perf_counter()
    return {"write_mib_s": size / (written - started), "read_mib_s": size / (ended - began), "size": stored / size}


def child(words: list[str]) -> dict[str, float]:
    """Do what the parent asks for: `run WAY PATH SERIES`, `fold PATH` or `code CODEC PATH SERIES`."""
    if words[0] == "fold":
        return fold_once(Path(words[1]))
    return {"run": run_once, "code": code_once}[words[0]](words[1], Path(words[2]), int(words[3]))


def remove(path: Path) -> None:
    """Take away a store or a file, and what is beside it."""
    for one in path.parent.glob(path.name + "*"):
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()


def measure_ways(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """All pairs; the container and the way change from pair to pair, so that all meet the same weather."""
    contenders = [(container, way) for container in CONTAINERS for way in WAYS if way != "raw"]
    raws: dict[Any, list[Any]] = {one: [] for one in contenders}
    ours: dict[Any, list[Any]] = {one: [] for one in contenders}
    for number in range(options.pairs):
        for one in contenders:
            container, way = one
            for who in ("raw", way) if number % 2 else (way, "raw"):
                path = folder / f"out{'.raw' if who == 'raw' else CONTAINERS[container]}"
                run = in_fresh_process(__file__, "--child", "run", who, path, options.series)
                (raws if who == "raw" else ours)[one].append(run)
                remove(path)
            ratio = raws[one][-1]["seconds"] / ours[one][-1]["seconds"]
            print(f"pair {number + 1}: {container}, {way}: {ratio:.2f}", file=sys.stderr)
    told = []
    for one in contenders:
        ratios = [raw["seconds"] / our["seconds"] for raw, our in zip(raws[one], ours[one], strict=True)]
        ratio, peak = statistics.median(ratios), max(run["peak_mib"] for run in ours[one])
        told.append(
            {
                "container": one[0],
                "way": one[1],
                "raw_s": round(statistics.median(run["seconds"] for run in raws[one]), 3),
                "seconds": round(statistics.median(run["seconds"] for run in ours[one]), 3),
                "raw_processor_s": round(statistics.median(run["processor_s"] for run in raws[one]), 3),
                "processor_s": round(statistics.median(run["processor_s"] for run in ours[one]), 3),
                "ratio": round(ratio, 3),
                "least": TARGETS[one[0]],
                "met": ratio >= TARGETS[one[0]],
                "peak_mib": round(peak, 1),
                "before_mib": round(max(run["before_mib"] for run in ours[one]), 1),
                "memory_limit_mib": MEMORY_MIB,
                "memory_met": peak < MEMORY_MIB,
                "all_ratios": [round(one_, 3) for one_ in ratios],
            }
        )
    return told


def measure_codecs(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Each codec in each container, once."""
    told = []
    for container, suffix in CONTAINERS.items():
        for codec in CODECS:
            path = folder / f"coded{suffix}"
            run = in_fresh_process(__file__, "--child", "code", codec, path, max(1, options.series // 20))
            told.append({"container": container, "codec": codec, **{name: round(run[name], 3) for name in run}})
            remove(path)
    return told


def measure_fold(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """The fold of an HDF5 store that holds everything."""
    path = folder / "folded.h5"
    in_fresh_process(__file__, "--child", "run", "in line", path, options.series)
    run = in_fresh_process(__file__, "--child", "fold", path)
    remove(path)
    return {name: round(value, 2) for name, value in run.items()}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything and put the numbers together."""
    noise = Noise(options.series)
    about = machine("numpy", "h5py", "numcodecs", "google-crc32c")
    return {
        "benchmark": "write",
        "n_series": options.series,
        "rows": int(noise.starts[-1]),
        "gigabytes": round(int(noise.starts[-1]) * (2 * noise.values(0).shape[1] + 9) / 1e9, 2),
        "pairs": options.pairs,
        "commit_mib": COMMIT_BYTES // 2**20,
        "ways": measure_ways(options, folder),
        "codecs": measure_codecs(options, folder),
        "hdf5_fold": measure_fold(options, folder),
        **about,
    }


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    head = f"{result['n_series']} series, {result['gigabytes']} GB, commits every {result['commit_mib']} MiB"
    lines = [f"{head}, medians of {result['pairs']} pairs", ""]
    titles = ("raw s", "ours s", "raw CPU", "CPU s", "raw/ours", "at least", "peak MiB")
    lines.append(" " * 20 + "".join(f"{title:>10}" for title in titles))
    for one in result["ways"]:
        missed = [what for what, met in (("ratio", one["met"]), (f"< {MEMORY_MIB} MiB", one["memory_met"])) if not met]
        names = ("raw_s", "seconds", "raw_processor_s", "processor_s", "ratio", "least")
        cells = "".join(f"{one[name]:>10.2f}" for name in names) + f"{one['peak_mib']:>10.0f}"
        note = f"  MISSED: {', '.join(missed)}" if missed else ""
        lines.append(f"{one['container'] + ', ' + one['way']:<20}{cells}{note}")
    lines += ["", f"{'codec':<20} {'write MiB/s':>12} {'read MiB/s':>12} {'size':>7}"]
    for one in result["codecs"]:
        lines.append(
            f"{one['container'] + ', ' + one['codec']:<20} {one['write_mib_s']:>12.0f} {one['read_mib_s']:>12.0f} "
            f"{one['size']:>7.2f}"
        )
    fold = result["hdf5_fold"]
    lines += [
        "",
        f"HDF5: compacted and folded into one file in {fold['seconds']} s, {fold['peak_mib']:.0f} MiB at most",
    ]
    return "\n".join([*lines, footer(result)])


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write (8 GB at once); default: a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(options, Path(folder))
    finish(result, to_text(result), "write_cpu", options.json, not options.no_save)


if __name__ == "__main__":
    main()
