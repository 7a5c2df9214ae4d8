"""A store to be damaged, and healed again in no time; and its twin outside, which nobody must read."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scenario import compact_all, has

from cuebank.store import Clip, ClipsTable, FeatureSpec, FeatureStore, Recipe, Series

KEYS = [(f"clip {i}", None if i % 3 else "left") for i in range(9)]
CANARY = 31337.0  # the only number in the rows of the twin; in the store it never occurs
FIRST = (("demo.x", range(6)), ("demo.y", range(7)), ("words.x", range(7)), ("demo.x", range(3, 8)))
COMMITS = (*FIRST, ("demo.x", (0, 8)), ("words.x", (0, 8)))


def specs() -> dict[str, FeatureSpec]:
    """Return the feature sets; the second one is compressed where this version of the store can."""
    codec = {"codec": "blosc"} if "codec" in FeatureSpec.__dataclass_fields__ else {}
    return {
        "words.x": FeatureSpec("words.x", "text", 1, "int64", Recipe("words", {"source": "none"})),
        "demo.x": FeatureSpec("demo.x", "numeric", 3, "float32", Recipe("demo", {"source": "none"})),
        "demo.y": FeatureSpec("demo.y", "numeric", 2, "float64", Recipe("demo", {"source": "none"}), **codec),
    }


SPECS = specs()


def rows(spec: FeatureSpec, key: int, version: int) -> Series:
    """Return a version of a series; all of its numbers are small and different. Texts are of several lengths."""
    count = 2 + 3 * key
    if spec.is_text:
        texts = [f"{version} é{key} {row} " * (row % 4) for row in range(count)]
        return Series(np.array(texts, object), np.arange(count) / 25, np.ones(count, bool))
    values = np.arange(count * spec.dim).reshape(count, spec.dim) + 1000 * version + 100 * key
    return Series(values.astype(spec.dtype), np.arange(count) / 25, np.ones(count, bool))


def canary(spec: FeatureSpec, key: int, version: int) -> Series:
    """Return what the twin has in place of it."""
    series = rows(spec, key, version)
    if spec.is_text:
        return series._replace(values=np.array([str(CANARY)] * len(series.values), object))
    return Series(np.full_like(series.values, CANARY), series.times, series.valid)


def make(path: Path, content: Callable[[FeatureSpec, int, int], Series]) -> None:
    """Make a store: overwritten series, a failure, two clips tables, merged segments and newer ones beside them."""
    for commits in (range(len(FIRST)), range(len(FIRST), len(COMMITS))):
        with FeatureStore.open(path, "a") as store:
            for version in commits:
                name, keys = COMMITS[version]
                store.create(SPECS[name])
                for key in keys:
                    store.write(name, *KEYS[key], *content(SPECS[name], key, version))
                store.record_failure(name, "bad", None, f"no sound {version}")
                store.commit()
            clips = [Clip(clip, Path(clip), entity, 0.5, labels={"x": commits[0], "y": "é"}) for clip, entity in KEYS]
            store.write_clips(ClipsTable(clips, {"x": "number", "y": "text"}))
            if commits[0] == 0 and has("compact"):
                compact_all(store)


class Patient:
    """A store that can be damaged and healed.

    Args:
        folder: an empty folder; the store is made in it, and its twin beside it.
        container: of the store.
    """

    def __init__(self, folder: Path, container: str) -> None:
        self.inside, self.outside = folder.resolve() / "inside", folder.resolve() / "outside"
        self.path = self.inside / f"features.{container}"
        real = secrets.token_hex
        for place, content in ((self.inside, rows), (self.outside, canary)):
            place.mkdir()
            numbers = itertools.count(1)  # the same store each time, so that a number means the same damage
            secrets.token_hex = lambda size, numbers=numbers: f"{next(numbers):0{2 * size}x}"[-2 * size :]
            make(place / self.path.name, content)
        secrets.token_hex = real
        self.files, self.folders = content_of(self.inside)
        twin_files, twin_folders = content_of(self.outside)
        self.twin = dict(zip([*self.files, *self.folders], [*twin_files, *twin_folders], strict=True))
        self.touched: list[str] = []  # what was changed since it was healed
        self.forget_readers()

    def touch(self, name: str) -> Path:
        """Return the path of a file or folder that is about to be changed; its name is relative to `inside`."""
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name} is not inside")
        self.touched.append(name)
        return self.inside / name

    def heal(self) -> None:
        """Make everything that was touched as it was."""
        touched = sorted(set(self.touched))
        for name in touched:
            path = self.inside / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for name in touched:
            for folder in self.folders:
                if (folder + "/").startswith(name + "/"):
                    (self.inside / folder).mkdir(exist_ok=True)
            for file, data in self.files.items():
                if (file + "/").startswith(name + "/"):
                    (self.inside / file).write_bytes(data)
        self.touched = []

    def is_changed(self) -> bool:
        """Return whether any file that was touched has another content now."""
        return any((self.inside / name).read_bytes() != self.files[name] for name in self.touched)

    def forget_readers(self) -> None:
        """Let the file system note anew who reads the twin: it does so when a file seems never to have been read."""
        for name in self.files:
            path = self.outside / self.twin[name]
            os.utime(path, ns=(1, path.stat().st_mtime_ns))

    def readers(self) -> list[str]:
        """Return which files of the twin have been read since."""
        return [self.twin[name] for name in self.files if (self.outside / self.twin[name]).stat().st_atime_ns != 1]


def content_of(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return all files below a folder with their content, and all folders; parents first, in order of their names."""
    names = sorted(folder.rglob("*"))
    files = {str(path.relative_to(folder)): path.read_bytes() for path in names if path.is_file()}
    return files, [str(path.relative_to(folder)) for path in names if path.is_dir()]
