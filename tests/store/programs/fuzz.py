"""Damage a store in thousands of ways, and look at it in every way that there is.

Usage: python fuzz.py FOLDER CONTAINER SEED FIRST COUNT

Store number N is damaged by what SEED and N draw: one to three mutations, and, in half of the cases, all checksums made
anew as a hostile writer would. Looking at it may give what was written or an error of cuebank; nothing else, not after
two seconds, not with more than 300 MB, and never a byte of the twin outside to which links lead. Prints one line of
JSON: how many stores were looked at, how many of them had been sealed, how many reads gave rows, how many errors.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import forger
import mutations
import numpy as np
import seals
from forks import Child
from patient import CANARY, COMMITS, KEYS, SPECS, Patient, rows

from cuebank.store import CuebankError, FeatureStore, Series
from cuebank.store.gather import gather
from cuebank.store.verify import verify

SECONDS = 2.0
MEMORY = 300 * 2**20
REFUSALS = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # by the system, not by the file


class Broken(Exception):
    """A law of the store does not hold."""


class TooLong(BaseException):
    """Looking took more than two seconds. Not an Exception: nothing may swallow it."""


def too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooLong


def written() -> dict[tuple[str, int], list[Series]]:
    """Return all that was ever written of each series."""
    found = collections.defaultdict(list)
    for version, (name, keys) in enumerate(COMMITS):
        for key in keys:
            found[name, key].append(rows(SPECS[name], key, version))
    return found


class Look:
    """Looks at a store and counts what comes of it.

    Args:
        path: of the store.
        sealed: whether checksums were made anew, so that wrong rows may be well sealed.
    """

    known = written()

    def __init__(self, path: Path, sealed: bool) -> None:
        self.path, self.sealed = path, sealed
        self.read = self.errors = 0

    def attempt(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function returns, None if it raises an error that it may."""
        try:
            return function(*args)
        except CuebankError:
            self.errors += 1
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            self.errors += 1
        return None

    def all(self) -> bool:
        """Look in every way; return whether `verify` finds the store sound."""
        report = self.attempt(verify, self.path)
        store = self.attempt(FeatureStore.open, self.path)
        if store is not None:
            with store:
                for question in (store.info, store.coverage, store.clips_versions, store.clips):
                    self.attempt(question)
                for name in self.attempt(store.feature_sets) or ():
                    self.feature_set(store, name)
        return report is not None and report["ok"]

    def feature_set(self, store: FeatureStore, name: str) -> None:
        """Look at one feature set."""
        items = self.attempt(lambda: [(item.clip_id, item.entity_id) for item in store.series(name)]) or []
        self.attempt(store.failures, name)
        self.attempt(store.missing, name, KEYS)
        for clip_id, entity_id in [*KEYS[::2], *items[:3], ("bad", None)]:
            self.check(name, (clip_id, entity_id), self.attempt(store.read, name, clip_id, entity_id))
            self.attempt(store.read, name, clip_id, entity_id, 0.05, 0.1)
        batch = self.attempt(gather, store, name, items[:5])
        if batch is not None and (batch.values == CANARY).any():
            raise Broken(f"a batch of {name} comes from outside the store")

    def check(self, name: str, key: tuple[str, str | None], found: Series | None) -> None:
        """Raise Broken if rows are none that were ever written under this name."""
        if found is None:
            return
        self.read += 1
        if (found.values == CANARY).any() or str(CANARY) in found.values.tolist():
            raise Broken(f"series {key} of {name} comes from outside the store")
        known = self.known[name, KEYS.index(key)] if key in KEYS and name in SPECS else []
        if not self.sealed and not any(all(map(np.array_equal, found, one)) for one in known):
            raise Broken(f"series {key} of {name} is not what was written, and nothing says so")


class Damage(NamedTuple):
    """What was done to a store."""

    told: list[str]
    sealed: bool  # checksums were made anew, so wrong rows may be well sealed
    visible: bool  # `verify` must see it


def damage(patient: Patient, container: str, rng: random.Random) -> Damage:
    """Damage a store."""
    own = mutations.ZARR if container == "zarr" else forger.HDF5
    group = rng.choice([mutations.ACCIDENTS, mutations.ALONE, mutations.MOVES, mutations.MOVES, own, own, own, own])
    told = []
    with contextlib.suppress(mutations.NothingLeft):
        for _ in range(rng.choice((1, 1, 2, 3))):
            told.append(rng.choice(group)(patient, rng))
    sealed = rng.random() < 0.5 if container == "zarr" else group is own
    if sealed and container == "zarr":
        seals.seal(patient)
    visible = group is mutations.ACCIDENTS and not sealed
    patient.forget_readers()  # we may have been some
    return Damage(told, sealed, visible and patient.is_changed())


def limit_memory() -> None:
    """Let this process have no more memory than it has now, and 300 MB."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))


def examine(patient: Patient, done: Damage, totals: collections.Counter) -> str:
    """Look at a damaged store; return what law is broken."""
    look = Look(patient.path, done.sealed)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        if look.all() and done.visible:
            raise Broken("verify finds nothing")
        if patient.readers():
            raise Broken("something has read outside the store")
    except BaseException:  # noqa: BLE001 (whatever it is, it is what we look for)
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        totals.update(stores=1, sealed=done.sealed, read=look.read, errors=look.errors)
    return ""


def fuzz(folder: Path, container: str, seed: str, numbers: range, tell: Callable[[str], object]) -> None:
    """Damage a store again and again; tell, as JSON, what came of it."""
    folder.mkdir()
    patient = Patient(folder, container)
    Look(patient.path, False).all()  # all is imported before memory is measured
    limit_memory()
    signal.signal(signal.SIGALRM, too_long)
    totals, broken = collections.Counter(), []
    for number in numbers:
        done = damage(patient, container, random.Random(f"{seed} {number}"))
        wrong = examine(patient, done, totals)
        if wrong:
            sealed = "sealed" if done.sealed else "not sealed"
            broken.append(f"store {number}, {sealed}: {'; '.join(done.told)}\n{wrong}")
        patient.heal()
    if not verify(patient.path)["ok"]:
        broken.append("the patient has not been healed")
    tell(json.dumps({"totals": totals, "broken": broken}))


def main() -> None:
    folder, container, seed = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    first, count = map(int, sys.argv[4:])
    numbers, share = range(first, first + count), os.cpu_count() or 1
    children = [
        Child(lambda tell, i=i: fuzz(folder / str(i), container, seed, numbers[i::share], tell)) for i in range(share)
    ]
    totals, broken = collections.Counter(), []
    for status, told in [child.wait() for child in children]:
        if status:
            raise SystemExit(f"a child ended with {status}: {told}")
        totals.update(json.loads(told)["totals"])
        broken += json.loads(told)["broken"]
    if broken:
        kinds = {text.strip().rpartition("\n")[2]: text for text in broken}
        first = f"{len(broken)} of {count} stores break the laws; one of each kind:"
        raise SystemExit("\n".join([first, *kinds.values()]))
    print(json.dumps(totals))


if __name__ == "__main__":
    main()
