"""What the writers of a storm say they do, and what a store may show then.

Writers append lines to one log: `begin` before a commit, `done` once it has returned; the storm appends `dead` when it
has killed them, and `over` when a round ends. So a commit took place between two lines, or, if its writer was killed
in between, perhaps not at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cuebank.store import FeatureSpec, FeatureStore, Key, Recipe, Series

SPECS = {
    name: FeatureSpec(name, "numeric", dim, "float32", Recipe("storm", {"source": name}))
    for name, dim in (("storm.a", 4), ("storm.b", 7))
}
WRITERS = 4
OWN, SHARED = 8, 3  # keys of each writer, and keys that all of them write

Written = tuple[str, Key]  # a feature set and a key in it


class Broken(Exception):
    """A law of the store does not hold."""


def own_keys(writer: int) -> list[Key]:
    """Return the keys that only this writer writes."""
    return [Key(f"clip {i} of {writer}", "left" if i % 2 else None) for i in range(OWN)]


SHARED_KEYS = [Key(f"clip {i} of all", None) for i in range(SHARED)]
ALL_KEYS = [key for writer in range(WRITERS) for key in own_keys(writer)] + SHARED_KEYS


def rows(feature_set: str, key: Key, version: int) -> Series:
    """Return the rows of a version of a series; their first number is the version."""
    number, dim = ALL_KEYS.index(key), SPECS[feature_set].dim
    count = 1 + (5 * number + version) % 60
    valid = np.arange(count) % 5 != 4
    values = (np.arange(count * dim, dtype=np.float32).reshape(count, dim) * 3 + 100 * number + version) % 8191
    values[0, 0] = version
    return Series(np.where(valid[:, None], values, 0).astype(np.float32), np.arange(count) / 50 + number, valid)


def version_of(feature_set: str, key: Key, found: Series) -> int:
    """Return the version of a series that was read; Broken if it is not all there."""
    version = int(found.values[0, 0]) if len(found.values) else -1
    if not all(map(np.array_equal, found, rows(feature_set, key, version))):
        raise Broken(f"series {key} of {feature_set} is not version {version} as it was written")
    return version


class Commit(NamedTuple):
    """A commit of some series: the lines of the log between which it took place."""

    begin: int
    end: int | None  # None: it is under way
    done: bool


class Ledger:
    """Reads the log; line by line, as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = self._line = 0
        self._under_way: dict[int, tuple[int, int, list[Written]]] = {}  # writer -> begin, version, series
        self._commits: dict[Written, dict[int, Commit]] = {}  # version -> commit
        self.promises = 0
        self.rounds = 0  # that are over

    def read_on(self) -> None:
        """Take note of the lines that have been added."""
        data = self._log.read_bytes()[self._offset :]
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        for line in data.decode().splitlines():
            self._line += 1
            verb, writer, *rest = line.split(" ")
            if verb == "over":
                self.rounds += 1
            elif verb == "begin":
                self._begin(int(writer), int(rest[0]), rest[1:])
            elif int(writer) in self._under_way:
                self._end(int(writer), verb == "done")

    def _begin(self, writer: int, version: int, series: list[str]) -> None:
        names = [name.split(":") for name in series]
        written = [(feature_set, ALL_KEYS[int(number)]) for feature_set, number in names]
        self._under_way[writer] = self._line, version, written
        for one in written:
            self._commits.setdefault(one, {})[version] = Commit(self._line, None, False)

    def _end(self, writer: int, done: bool) -> None:
        begin, version, written = self._under_way.pop(writer)
        self.promises += done
        for one in written:
            self._commits[one][version] = Commit(begin, self._line, done)

    def promised(self) -> set[Written]:
        """Return the series that must be there."""
        return {one for one, commits in self._commits.items() if any(commit.done for commit in commits.values())}

    def has_begun(self, written: Written, version: int) -> bool:
        """Return whether anybody has tried to write this version."""
        return version in self._commits.get(written, {})

    def allowed(self, written: Written) -> set[int]:
        """Return the versions that may be shown: a commit that began after another had ended wins over it."""
        commits = self._commits.get(written, {})
        newest = max((commit.begin for commit in commits.values() if commit.done), default=-1)
        return {version for version, commit in commits.items() if commit.end is None or commit.end > newest}


def note(log: int, text: str) -> None:
    """Append a line to the log."""
    os.write(log, text.encode() + b"\n")


def line_of(version: int, series: list[Written]) -> str:
    """Return version and series as they stand in a line."""
    return " ".join([str(version), *(f"{name}:{ALL_KEYS.index(key)}" for name, key in series)])


def check_series(store: FeatureStore, written: Written, promised: bool) -> int | None:
    """Return which version of a series a store shows, None if none; Broken if it must show one."""
    feature_set, key = written
    if feature_set not in store.feature_sets() or store.missing(feature_set, [key]):
        if promised:
            raise Broken(f"series {key} of {feature_set} was promised, and is not there")
        return None
    return version_of(feature_set, key, store.read(feature_set, *key))
