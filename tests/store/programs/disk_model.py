"""What a disk may hold after the power went: a model of POSIX at its worst.

Only fsync promises anything. That of a file: its content so far. That of a folder: the names in it so far. What has not
been synced may have reached the disk or not, each thing for itself and in any order, and of a file's content any part.
Two things hold all the same: a rename is there as a whole or not at all, and of two changes to one name the later one
does not come without the earlier.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = 0  # the folder in which all happens; it is there at the beginning
BLOCK = 64  # bytes of a file that reach the disk together: few, so that small files are torn as well

Entry = tuple[int, str]  # a folder, and a name in it
Names = dict[Entry, int | None]  # what a name leads to; None if it is gone
Tree = dict[str, bytes | None]  # path -> content of a file, None for a folder


class Renamed(NamedTuple):
    """Names that change in one step: one of a creation or a removal, two of a rename."""

    names: Names


class Written(NamedTuple):
    """What a file holds now."""

    file: int
    content: bytes


class Synced(NamedTuple):
    """The content of a file, or the names in a folder, have been made durable."""

    node: int


class Made(NamedTuple):
    """There is a new file or folder; no name leads to it yet."""

    node: int
    is_folder: bool


Event = Renamed | Written | Synced | Made


class Disk:
    """Follows what is done to the disk, and tells in what states it may be found if the power goes now."""

    def __init__(self) -> None:
        self.folders = {ROOT}
        self._durable: dict[Entry, int | None] = {}
        self._waiting: list[Names] = []
        self._contents: dict[int, list[bytes]] = {}  # the durable one, then those that came later
        self._synced: set[int] = set()

    def follow(self, event: Event) -> None:
        """Take note of what has been done."""
        if isinstance(event, Made):
            if event.is_folder:
                self.folders.add(event.node)
            else:
                self._contents[event.node] = [b""]
        elif isinstance(event, Renamed):
            self._waiting.append(event.names)
        elif isinstance(event, Written):
            self._contents[event.file].append(event.content)
        elif event.node in self.folders:
            self._settle(event.node)
        else:
            self._contents[event.node] = self._contents[event.node][-1:]

    def _settle(self, folder: int) -> None:
        chosen = self._with_earlier(
            i for i, names in enumerate(self._waiting) if any(entry[0] == folder for entry in names)
        )
        for i in sorted(chosen):
            self._durable.update(self._waiting[i])
        self._waiting = [names for i, names in enumerate(self._waiting) if i not in chosen]

    def _with_earlier(self, chosen: Iterable[int]) -> set[int]:
        """Return the numbers of some waiting changes, and of those before them that they build upon."""
        found: set[int] = set()
        needed: set[Entry] = set()
        wanted = set(chosen)
        for i in range(len(self._waiting) - 1, -1, -1):
            if i in wanted or not needed.isdisjoint(self._waiting[i]):
                found.add(i)
                needed.update(self._waiting[i])
        return found

    def nothing_more(self) -> Tree:
        """Return the state in which only what was synced is there."""
        return self._tree(set(), lambda versions: versions[0])

    def everything(self) -> Tree:
        """Return the state in which all that was done is there."""
        return self._tree(set(range(len(self._waiting))), lambda versions: versions[-1])

    def mixture(self, rng: random.Random) -> Tree:
        """Return a state in which some of what was not synced is there."""
        share = rng.choice((0.1, 0.5, 0.9))
        chosen = self._with_earlier([i for i in range(len(self._waiting)) if rng.random() < share])
        return self._tree(chosen, lambda versions: torn(versions, rng))

    def _tree(self, chosen: set[int], content: Callable[[list[bytes]], bytes]) -> Tree:
        names = dict(self._durable)
        for i in sorted(chosen):
            names.update(self._waiting[i])
        inside: dict[int, dict[str, int]] = {}
        for (folder, name), node in names.items():
            if node is not None:
                inside.setdefault(folder, {})[name] = node
        tree: Tree = {}

        def grow(folder: int, path: str) -> None:
            for name, node in sorted(inside.get(folder, {}).items()):
                tree[path + name] = None if node in self.folders else content(self._contents[node])
                if node in self.folders:
                    grow(node, f"{path}{name}/")

        grow(ROOT, "")
        return tree


def torn(versions: list[bytes], rng: random.Random) -> bytes:
    """Return what may be left of a file: one of its versions, or each block of one of them, or empty."""
    if len(versions) == 1 or rng.random() < 0.3:
        return rng.choice(versions)
    lengths = [len(version) for version in versions]
    length = rng.choice((lengths[0], lengths[-1], rng.randint(min(lengths), max(lengths))))
    data = bytearray()
    for start in range(0, length, BLOCK):
        blocks = [version[start : start + BLOCK].ljust(BLOCK, b"\0") for version in versions]
        if len(set(blocks)) > 1:
            blocks.append(bytes(BLOCK))
        data += rng.choice((blocks[0], blocks[len(versions) - 1], rng.choice(blocks)))
    return bytes(data[:length])


def build(tree: Tree, folder: Path) -> None:
    """Make the files and folders of a state in a new folder."""
    folder.mkdir()
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
