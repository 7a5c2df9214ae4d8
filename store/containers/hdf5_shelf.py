"""What an HDF5 store holds and where it lies: in folders of single files, and in files of many bundles."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadInput, Corrupt
from ..files import corrupt, real_folders
from ..keys import unquote_name
from .hdf5_file import Hdf5File, Stored
from .hdf5_packed import CLIPS, PackedFile, bundle_path
from .names import by_rank

SUFFIX = ".h5"
STORE_FILE, SET_FILE, PACKED = "_store.h5", "feature-set.h5", "_packed"  # no quoted name begins with `_`


def files_in(folder: str) -> list[str]:
    """Return the sorted names, without `.h5`, of the HDF5 files in a folder. Links count neither in nor as folder."""
    if os.path.islink(folder) or os.path.islink(os.path.dirname(folder)):  # noqa: PTH114, PTH120 (paths are text here)
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name[: -len(SUFFIX)]
                for entry in entries
                if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


class Shelf:
    """Lists and opens the bundles of a store at a path, in whichever form it is.

    Args:
        path: resolved path of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path.with_name(path.name + ".segments")
        self.strict = False  # set once the store was opened; only `verify` looks into one that cannot be
        self._packed: dict[str, tuple[tuple[int, ...], PackedFile]] = {}
        self._kept: list[PackedFile] = []  # no longer there, but mapped

    def is_folder(self) -> bool:
        """Return whether the store is in the form of a folder, so that it can be written."""
        return self.root.is_dir() and not self.root.is_symlink()

    def packed_paths(self) -> list[str]:
        """Return the paths of the files of many bundles."""
        if not self.is_folder():
            return [str(self.path)]
        folder = f"{self.root}/{PACKED}"
        return [f"{folder}/{name}{SUFFIX}" for name in files_in(folder)]

    def packed(self) -> list[PackedFile]:
        """Return the files of many bundles.

        Raises:
            Corrupt: if one of them cannot be read, and `strict`: what it holds must not seem to be absent.
        """
        found: list[PackedFile] = []
        paths: list[str] = []
        while (now := self.packed_paths()) != paths:  # again if the store took its other form while we looked
            paths, found, problem = now, [], None
            for path in paths:
                try:
                    found.append(self.open_packed(path))
                except FileNotFoundError:
                    continue
                except Corrupt as error:
                    problem = error
            if problem is not None and self.strict and self.packed_paths() == paths:
                raise problem
        current = {one.path: (one.identity, one) for one in found}
        # Others may have taken files away in which lies what was seen here; mapped, they can still be read.
        self._kept += [one for path, (_, one) in self._packed.items() if path not in current]
        self._packed = current
        return found

    def forget(self, packed: PackedFile) -> None:
        """Let go of a file of many bundles in which nothing lies any more that somebody could ask for."""
        self._packed.pop(packed.path, None)
        self._kept = [one for one in self._kept if one is not packed]

    def open_packed(self, path: str) -> PackedFile:
        """Return a file of many bundles, which is opened again only if another one has taken its place.

        Raises:
            Corrupt: if it is damaged.
            FileNotFoundError: if it is not there.
        """
        status = os.lstat(path)
        identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        known = self._packed.get(path)
        if known is None or known[0] != identity:
            if known is not None:
                self._kept.append(known[1])
            known = identity, PackedFile(path, f"The file {path}", identity)
            self._packed[path] = known
        return known[1]

    def quoted_sets(self) -> list[str]:
        """Return the sorted quoted names of all feature sets."""
        found = {name for name in self._folders() if name not in (CLIPS, PACKED)}
        for packed in self.packed():
            found.update(packed.described)
        return sorted(quoted for quoted in found if _is_quoted(quoted))

    def _folders(self) -> list[str]:
        return real_folders(self.root) if self.is_folder() else []

    def names(self, quoted: str, part: str) -> list[str]:
        """Return the names of all segments or indexes of a feature set, in order of rank.

        What was there before the call is in the list: reading a folder while others rename into it may miss some, so it
        is read until nothing has changed.
        """
        found = self._names_once(quoted, part)
        while (again := self._names_once(quoted, part)) != found:
            found = again
        return by_rank(found)

    def _names_once(self, quoted: str, part: str) -> set[str]:
        found = set(files_in(f"{self.root}/{quoted}/{part}"))
        for packed in self.packed():
            found.update(packed.names(quoted, part))
        return found

    def clips(self) -> set[str]:
        """Return the names of all files or bundles where versions of the clips table lie."""
        found = set(files_in(f"{self.root}/{CLIPS}"))
        for packed in self.packed():
            found.update(packed.clips)
        return found

    def single(self, quoted: str, part: str, name: str) -> str:
        """Return the path of the file of one segment or index; it need not be there."""
        return f"{self.root}/{quoted}/{part}/{name}{SUFFIX}"

    def has(self, quoted: str, part: str, name: str) -> bool:
        """Return whether a segment or an index is there."""
        if self._is_there(self.single(quoted, part, name)):
            return True
        return any(name in packed.names(quoted, part) for packed in self.packed())

    def open(self, quoted: str, part: str, name: str, where: str) -> tuple[Hdf5File, str]:
        """Return the file in which a segment or an index lies, and its path there.

        Raises:
            Corrupt: if it is not there, or the file is damaged.
        """
        # As last listed, or earlier: bundles do not vanish from a mapped file.
        for packed in [*(one for _, one in list(self._packed.values())), *self._kept]:
            if name in packed.parts.get((quoted, part), ()):
                return packed, bundle_path(quoted, part, name)
        path = self.single(quoted, part, name)
        if not self._is_there(path):
            for packed in self.packed():
                if name in packed.names(quoted, part):
                    return packed, bundle_path(quoted, part, name)
        return self._single_file(path, where), ""

    def open_set(self, quoted: str, where: str) -> tuple[Hdf5File, str]:
        """Return the file in which a feature set is described, and the path there."""
        return self._open_one(f"{self.root}/{quoted}/{SET_FILE}", quoted, where)

    def open_clips(self, version: str, where: str) -> tuple[Hdf5File, str]:
        """Return the file in which a version of the clips table lies, and its path there."""
        return self._open_one(f"{self.root}/{CLIPS}/{version}{SUFFIX}", f"{CLIPS}/{version}", where)

    def _is_there(self, path: str) -> bool:
        """Return whether there is a file of one bundle, in the store itself: not behind a folder that is a link."""
        return os.path.lexists(path) and not self._is_outside(path)

    def _is_outside(self, path: str) -> bool:
        folder = os.path.dirname(path)  # noqa: PTH120 (paths of files are text here)
        while len(folder) > len(str(self.root)):
            if os.path.islink(folder):  # noqa: PTH114
                return True
            folder = os.path.dirname(folder)  # noqa: PTH120
        return False

    def _single_file(self, path: str, where: str) -> Hdf5File:
        if self._is_outside(path):
            raise corrupt(where, "It lies behind a folder that is a link.")
        return Hdf5File(path, where)

    def _open_one(self, path: str, bundle: str, where: str) -> tuple[Hdf5File, str]:
        if not self._is_there(path):
            for packed in self.packed():
                if bundle in packed.bundles:
                    return packed, bundle
        return self._single_file(path, where), ""

    def stored(self, path: str) -> Stored:
        """Return the bundle that has a path in a packed file, wherever it lies.

        Raises:
            Corrupt: if it is not there, or damaged.
        """
        words = path.split("/")
        if len(words) == 3:
            where = f"`{words[2]}` in `{words[1]}` of feature set `{words[0]}`"
            return Stored(*self.open(words[0], words[1], words[2], where), where)
        if len(words) == 2:
            where = f"Version `{words[1]}` of the clips table"
            return Stored(*self.open_clips(words[1], where), where)
        where = f"Feature set `{path}`"
        return Stored(*self.open_set(path, where), where)


def _is_quoted(folder: str) -> bool:
    try:
        unquote_name(folder)
    except BadInput:
        return False  # not a feature set of ours; `check` says so
    return True
