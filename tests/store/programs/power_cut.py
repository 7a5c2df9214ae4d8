"""Record all that the scenario does to the disk, then cut the power after each operation and look at what may be left.

Usage: python power_cut.py FOLDER CONTAINER SEED COUNT

COUNT of the operations are drawn by SEED, 0 takes all. After each of them the disk is made as it may be found: with
nothing that was not synced, with everything, and in three random mixtures (see `disk_model.py`). In each state the
store must show what was promised, be sound, and be completed by running the scenario again. Prints one line of JSON:
how many operations there are, after how many the power was cut, and in how many different states the disk was found.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import scenario
import shim
from disk_model import ROOT, Disk, Event, Made, Names, Renamed, Synced, Tree, Written, build
from forks import share_out

MIXTURES = 3


class Operation(NamedTuple):
    """An operation on the disk, what has changed since the one before, and how many steps had been promised."""

    name: str
    events: list[Event]
    promised: int


class Recorder:
    """Records what this process does below a folder.

    What an operation has changed is found by looking at the folder, so that files which a C library writes are seen
    too.
    """

    def __init__(self, folder: Path) -> None:
        self.operations: list[Operation] = []
        self.promised = 0
        self._folder = folder
        self._events: list[Event] = []
        self._root = folder.stat().st_ino
        self._nodes = {self._root: ROOT}  # inode -> our number, which is never given twice
        self._made = ROOT
        self._names: Names = {}
        self._contents: dict[int, bytes] = {}
        self._stamps: dict[int, tuple[int, int]] = {}

    def promise(self) -> None:
        """Take note that a step has returned."""
        self.promised += 1

    def around(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Do an operation and take note of what it changed."""
        if name == "open" and not shim.creates(name, args):
            return operation(*args, **kwargs)
        if name in shim.SYNCS:
            if self._nodes.get(os.fstat(args[0]).st_ino) not in self._contents:
                self._look()  # a folder, or a file made by a C library
            self._see_content(args[0])
        result = operation(*args, **kwargs)
        if name in shim.SYNCS:
            self._events.append(Synced(self._nodes[os.fstat(args[0]).st_ino]))
        elif name in (*shim.WRITES, "ftruncate"):
            self._see_content(args[0])
        else:
            self._look()
        self.operations.append(Operation(name, self._events, self.promised))
        self._events = []
        return result

    def _look(self) -> None:
        """Find out which names have changed, and which files a C library may have written."""
        names: Names = {}
        inodes = {self._root}
        to_do = [(os.fspath(self._folder), ROOT)]
        while to_do:
            path, folder = to_do.pop()
            with os.scandir(path) as entries:
                for entry in entries:
                    node = names[folder, entry.name] = self._node(entry)
                    inodes.add(entry.inode())
                    if entry.is_dir(follow_symlinks=False):
                        to_do.append((entry.path, node))
                    else:
                        self._see_stamp(node, entry)
        for inode in set(self._nodes) - inodes:  # a new file may get its number
            del self._nodes[inode]
        self._events += changes(self._names, names)
        self._names = names

    def _see_stamp(self, node: int, entry: os.DirEntry) -> None:
        found = entry.stat(follow_symlinks=False)
        stamp = found.st_mtime_ns, found.st_size
        if self._stamps.get(node) != stamp:
            self._stamps[node] = stamp
            self._compare(node, Path(entry.path))

    def _node(self, entry: os.DirEntry) -> int:
        if entry.inode() not in self._nodes:
            self._made += 1
            self._nodes[entry.inode()] = self._made
            is_folder = entry.is_dir(follow_symlinks=False)
            self._events.append(Made(self._made, is_folder))
            if not is_folder:
                self._contents[self._made] = b""
        return self._nodes[entry.inode()]

    def _see_content(self, fd: int) -> None:
        node = self._nodes[os.fstat(fd).st_ino]
        if node in self._contents:
            self._compare(node, Path(f"/proc/self/fd/{fd}"))

    def _compare(self, node: int, path: Path) -> None:
        content = path.read_bytes()
        if content != self._contents[node]:
            self._contents[node] = content
            self._events.append(Written(node, content))


def changes(before: Names, after: Names) -> list[Renamed]:
    """Return in what steps names have changed: what has moved did so in one."""
    changed = {entry: after.get(entry) for entry in before | after if before.get(entry) != after.get(entry)}
    came_from = {before[entry]: entry for entry in changed if before.get(entry) is not None}
    moves = [
        {came_from[node]: changed[came_from[node]], entry: node} for entry, node in changed.items() if node in came_from
    ]
    moved = {entry for names in moves for entry in names}
    return [Renamed(names) for names in (*moves, *({e: node} for e, node in changed.items() if e not in moved))]


def record(folder: Path, container: str) -> list[Operation]:
    """Run the scenario, and return what it did to the disk."""
    recorder = Recorder(folder)
    restore = shim.install(recorder.around, [name for name in shim.CHANGES if name != "close"])
    try:
        scenario.run(folder / f"features.{container}", recorder.promise)
    finally:
        restore()
    return recorder.operations


def states(disk: Disk, rng: random.Random) -> Iterator[tuple[str, Tree]]:
    """Yield in what states the disk may be found if the power goes now."""
    yield "nothing that was not synced", disk.nothing_more()
    yield "everything", disk.everything()
    for i in range(MIXTURES):
        yield f"mixture {i}", disk.mixture(rng)


class Cut(NamedTuple):
    """A state in which the disk is found, and how it came to that."""

    number: int
    what: str
    promised: int
    tree: Tree


def cut_power(operations: list[Operation], chosen: Collection[int], seed: int) -> list[Cut]:
    """Return the states in which the disk may be found after some of the operations, each state once."""
    disk, seen, cuts = Disk(), set(), []
    for number, (name, events, promised) in enumerate(operations):
        for event in events:
            disk.follow(event)
        if number in chosen:
            for reached, tree in states(disk, random.Random(f"{seed} {number}")):
                state = hash((promised, *tree.items()))
                if state not in seen:
                    seen.add(state)
                    what = f"after operation {number} ({name}), {promised} steps promised, {reached} on the disk"
                    cuts.append(Cut(len(cuts), what, promised, tree))
    return cuts


def look_at(cut: Cut, place: Path, container: str) -> str:
    """Make the disk as it is found, and return what is wrong with it."""
    build(cut.tree, place)
    path = place / f"features.{container}"
    try:
        scenario.check(path, max(cut.promised, 1))
        scenario.complete(path)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is what we look for)
        return f"power cut {cut.what}: {error!r}\n{traceback.format_exc()}"
    finally:
        shutil.rmtree(place)
    return ""


def main() -> None:
    folder, container = Path(sys.argv[1]), sys.argv[2]
    seed, count = map(int, sys.argv[3:])
    (folder / "dry").mkdir()
    operations = record(folder / "dry", container)
    numbers = range(len(operations))
    chosen = set(random.Random(seed).sample(numbers, min(count, len(numbers))) if count else numbers)
    cuts = cut_power(operations, chosen, seed)
    broken = share_out(cuts, lambda cut: look_at(cut, folder / str(cut.number), container))
    if broken:
        raise SystemExit("\n".join([f"{len(broken)} of {len(cuts)} states break the laws:", *broken[:5]]))
    print(json.dumps({"operations": len(operations), "cuts": len(chosen), "states": len(cuts)}))


if __name__ == "__main__":
    main()
