"""Copy a store, or some of its feature sets, into another store or into files that other programs read.

A copy appears under its name only when it is complete and on the disk; until then it lies beside it, in a folder
`<name>.partial-<random>`, which is removed if anything goes wrong. (A process that is killed leaves it there.) Nothing
that exists is ever overwritten.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .compact import compact
from .each_series import chosen, each_series
from .errors import BadInput, Conflict, NotFound, nearest
from .feature_store import FeatureStore
from .files import folder_bytes, sync, sync_tree
from .writing_area import area_of

STORES = ("zarr", "hdf5")
KINDS = (*STORES, "npy", "parquet")
SUFFIXES = {".zarr": "zarr", ".h5": "hdf5", ".hdf5": "hdf5", ".npy": "npy", ".parquet": "parquet"}
COMMIT_BYTES = 256 * 2**20  # pending rows are on the disk already; a commit only bounds what one segment holds
SYNC_FILES = 1000  # more are synced at once with all else that the system has to write; alone, each takes milliseconds
COMMIT_SERIES = 100_000  # the index of a pending segment is in memory, some 300 bytes a series

Progress = Callable[[int], None]


def export(
    store: FeatureStore,
    out: str | os.PathLike[str],
    kind: str,
    feature_sets: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Copy feature sets to a new place, with the newest clips table and the recorded failures.

    Args:
        store: an open store; only what it sees as committed is copied.
        out: where the copy is to be; nothing may be there, and the folder around it must exist.
        kind: `zarr` or `hdf5`: another store. `npy`: a folder with three `.npy` files a series (texts as `.json`).
            `parquet`: a folder with one Parquet file a feature set. See `export_files` for what lies in these folders.
        feature_sets: names; None for all.
        progress: called with the number of series done since the last call.

    Returns:
        `{"store", "out", "kind", "feature_sets": {name: {"series", "rows", "failed"}}, "bytes"}`.

    Raises:
        NotFound: if a feature set or the folder around `out` does not exist.
        Conflict: if there is something at `out`.
        BadInput: for an unknown kind, a name that does not fit it, or a place inside the store itself.
        Corrupt: if a series is damaged, or may lie in a segment that cannot be read.
        MissingExtra: if `parquet` is asked for without pyarrow.

    Example:
        >>> import tempfile
        >>> from cuebank.store import FeatureSpec, FeatureStore, Recipe
        >>> spec = FeatureSpec("demo.x", "numeric", 1, "float32", Recipe("demo", {"source": "none"}))
        >>> with tempfile.TemporaryDirectory() as folder, FeatureStore.open(f"{folder}/f.zarr", "a") as store:
        ...     store.create(spec)
        ...     store.write("demo.x", "clip 1", None, [[1], [2]], [0.5, 1.5], [True, True])
        ...     store.commit()
        ...     export(store, f"{folder}/copy", "npy")["feature_sets"]
        {'demo.x': {'series': 1, 'rows': 2, 'failed': 0}}
    """
    target = Path(os.path.abspath(out))  # noqa: PTH100 (Path.absolute keeps `..`)
    _check_target(store, target, kind)
    names = chosen(store, feature_sets)
    partial = target.with_name(f"{target.name[:80]}.partial-{secrets.token_hex(8)}")
    partial.mkdir()
    try:
        # Under its final name, one level down: what is in it may refer to itself by name.
        copy = partial / target.name
        tick = progress or (lambda series: None)
        if kind in STORES:
            done = _copy_store(store, names, copy, tick)
        else:
            from .export_files import write_files

            done = write_files(store, names, copy, kind, tick)
            _sync_files(copy)
        size = folder_bytes(partial)
        _move(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"store": str(store.path), "out": str(target), "kind": kind, "feature_sets": done, "bytes": size}


def kind_of(out: str | os.PathLike[str]) -> str | None:
    """Return the kind that a name's suffix stands for, or None.

    Example:
        >>> kind_of("copy.zarr"), kind_of("copy.H5"), kind_of("copy")
        ('zarr', 'hdf5', None)
    """
    return SUFFIXES.get(Path(out).suffix.lower())


def _check_target(store: FeatureStore, target: Path, kind: str) -> None:
    asked = f"The store {store.path} was to be exported to {target}."
    if kind not in KINDS:
        raise BadInput(asked, f"The kind `{kind}` is unknown. {nearest(kind, list(KINDS))}", f"Use one of {KINDS}.")
    if kind == "hdf5" and kind_of(target) != "hdf5":
        raise BadInput(asked, "An HDF5 store has a name that ends with `.h5`.", "Choose such a name.")
    if kind == "zarr" and kind_of(target) == "hdf5":
        raise BadInput(asked, "The name is that of an HDF5 store.", "Use a name like `copy.zarr`, or the kind `hdf5`.")
    if not target.parent.is_dir():
        raise NotFound(asked, "The folder around it does not exist.", "Make it first.")
    if store.path in (real := Path(os.path.realpath(target.parent)), *real.parents):
        raise BadInput(asked, "This is inside the store itself.", "Choose a place outside.")
    if os.path.lexists(target):
        raise _taken(target)


def _taken(target: Path) -> Conflict:
    return Conflict(
        f"A store was to be exported to {target}.",
        "Something is there already.",
        "Choose another name, or move it away; nothing is overwritten.",
    )


def _copy_store(store: FeatureStore, names: list[str], path: Path, tick: Progress) -> dict[str, dict[str, int]]:
    """Write feature sets into a new store; return what was written."""
    done = {}
    with FeatureStore.open(path, "a") as copy:
        if store.clips_versions():
            copy.write_clips(store.clips())
        for name in names:
            copy.create(store.spec(name))
            series = rows = 0
            for key, one in each_series(store, name):
                copy.write(name, *key, *one)
                series, rows = series + 1, rows + len(one.values)
                if copy.pending_bytes >= COMMIT_BYTES or copy.pending_series >= COMMIT_SERIES:
                    copy.commit()
                tick(1)
            failures = store.failures(name)
            for failure in failures:
                copy.record_failure(name, *failure)
            copy.commit()
            done[name] = {"series": series, "rows": rows, "failed": len(failures)}
        compact(copy)
    return done


def _sync_files(folder: Path) -> None:
    """Return when all files of a folder are on the disk."""
    if sum(len(files) for _, _, files in os.walk(folder)) <= SYNC_FILES:
        sync_tree(folder)
    else:
        os.sync()


def _move(partial: Path, target: Path) -> None:
    """Move what was made out of its partial folder; the file or folder that bears the name goes last."""
    beside = sorted(path.name for path in partial.iterdir() if path.name not in (target.name, area_of(target).name))
    places = [target.with_name(name) for name in (*beside, target.name)]
    for place in places:
        if os.path.lexists(place):
            raise _taken(place)
    for place in places:
        source = partial / place.name
        try:
            if source.is_dir():
                source.rename(place)  # fails if somebody has put a file, or a folder that is not empty, there since
            else:
                os.link(source, place)  # unlike a rename, never replaces
        except OSError as error:
            if os.path.lexists(place):
                raise _taken(place) from error
            if source.is_dir():
                raise
            source.rename(place)  # a file system without hard links
    sync(target.parent)
