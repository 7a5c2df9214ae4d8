"""Write the fixtures of format 2 into a folder: one content as Zarr, as HDF5 in a folder, and folded.

    python tests/store/programs/make_fixture.py FOLDER

They were made once, when format 2 was new, and committed. They are never made again: they stand for the stores that
others have. What they hold is said by `SPECS`, `SERIES`, `FAILURES` and `CLIPS`, in the order in which it counts.
"""

from __future__ import annotations

import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Key, Recipe, Series, Timebase
from cuebank.store.compact import compact

DEMO, COUNT, ZSTD, BLOSC = "demo.x@9+mean", "count.y", "demo.zstd", "é/demo.blosc"
WIDE = 512  # dims of the compressed sets: 600 rows are two chunks
_recipe = Recipe("demo", {"source": "none", "seed": 7}, layer="9", pooling="mean")
_timebase = Timebase(Fraction(50), Fraction(1, 80), Fraction(1, 40))
SPECS = {
    DEMO: FeatureSpec(DEMO, "numeric", 3, "float16", _recipe, _timebase),
    COUNT: FeatureSpec(COUNT, "label", 1, "int64", Recipe("count", {"source": "none"}), scope="entity"),
    ZSTD: FeatureSpec(ZSTD, "numeric", WIDE, "float32", _recipe, _timebase, codec="zstd"),
    BLOSC: FeatureSpec(BLOSC, "numeric", WIDE, "float64", _recipe, _timebase, codec="blosc"),
}
FAILURES = {DEMO: [("bad", None, "kein Ton")], COUNT: [], ZSTD: [], BLOSC: [("bad", "left", "no face")]}
CLIPS = ClipsTable(
    [Clip("clip 1", Path("/m/c.wav"), None, 0.5, None, "g1", None, 1, {"arousal": 0.25, "mood": None})],
    {"arousal": "number", "mood": "text"},
)
OLD_CLIPS = ClipsTable([Clip("clip 0", Path("/m/0.wav"))])


def demo_series(i: int) -> Series:
    """Return i rows; every other one is valid."""
    valid = np.arange(i) % 2 == 0
    return as_stored(np.arange(3.0 * i).reshape(i, 3) + i, np.arange(i) / 50, valid, "float16")


def count_series(i: int) -> Series:
    """Return two rows of one number."""
    return as_stored(np.full((2, 1), i), np.array([0.5, 1.5]), np.ones(2, bool), "int64")


def wide_series(rows: int, dtype: str) -> Series:
    """Return rows of a pattern that compresses well; every seventh one is not valid."""
    values = (np.arange(rows)[:, None] % 5 + np.arange(WIDE) % 8) / 4  # (T, D)
    return as_stored(values, np.arange(rows) / 50 + 1 / 80, np.arange(rows) % 7 != 6, dtype)


def as_stored(values: np.ndarray, times: np.ndarray, valid: np.ndarray, dtype: str) -> Series:
    """Return what a store gives back: zeros where nothing is valid."""
    return Series(np.where(valid[:, None], values, 0).astype(dtype), times, valid)


NINES = as_stored(np.full((2, 3), 9), np.array([0.0, 1.0]), np.ones(2, bool), "float16")
SERIES: dict[str, dict[Key, Series]] = {
    DEMO: {Key(f"clip {i}"): demo_series(i) for i in (0, 2, 3)} | {Key("clip 1"): NINES},
    COUNT: {Key(f"clip {i}", ("left", "右")[i % 2]): count_series(i) for i in range(4)},
    ZSTD: {Key("long"): wide_series(600, "float32"), Key("none"): wide_series(0, "float32")}
    | {Key("late", "右"): wide_series(5, "float32"), Key("short"): wide_series(2, "float32")},
    BLOSC: {Key("long"): wide_series(300, "float64"), Key("none"): wide_series(0, "float64")}
    | {Key("late", "右"): wide_series(5, "float64"), Key("short"): wide_series(2, "float64")},
}


def write(store: FeatureStore, name: str, *keys: Key) -> None:
    """Write series with the content that they are to have at last, and commit them."""
    for key in keys:
        store.write(name, *key, *SERIES[name][key])
    store.commit()


def make_store(path: Path) -> None:
    """Write a store that was compacted twice, the second time under a reader, and written to afterwards."""
    long, none, late, short = Key("long"), Key("none"), Key("late", "右"), Key("short")
    with FeatureStore.open(path, "a") as store:
        for spec in SPECS.values():
            store.create(spec)
        store.write_clips(OLD_CLIPS)
        store.write(DEMO, "clip 1", None, *demo_series(1))
        for name, failed in FAILURES.items():
            for failure in failed:
                store.record_failure(name, *failure)
        write(store, DEMO, Key("clip 0"), Key("clip 2"))
        for key in SERIES[COUNT]:
            write(store, COUNT, key)
        for name in (ZSTD, BLOSC):
            store.write(name, *short, *wide_series(9, SPECS[name].dtype))
            write(store, name, long, none)
        write(store, BLOSC, late, short)
        compact(store)
    # Closing it has made an HDF5 store one file. From here on that is a part of a folder.
    with FeatureStore.open(path, "a") as store:
        reader = FeatureStore.open(path)  # while it has the store open, what is replaced stays
        write(store, DEMO, Key("clip 3"))
        write(store, ZSTD, late)
        compact(store, [DEMO, ZSTD])
        write(store, DEMO, Key("clip 1"))
        write(store, ZSTD, short)
        store.write_clips(CLIPS)
    reader.close()


def main(folder: Path) -> None:
    """Write all three forms."""
    make_store(folder / "format-2.zarr")
    make_store(folder / "format-2.h5")
    folded = folder / "format-2-folded.h5"
    shutil.copytree(folder / "format-2.h5.segments", folded.with_name(folded.name + ".segments"))
    with FeatureStore.open(folded, "a") as store:
        store._container.fold()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
