"""Run the scenario many times, each time with one fault at one file operation, and prove the laws of the store.

Usage: python faults.py FOLDER CONTAINER KIND SEED COUNT

Every operation that a kind of fault can hit is a point; COUNT of them are drawn by SEED, 0 takes all. Kinds:

    kill       the process is killed just after the operation
    interrupt  Ctrl-C strikes just after it
    refuse     it fails and does nothing: no space, a failed rename, a failed fsync, a file that cannot be read
    lost       it does its work, but an error comes back
    short      it writes only a part of the data, and says so
    full       from it on there is no space on the disk
    limit      no file may grow beyond some size; the kernel sees to that, under C libraries too

Each fault strikes in a fork of one warm process. Prints one line of JSON: how many points there are, and how many were
tried.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scenario
import shim
from forks import Child, share_out

DONE, FAILED, WRONG = 0, 2, 3  # how a child ends: all steps done; the fault was reported; something else happened
KINDS = {
    "kill": (-signal.SIGKILL,),
    "interrupt": (DONE,),
    "refuse": (DONE, FAILED),
    "lost": (DONE, FAILED),
    "short": (DONE,),
    "full": (DONE, FAILED),
    "limit": (DONE, FAILED),
}
LIMITS = range(0, 2**15, 64)  # the files of the scenario are about as long
ERRORS = dict.fromkeys(shim.NAMES[1:] + shim.SYNCS + shim.LOOKS, errno.EIO)


class Fault:
    """Counts the operations that a kind of fault can hit, and strikes at one of them.

    Args:
        kind: of fault.
        number: of the operation; below 0 nothing strikes.
    """

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.number = kind, number
        self.count = 0
        shim.install(self.around, shim.CHANGES + (shim.LOOKS if kind == "refuse" else ()))

    def _can_hit(self, name: str, args: tuple) -> bool:
        if self.kind == "short":
            return name in shim.WRITES and len(args[1]) > 1
        if self.kind == "full":
            return shim.creates(name, args)
        if self.kind == "kill":  # after anything else the disk is as it was before
            return name in shim.NAMES or shim.creates(name, args)
        if name == "close":  # never fails without closing; and `shutil` closes folders twice when it fails there
            return self.kind == "lost" and stat.S_ISREG(os.fstat(args[0]).st_mode)
        return True

    def around(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        if not self._can_hit(name, args):
            return operation(*args, **kwargs)
        here, self.count = self.count, self.count + 1
        if self.number < 0 or here < self.number or (here > self.number and self.kind != "full"):
            return operation(*args, **kwargs)
        return getattr(self, f"_{self.kind}")(name, operation, args, kwargs)

    def _kill(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> None:
        with contextlib.suppress(OSError):  # some operations fail, as they should; that moment is as good as any
            operation(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    def _interrupt(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> None:
        operation(*args, **kwargs)
        raise KeyboardInterrupt

    def _refuse(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> None:
        reading = name == "open" and not shim.creates(name, args)
        raise OSError(errno.EIO if reading else ERRORS.get(name, errno.ENOSPC), f"injected into {name}")

    def _lost(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> None:
        operation(*args, **kwargs)
        raise OSError(errno.EIO, f"injected after {name}")

    def _short(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> int:
        return operation(args[0], memoryview(args[1])[: len(args[1]) // 2], *args[2:], **kwargs)

    def _full(self, name: str, operation: Callable[..., Any], args: tuple, kwargs: dict) -> None:
        raise OSError(errno.ENOSPC, f"injected into {name}")


def set_fault(kind: str, number: int) -> Callable[[], int]:
    """Let a fault strike in this process; return a function that tells how many points there are."""
    if kind != "limit":
        fault = Fault(kind, number)
        return lambda: fault.count
    if number >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMITS[number], LIMITS[number]))
    return lambda: len(LIMITS)


def reported(error: BaseException | None, kind: str) -> bool:
    """Return whether an error tells of the fault."""
    while error is not None:
        if "injected" in str(error) or (kind == "limit" and isinstance(error, OSError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def run_with_fault(path: Path, kind: str, number: int, tell: Callable[[str], object]) -> int:
    """Run the scenario with a fault; tell a `+` for each step, and how it ended."""
    points = set_fault(kind, number)
    try:
        # Every other time an error ends the process on the spot, as a crash would.
        scenario.run(path, lambda: tell("+"), again=kind == "interrupt", tidy=number % 2 == 0)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is what we look for)
        tell(traceback.format_exc())
        return FAILED if reported(error, kind) else WRONG
    if number < 0:
        tell(str(points()))
    return DONE


def run_child(path: Path, kind: str, number: int) -> tuple[int, int, str]:
    """Run the scenario in a fork with a fault; return its exit status, how many steps it promised, its last words."""
    status, told = Child(lambda tell: run_with_fault(path, kind, number, tell)).wait()
    words = told.lstrip("+")
    return status, len(told) - len(words), words


def strike(place: Path, container: str, kind: str, number: int) -> str:
    """Let one fault strike, look at what it left, and return what is wrong with that."""
    place.mkdir()
    path = place / f"features.{container}"
    status, promised, words = run_child(path, kind, number)
    try:
        if status not in KINDS[kind]:
            raise scenario.Broken("the child did not end as it should")
        scenario.check(path, max(promised, 1))
        scenario.complete(path)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is what we look for)
        told = f"{traceback.format_exc()}The child ended with {status}. {words}"
        return f"{kind} at point {number}, after {promised} steps: {error!r}\n{told}"
    finally:
        shutil.rmtree(place)
    return ""


def main() -> None:
    folder, container, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    seed, count = map(int, sys.argv[4:])
    (folder / "dry").mkdir()
    status, promised, words = run_child(folder / "dry" / f"features.{container}", kind, -1)
    if status != DONE or promised != len(scenario.STEPS):
        raise SystemExit(f"without a fault the scenario ends with {status}: {words}")
    total = int(words)
    points = random.Random(seed).sample(range(total), min(count, total)) if count else range(total)
    broken = share_out(points, lambda number: strike(folder / str(number), container, kind, number))
    if broken:
        raise SystemExit("\n".join([f"{len(broken)} of {len(points)} points break the laws:", *broken[:5]]))
    print(json.dumps({"points": total, "tried": len(points)}))


if __name__ == "__main__":
    main()
