"""Write the fixtures of texts into a folder: one content as Zarr, as HDF5 in a folder, and folded.

    python tests/store/programs/make_text_fixture.py FOLDER

They were made once, when segments with texts were new, and committed. They are never made again: they stand for the
stores that others have. What they hold is said by `SPECS`, `SERIES`, `FAILURES` and `CLIPS`.
"""

from __future__ import annotations

import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Key, Recipe, Series, Timebase
from cuebank.store.compact import compact

WORDS, TURNS, DEMO = "words.x", "é/turns.y", "demo.x"
SPECS = {
    WORDS: FeatureSpec(WORDS, "text", 1, "int64", Recipe("words", {"source": "none", "seed": 7})),
    TURNS: FeatureSpec(
        TURNS,
        "text",
        1,
        "int64",
        Recipe("turns", {"source": "none"}),
        Timebase(Fraction(2), Fraction(1, 4), Fraction(1, 2)),
        "entity",
    ),
    DEMO: FeatureSpec(DEMO, "numeric", 2, "float32", Recipe("demo", {"source": "none"})),
}
FAILURES = {WORDS: [("bad", None, "nobody speaks: größer")], TURNS: [], DEMO: []}
CLIPS = ClipsTable([Clip("clip 0", Path("/m/0.wav"))])


def texts(*rows: str | None) -> Series:
    """Return rows half a second apart; None: not valid."""
    values = np.array([row or "" for row in rows], object)
    return Series(values, np.arange(len(rows)) / 2 + 0.25, np.array([row is not None for row in rows], bool))


NUMBERS = Series(np.arange(6, dtype="float32").reshape(3, 2), np.arange(3.0), np.ones(3, bool))
SERIES: dict[str, dict[Key, Series]] = {
    WORDS: {
        Key("clip 0"): texts("hello", "", "a\0b\0", None, "日本語 \U0001f600\u0301", " \n\t"),
        Key("none"): texts(),
        Key("long", "右"): texts("x" * 5000, "é" * 700, "end"),
        Key("clip 1"): texts("written over"),
    },
    TURNS: {Key("clip 0", who): texts(f"{who} speaks", None, "…") for who in ("left", "右")},
    DEMO: {Key("clip 0"): NUMBERS},
}


def write(store: FeatureStore, name: str, *keys: Key) -> None:
    """Write series with the content that they are to have at last, and commit them."""
    for key in keys:
        store.write(name, *key, *SERIES[name][key])
    store.commit()


def make_store(path: Path) -> None:
    """Write a store of merged segments, of others that they have replaced, and of newer ones."""
    long, one, none, zero = Key("long", "右"), Key("clip 1"), Key("none"), Key("clip 0")
    with FeatureStore.open(path, "a") as store:
        for spec in SPECS.values():
            store.create(spec)
        store.write(WORDS, *one, ["gone"], [0.5], [True])
        for name, failed in FAILURES.items():
            for failure in failed:
                store.record_failure(name, *failure)
        write(store, WORDS, zero, none)
        for key in SERIES[TURNS]:
            write(store, TURNS, key)
        write(store, DEMO, zero)
        compact(store)
    with FeatureStore.open(path, "a") as store:
        reader = FeatureStore.open(path)  # while it has the store open, what is replaced stays
        write(store, WORDS, long)
        compact(store, [WORDS])
        write(store, WORDS, one)
        store.write_clips(CLIPS)
    reader.close()


def main(folder: Path) -> None:
    """Write all three forms."""
    make_store(folder / "texts.zarr")
    make_store(folder / "texts.h5")
    folded = folder / "texts-folded.h5"
    shutil.copytree(folder / "texts.h5.segments", folded.with_name(folded.name + ".segments"))
    with FeatureStore.open(folded, "a") as store:
        store._container.fold()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
