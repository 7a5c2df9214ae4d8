"""Fill a store with known series, as an extraction would: what is missing, in a seeded order, commit by commit.

Usage: python writer.py STORE SEED SERIES COMMIT_EVERY

Prints `ready` when it begins, the numbers of the series after each commit that covers them, and `done`.
"""

from __future__ import annotations

import sys

import numpy as np

from cuebank.store import FeatureSpec, FeatureStore, Recipe

DIM = 16
SPECS = [FeatureSpec(name, "numeric", DIM, "float16", Recipe("demo", {"source": name})) for name in ("a.x", "b.x")]


def key(number: int) -> tuple[str, str | None]:
    """Return the key of a series."""
    return f"clip {number // 2}", "left" if number % 2 else None


def series(number: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of a series; they are the same in every run."""
    rng = np.random.default_rng([number, len(name), ord(name[0])])
    rows = int(rng.integers(1, 400))
    return rng.standard_normal((rows, DIM)).astype(np.float16), np.arange(rows) / 50, np.ones(rows, bool)


def main() -> None:
    path, seed, count, every = sys.argv[1], *map(int, sys.argv[2:])
    with FeatureStore.open(path, "a") as store:
        for spec in SPECS:
            store.create(spec)
        print("ready", flush=True)
        missing = {spec.name: set(store.missing(spec.name, map(key, range(count)))) for spec in SPECS}
        waiting = []
        for number in np.random.default_rng(seed).permutation(count).tolist():
            for spec in SPECS:
                if key(number) in missing[spec.name]:
                    store.write(spec.name, *key(number), *series(number, spec.name))
            waiting.append(number)
            if len(waiting) >= every:
                store.commit()
                print(*waiting, flush=True)
                waiting = []
        store.commit()
        print(*waiting, flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
