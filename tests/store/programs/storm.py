"""Writers and readers at work on one store, all at once; the writers are killed at random moments, round after round.

Usage: python storm.py FOLDER CONTAINER ROUNDS SEED

Four writers commit series whose content follows from key and version; one of them compacts the store now and then. Two
readers look at it all the time. After each round everything that was promised must be there unaltered, nothing else
may be, and opening the store for writing must leave the writing area clean. Prints one line of JSON: rounds, kills,
promised commits, looks of the readers, and series that they read.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import storm_ledger as ledger
from forks import Child
from scenario import compact_all, has
from storm_ledger import ALL_KEYS, SHARED_KEYS, SPECS, Broken, Ledger, Written

from cuebank.store import FeatureStore, NotFound
from cuebank.store.verify import verify

READERS = 2
LIFE = 10  # rounds until a new store is begun: making one is a race too
LONGEST_S = 0.2  # that a writer lives
COMPACTING_S = 0.5  # that the one lives which compacts: some of that must come to an end
ALL = [(name, key) for name in SPECS for key in ALL_KEYS]


def write(path: Path, log: int, writer: int, round_: int, rng: random.Random) -> None:
    """Commit one thing after the other, until killed."""
    parent = os.getppid()
    with FeatureStore.open(path, "a") as store:
        for spec in SPECS.values():
            store.create(spec)
        version = ledger.WRITERS * 1000 * round_ + writer
        while os.getppid() == parent:  # or the storm has failed, and nobody is left to kill us
            version += ledger.WRITERS  # no two writers have the same
            series = [(name, key) for name in SPECS for key in rng.sample(ledger.own_keys(writer), rng.randint(0, 3))]
            if rng.random() < 0.3:
                series.append((rng.choice(list(SPECS)), rng.choice(SHARED_KEYS)))
            for name, key in series:
                store.write(name, *key, *ledger.rows(name, key, version))
            if rng.random() < 0.2:
                store.record_failure("storm.a", f"failed {writer}", None, "no sound")
            ledger.note(log, f"begin {writer} {ledger.line_of(version, series)}")
            store.commit()
            ledger.note(log, f"done {writer}")
            if writer == 0 and has("compact") and rng.random() < 0.5:
                compact_all(store)


class Reader:
    """Looks at a store again and again: what was promised is there, what is there is whole, and stays while it is open.

    Args:
        path: of the store.
        log: of the writers.
        rng: draws what is looked at.
    """

    def __init__(self, path: Path, log: Path, rng: random.Random) -> None:
        self.book = Ledger(log)
        self.looks = self.series = 0
        self._path, self._rng = path, rng
        self._store: FeatureStore | None = None
        self._promised: set[Written] = set()
        self._oldest: dict[Written, int] = {}

    def renew(self) -> None:
        """See what has been committed; what was promised before must be in it."""
        self.book.read_on()
        self._promised = self.book.promised()
        self._oldest = {written: min(self.book.allowed(written), default=-1) for written in ALL}
        if self._store is not None and self._rng.random() < 0.7:
            self._store.refresh()
        else:
            try:
                self._store = FeatureStore.open(self._path)
            except NotFound:
                if self._promised:
                    raise
                return
        for name in self._store.feature_sets():
            for clip_id, entity_id, _ in self._store.series(name):
                if (clip_id, entity_id) not in ALL_KEYS:
                    raise Broken(f"there is a series {(clip_id, entity_id)} of {name}")

    def look(self) -> None:
        """Read some series, as they were when the view was renewed, however long that is ago."""
        if self._store is None:
            return
        time.sleep(self._rng.choice((0, 0.01, 0.05)))
        chosen = self._rng.sample(ALL, 12)
        shown = {written: ledger.check_series(self._store, written, written in self._promised) for written in chosen}
        self.book.read_on()
        for written, version in shown.items():
            if version is None:
                continue
            self.series += 1
            if not self.book.has_begun(written, version):
                raise Broken(f"{written} shows version {version}, which nobody has written")
            if version < self._oldest[written] and written[1] not in SHARED_KEYS:
                raise Broken(f"{written} shows version {version}, older than one promised before")
        self.looks += 1


def read(path: Path, log: Path, rounds: int, rng: random.Random, tell: Callable[[str], object]) -> None:
    """Look at the store until so many rounds are over."""
    reader, parent = Reader(path, log, rng), os.getppid()
    while reader.book.rounds < rounds and os.getppid() == parent:
        reader.renew()
        for _ in range(rng.choice((1, 1, 3))):
            reader.look()
    tell(f"{reader.looks} {reader.series}")


def storm(path: Path, log: Path, round_: int, seed: str) -> list[str]:
    """Let writers and readers loose on a store for a moment; return what the readers told."""
    rng, rounds = random.Random(seed), round_ % LIFE
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    writers = [
        Child(lambda _, w=writer: write(path, fd, w, round_, random.Random(f"{seed} writer {w}")))
        for writer in range(ledger.WRITERS)
    ]
    readers = [
        Child(lambda tell, r=reader: read(path, log, rounds + 1, random.Random(f"{seed} reader {r}"), tell))
        for reader in range(READERS)
    ]
    begin = time.monotonic()
    longest = [COMPACTING_S, *[LONGEST_S] * (ledger.WRITERS - 1)]
    for after, writer in sorted((rng.uniform(0, seconds), writer) for writer, seconds in enumerate(longest)):
        time.sleep(max(0, begin + after - time.monotonic()))
        os.kill(writers[writer].pid, signal.SIGKILL)
        ended(writers[writer], -signal.SIGKILL)
        ledger.note(fd, f"dead {writer}")
    ledger.note(fd, f"over {round_}")
    os.close(fd)
    return [ended(reader, 0) for reader in readers]


def ended(child: Child, expected: int) -> str:
    """Return what a child told; Broken unless it ended as expected."""
    status, told = child.wait()
    if status != expected:
        raise Broken(f"a child ended with {status}: {told}")
    return told


def check(path: Path, book: Ledger) -> None:
    """Raise Broken unless a store at rest shows what was promised, and of what was not nothing or all."""
    book.read_on()
    try:
        store = FeatureStore.open(path)
    except NotFound:
        if book.promises:
            raise
        return
    with store:
        promised = book.promised()
        for written in ALL:
            version = ledger.check_series(store, written, written in promised)
            if version is not None and version not in book.allowed(written):
                raise Broken(f"{written} shows version {version}, not one of {book.allowed(written)}")


def check_clean(path: Path) -> None:
    """Raise Broken unless opening the store for writing removes what the dead have left."""
    FeatureStore.open(path, "a").close()
    left = {one.name for one in path.parent.iterdir()} - {path.name, f"{path.name}.segments"}
    if left:
        raise Broken(f"left over beside the store: {sorted(left)}")


def main() -> None:
    folder, container, rounds, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    looks = series = promises = 0
    log, book = folder / "log", Ledger(folder / "log")
    place = folder / "store"
    path = place / f"features.{container}"
    for round_ in range(rounds):
        if round_ % LIFE == 0:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            log.write_bytes(b"")
            book = Ledger(log)
        before = book.promises
        for told in storm(path, log, round_, f"{seed} {round_}"):
            looks, series = looks + int(told.split()[0]), series + int(told.split()[1])
        check(path, book)
        promises += book.promises - before
        check_clean(path)
        if round_ % LIFE == LIFE - 1 or round_ == rounds - 1:
            report = verify(path)
            if not report["ok"] or report["notes"]:
                raise Broken(f"after round {round_} verify says {report}")
    told = {"rounds": rounds, "kills": rounds * ledger.WRITERS, "promises": promises, "looks": looks, "series": series}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
