"""Run a scenario of store operations many times, each time with one fault at one file operation.

Usage: python faults.py FOLDER kill|error|interrupt FIRST STEP

Every operation of the scenario gets its turn (from FIRST in steps of STEP), in a forked child each time: the process
is killed just after it, or it raises ENOSPC before or EIO after doing its work, or Ctrl-C strikes just after it. The
parent then proves the laws of the store. Prints one line of JSON: how many operations there are, how many faults were
tried.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from cuebank.store import Corrupt, FeatureSpec, FeatureStore, Recipe
from cuebank.store.verify import verify

OPERATIONS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "ftruncate", "lseek", "close")
SPEC = FeatureSpec("demo.x", "numeric", 2, "float16", Recipe("demo", {"source": "none"}))
KEYS = [(f"clip {i}", None if i % 2 else "left") for i in range(4)]


class Fault:
    """Counts file operations and strikes at one of them; a number below 0 never strikes."""

    def __init__(self, number: int, kind: str) -> None:
        self.left = number
        self.kind = kind
        self.count = 0
        for name in OPERATIONS:
            if name == "close" and kind == "interrupt":
                continue  # shutil closes twice when it is interrupted there
            setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, operation):
        def run(*args, **kwargs):
            self.count += 1
            mine = self.left == 0
            self.left -= 1
            if mine and self.kind == "error" and self.count % 2:
                raise OSError(errno.ENOSPC, "injected")
            result = operation(*args, **kwargs)
            if mine and self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if mine and self.kind == "error":
                raise OSError(errno.EIO, "injected")
            if mine and self.kind == "interrupt":
                raise KeyboardInterrupt
            return result

        return run


def rows(key: int, version: int) -> tuple:
    values = np.full((3 + key, 2), 10 * key + version, np.float16)
    return values, np.arange(3.0 + key), np.ones(3 + key, bool)


def scenario(path: Path, log: int, again: bool = False) -> None:
    """Create, write, commit, overwrite, fail, commit; each step is logged once it is promised to be durable."""
    store = None
    steps = [
        lambda s: s.create(SPEC),
        *(lambda s, i=i: s.write("demo.x", *KEYS[i], *rows(i, 1)) for i in range(3)),
        lambda s: (s.commit(), note(log, b"1")),
        lambda s: s.write("demo.x", *KEYS[1], *rows(1, 2)),
        lambda s: s.write("demo.x", *KEYS[3], *rows(3, 2)),
        lambda s: s.record_failure("demo.x", "bad", None, "no sound"),
        lambda s: (s.commit(), note(log, b"2")),
        lambda s: s.close(),
    ]
    while store is None:
        try:
            store = FeatureStore.open(path, "a")
        except KeyboardInterrupt:
            if not again:
                raise
    for step in steps:
        try:
            step(store)
        except KeyboardInterrupt:  # what an interrupted method did not finish, calling it again does
            if not again:
                raise
            step(store)


_note = os.write


def note(log: int, text: bytes) -> None:
    _note(log, text)


def state(path: Path) -> dict:
    """Return what the store shows, as {key: version of its rows}; every value must be a complete, known series."""
    if not path.exists():
        return {}
    store = FeatureStore.open(path)
    shown = {}
    for name in store.feature_sets():
        for clip_id, entity_id, _ in store.series(name):
            key = KEYS.index((clip_id, entity_id))
            series = store.read(name, clip_id, entity_id)
            version = int(series.values[0, 0]) - 10 * key
            for mine, wanted in zip(series, rows(key, version), strict=True):
                if not np.array_equal(mine, wanted):
                    raise SystemExit(f"series {key} is not what was written")
            shown[key] = version
    return shown


BEFORE, FIRST, SECOND = {}, {0: 1, 1: 1, 2: 1}, {0: 1, 1: 2, 2: 1, 3: 2}


def check(path: Path, promised: bytes, number: int) -> None:
    """After a fault: exactly the promised commits are there, or the one under way too; then a second run completes."""
    allowed = {b"": (BEFORE, FIRST), b"1": (FIRST, SECOND), b"12": (SECOND,)}[promised]
    found = state(path)
    if found not in allowed:
        raise SystemExit(f"operation {number}: after commits {promised!r} the store shows {found}")
    if path.exists() and not verify(path)["ok"]:
        raise SystemExit(f"operation {number}: {verify(path)}")
    reader, writer = os.pipe()
    scenario(path, writer)
    os.close(reader)
    os.close(writer)
    if state(path) != SECOND or not verify(path)["ok"] or verify(path)["notes"]:
        raise SystemExit(f"operation {number}: a second run leaves {state(path)}, {verify(path)}")
    if [path.name for path in path.parent.iterdir()] != [path.name]:
        raise SystemExit(f"operation {number}: left over: {[path.name for path in path.parent.iterdir()]}")


def run_child(path: Path, number: int, kind: str) -> tuple[bytes, int]:
    """Run the scenario in a fork with a fault; return what it promised, and its exit status."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            fault = Fault(number, kind)
            scenario(path, writer, again=kind == "interrupt")
            status = 0
        except (OSError, Corrupt) as error:
            status = 2 if "injected" in str(error) else 1
            if status == 1:
                traceback.print_exc()
        except BaseException:  # noqa: BLE001 (a fork must never return into the parent's code)
            traceback.print_exc()
        finally:
            if number < 0:
                note(writer, b" %d" % fault.count)
            os._exit(status)
    os.close(writer)
    promised = b"".join(iter(lambda: os.read(reader, 100), b""))
    os.close(reader)
    return promised, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    folder, kind, first, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    (folder / "dry").mkdir()
    total = int(run_child(folder / "dry" / "f.zarr", -1, "none")[0].split()[1])
    tried = 0
    for number in range(first, total, step):
        place = folder / str(number)
        place.mkdir()
        promised, status = run_child(place / "f.zarr", number, kind)
        expected = {"kill": (-signal.SIGKILL,), "error": (0, 2), "interrupt": (0,)}[kind]
        if status not in expected:
            raise SystemExit(f"operation {number}: the child ended with {status}")
        check(place / "f.zarr", promised, number)
        shutil.rmtree(place)
        tried += 1
    print(json.dumps({"operations": total, "tried": tried}))


if __name__ == "__main__":
    main()
