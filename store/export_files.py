"""Feature sets as plain files, for programs that know nothing of stores.

::

    out/
      feature_sets.json     name -> how it was made: recipe, fingerprint, kind, dim, dtype, clock
      index.csv             feature_set, clip_id, entity_id, rows, file: one line a series
      failures.csv          feature_set, clip_id, entity_id, reason
      clips.csv             the newest clips table, if there is one
      <feature set>/000000000.values.npy  .times.npy  .valid.npy       `npy`; `file` is the part they share
      <feature set>/000000000.values.json .times.npy  .valid.npy       `npy`, texts: a list of one text a row
      <feature set>.parquet                                            `parquet`

Ids stand in the tables only, never in file names; an empty entity_id is the whole clip. Names of feature sets are
percent-encoded, and so is the first character of one that is called like a table. `times` are seconds from the clip's
start; where `valid` is false, the values mean nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .each_series import each_series
from .keys import Key, quote_name
from .recipe import FeatureSpec
from .series import Series

if TYPE_CHECKING:
    from .feature_store import FeatureStore

TABLES = ("feature_sets.json", "index.csv", "failures.csv", "clips.csv")


class Written(NamedTuple):
    """A series that has been written: its key, its rows, and the file or the part that its files' names share."""

    key: Key
    rows: int
    file: str


RowWriter = Callable[[Path, FeatureSpec, Iterable[tuple[Key, Series]]], Iterator[Written]]


def write_files(
    store: FeatureStore, names: list[str], folder: Path, kind: str, tick: Callable[[int], None]
) -> dict[str, dict[str, int]]:
    """Make a folder with the files above; nothing is synced.

    Args:
        store: an open store.
        names: feature sets.
        folder: to make.
        kind: `npy` or `parquet`.
        tick: called with the number of series done since the last call.

    Returns:
        For each feature set how many series, rows and failures were written.

    Raises:
        Corrupt: if a series is damaged, or may lie in a segment that cannot be read.
        MissingExtra: if `parquet` is asked for without pyarrow.
    """
    write_rows = _row_writer(kind)
    folder.mkdir()
    specs = {name: store.spec(name).to_json() for name in names}
    text = json.dumps(specs, indent=2, sort_keys=True, allow_nan=False)
    (folder / "feature_sets.json").write_text(text + "\n", encoding="utf-8")
    if store.clips_versions():
        store.clips().write_csv(folder / "clips.csv")
    done = {}
    with (
        (folder / "index.csv").open("x", encoding="utf-8", newline="") as index,
        (folder / "failures.csv").open("x", encoding="utf-8", newline="") as failures,
    ):
        # All texts in quotes: whatever is in an id, a reader of CSV gets it back.
        lines = csv.writer(index, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        failed_lines = csv.writer(failures, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        lines.writerow(("feature_set", "clip_id", "entity_id", "rows", "file"))
        failed_lines.writerow(("feature_set", "clip_id", "entity_id", "reason"))
        for name in names:
            counts = done[name] = {"series": 0, "rows": 0, "failed": 0}
            for one in write_rows(folder, store.spec(name), each_series(store, name)):
                lines.writerow((name, *one.key, one.rows, one.file))
                counts["series"] += 1
                counts["rows"] += one.rows
                tick(1)
            for failure in store.failures(name):
                failed_lines.writerow((name, *failure))
                counts["failed"] += 1
    return done


def write_npy(folder: Path, spec: FeatureSpec, series: Iterable[tuple[Key, Series]]) -> Iterator[Written]:
    """Write each series as three `.npy` files, numbered in order of commit, into a folder of the feature set.

    Args:
        folder: in which that folder is made.
        spec: the feature set.
        series: keys and rows.

    Yields:
        Each series once its files are written.
    """
    quoted = quote_name(spec.name)
    if quoted in TABLES:
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    (folder / quoted).mkdir()
    for number, (key, one) in enumerate(series):
        stem = f"{quoted}/{number:09d}"
        for part, array in one._asdict().items():
            if spec.is_text and part == "values":
                text = json.dumps(array.tolist(), ensure_ascii=False) + "\n"
                (folder / f"{stem}.{part}.json").write_bytes(text.encode("utf-8"))
            else:
                np.save(folder / f"{stem}.{part}.npy", array, allow_pickle=False)
        yield Written(key, len(one.values), stem)


def _row_writer(kind: str) -> RowWriter:
    if kind == "npy":
        return write_npy
    from .export_parquet import write_parquet

    return write_parquet()
