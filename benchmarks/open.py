"""How long opening a store of very many series takes, how long finding one of them, and how much memory it needs.

    python benchmarks/open.py [--quick] [--rounds 5] [--folder FOLDER] [--json] [--no-save]

The stores are synthetic: series of 1 to 3 rows x 8 float16, keys of a clip and an entity (`many.py` says how they are
made). Each run is a fresh process; files are in the page cache, imports do not count. All stores take turns.

- *open*: `FeatureStore.open`, `len(store.series(name))`, and one look-up.
- *look-up*: `store.missing(name, [key])` for 20,000 keys that are there, each once, in random order. Like the reads
  they are timed in blocks of 200, of which the median counts: other processes interrupt whole blocks.
- *read*: `store.read` of 4,000 others, each once (it maps their segment and computes their checksum), then all of
  these again in another order. Rows are not touched otherwise.
- *memory*: growth of the process's resident memory from after the imports to after the opening, after the look-ups and
  after the reads; resident pages of mapped files count. The largest of all rounds.

"Large" segments are those that compaction leaves apart; theirs are small all the same, `compact.SMALL_BYTES` was 0 when
it ran. What there is to compare with is everybody's way without cuebank: zarr-python, or h5py, reads the ids of all
segments into one dictionary; measured once, for at most 500 segments, and scaled up to all.

`--quick` makes stores of a tenth, with the same limits, and keeps no result. The result goes to
`benchmarks/results/open_cpu.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from corpus import CONTAINERS
from machine import finish, footer, in_fresh_process, machine, memory_mib
from many import NAME, Plan, key, make

from cuebank.store import FeatureStore
from cuebank.store.containers import hdf5 as _hdf5  # noqa: F401 (imports do not count)
from cuebank.store.containers import zarr as _zarr  # noqa: F401

BLOCK = 200
SAMPLE = 500  # segments that the others read
PLANS = {
    "100,000 series": Plan(100_000, 10, False, True),
    "1,000,000 series": Plan(1_000_000, 20, False, True),
    "1,000,000 in 5,000 large segments": Plan(1_000_000, 5000, True, True),
    "100,000 in 2,000, not compacted": Plan(100_000, 2000, False, False),
}
# store, what, limit: must be below; for both containers
LIMITS = [
    ("100,000 series", "open_ms", 20.0),
    ("1,000,000 series", "open_ms", 60.0),
    ("1,000,000 series", "memory_mib", 150.0),
    ("1,000,000 in 5,000 large segments", "open_ms", 60.0),
    ("1,000,000 in 5,000 large segments", "memory_mib", 150.0),
    *((name, what, limit) for name in list(PLANS)[:3] for what, limit in (("look_up_us", 5.0), ("seen_us", 1.5))),
    ("100,000 in 2,000, not compacted", "open_ms", 500.0),
]
COLUMNS = {
    "open_ms": ("open ms", 1),
    "look_up_us": ("look-up us", 2),
    "read_us": ("read us", 2),
    "seen_us": ("again us", 2),
    "opened_mib": ("opened MiB", 1),
    "memory_mib": ("found MiB", 1),
    "read_mib": ("read MiB", 1),
}


def open_once(path: Path, series: int, count: int) -> dict[str, float]:
    """Open a store and look for keys, in this process."""
    rng = np.random.default_rng()
    chosen = rng.permutation(series)[: count + count // 5 + 1].tolist()
    wanted = [[key(i)] for i in chosen[1 : count + 1]]
    others = [key(i) for i in chosen[count + 1 :]]
    again = [others[i] for i in rng.permutation(len(others)).tolist()]
    first = [key(chosen[0])]
    before = memory_mib()
    clock = time.perf_counter
    started = clock()
    store = FeatureStore.open(path)
    found = len(store.series(NAME))
    absent = store.missing(NAME, first)
    opened = clock()
    opened_mib = memory_mib() - before
    if found != series or absent:
        raise RuntimeError(f"{found} of {series} series were found, {absent} was not")
    look_up_us = _block_us(lambda one: store.missing(NAME, one), wanted)
    memory = memory_mib() - before
    read_us = _block_us(lambda one: store.read(NAME, *one), others)
    seen_us = _block_us(lambda one: store.read(NAME, *one), again)
    if any(store.missing(NAME, one) for one in wanted):
        raise RuntimeError("a key was not found")
    return {
        "open_ms": (opened - started) * 1e3,
        "look_up_us": look_up_us,
        "read_us": read_us,
        "seen_us": seen_us,
        "opened_mib": opened_mib,
        "memory_mib": memory,
        "read_mib": memory_mib() - before,
    }


def _block_us(work: Callable[[Any], Any], items: list[Any]) -> float:
    """Return the microseconds for an item: the median of the blocks."""
    taken = []
    for first in range(0, len(items), BLOCK):
        block = items[first : first + BLOCK]
        started = time.perf_counter()
        for item in block:
            work(item)
        taken.append((time.perf_counter() - started) / len(block))
    return statistics.median(taken) * 1e6


def open_without_us(path: Path, series: int) -> dict[str, float]:
    """Make a dictionary of all keys with zarr-python or h5py, in this process."""
    before, started = memory_mib(), time.perf_counter()
    root: Any = h5py.File(path, "r") if path.suffix == ".h5" else zarr.open_group(path, mode="r")
    segments, places = root[f"{NAME}/segments"], {}
    names = list(segments)
    for name in names[:SAMPLE]:
        segment = segments[name]
        texts = []
        for part in ("clip_id", "entity_id"):
            data, ends = segment[part][:].tobytes(), segment[part + "_offsets"][:].tolist()
            texts.append([data[first:last].decode() for first, last in pairwise(ends)])
        for position, one in enumerate(zip(*texts, strict=True)):
            places[one] = name, position
    scale = max(1.0, len(names) / SAMPLE)
    seconds = time.perf_counter() - started
    if round(len(places) * scale) != series or (scale == 1 and key(0) not in places):
        raise RuntimeError(f"{len(places)} of {series} series were found")
    return {"open_ms": seconds * scale * 1e3, "opened_mib": (memory_mib() - before) * scale}


def child(words: list[str]) -> dict[str, float]:
    """Do what the parent asks for: `make PATH …plan`, `open PATH SERIES COUNT` or `rival PATH SERIES`."""
    what, path, *numbers = words[0], Path(words[1]), *map(int, words[2:])
    if what == "make":
        return make(path, Plan(numbers[0], numbers[1], bool(numbers[2]), bool(numbers[3])))
    return open_once(path, *numbers) if what == "open" else open_without_us(path, *numbers)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make all stores, run everything, and put the numbers together."""
    part = 10 if options.quick else 1
    plans = {
        name: plan._replace(series=plan.series // part, segments=-(-plan.segments // part))
        for name, plan in PLANS.items()
    }
    count = 20_000 // part
    about = machine("numpy", "h5py", "zarr", "google-crc32c")
    stores = {
        (name, container): folder / f"{number}{suffix}"
        for number, name in enumerate(plans)
        for container, suffix in CONTAINERS.items()
    }
    setup, runs = {}, {one: [] for one in stores}
    for one, path in stores.items():
        numbers = [int(number) for number in plans[one[0]]]
        setup[one] = in_fresh_process(__file__, "--child", "make", path, *numbers)
        print(f"made {one}: {setup[one]}", file=sys.stderr)
    for number in range(options.rounds + 1):
        for one, path in stores.items():
            run = in_fresh_process(__file__, "--child", "open", path, plans[one[0]].series, count)
            if number:  # the first brings the files into the page cache
                runs[one].append(run)
    told = []
    for one, path in stores.items():
        figures = {
            name: (max if name.endswith("_mib") else statistics.median)(run[name] for run in runs[one])
            for name in COLUMNS
        }
        rival = in_fresh_process(__file__, "--child", "rival", path, plans[one[0]].series)
        limits = {what: limit for name, what, limit in LIMITS if name == one[0]}
        told.append(
            {
                "store": one[0],
                "container": one[1],
                "series": plans[one[0]].series,
                "segments": plans[one[0]].segments if one[0] not in list(plans)[:2] else 1,
                **{name: round(value, 3) for name, value in figures.items()},
                "without_us": {name: round(value, 1) for name, value in rival.items()},
                "times_faster": round(rival["open_ms"] / figures["open_ms"], 1),
                "limits": limits,
                "missed": [what for what, limit in limits.items() if figures[what] >= limit],
                "all_open_ms": [round(run["open_ms"], 2) for run in runs[one]],
                "setup_s": {name: round(value, 2) for name, value in setup[one].items()},
            }
        )
    return {"benchmark": "open", "rounds": options.rounds, "look_ups": count, "stores": told, **about}


def to_text(result: dict[str, Any]) -> str:
    """A table for people."""
    head = f"{'median of ' + str(result['rounds']) + ' processes, hot':<43}"
    lines = [head + "".join(f"{title:>11}" for title, _ in COLUMNS.values()) + f"{'without us ms':>15}{'MiB':>6}"]
    for one in result["stores"]:
        named = f"{one['container'] + ',':<6}{one['store']}"
        cells = "".join(f"{one[name]:>11.{digits}f}" for name, (_, digits) in COLUMNS.items())
        rival = one["without_us"]
        lines.append(f"{named:<43}{cells}{rival['open_ms']:>15,.0f}{rival['opened_mib']:>6.0f}")
        for what in one["limits"]:
            if what in one["missed"]:
                title = COLUMNS[what][0]
                lines.append(f"      MISSED: {title} must be below {one['limits'][what]:g}, is {one[what]:.2f}")
    limits = sorted({f"{name}: {COLUMNS[what][0]} < {limit:g}" for name, what, limit in LIMITS})
    lines += ["", "limits: " + "; ".join(limits)]
    made = sum(sum(one["setup_s"].values()) for one in result["stores"])
    return "\n".join([*lines, f"the stores were made in {made:.0f} s", footer(result)])


def main() -> None:
    """Parse the options, measure, print, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything; the result is not kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to make the stores (2 GB); default: a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="do not write to benchmarks/results")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(options, Path(folder))
    finish(result, to_text(result), "open_cpu", options.json, not options.no_save and not options.quick)


if __name__ == "__main__":
    main()
