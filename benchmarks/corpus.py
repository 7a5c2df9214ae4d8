"""The features on which reading and writing are measured: seeded noise, clips of 50 to 400 rows x 768 float16."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from cuebank.store import FeatureSpec, Recipe, Timebase

DIM, LEAST, MOST = 768, 50, 400
COMMIT_BYTES = 64 * 2**20
TIMEBASE = Timebase(Fraction(50), Fraction(1, 80), Fraction(1, 40))
RECIPE = Recipe("synthetic", {"source": "random", "seed": 0})
CONTAINERS = {"Zarr": ".zarr", "HDF5": ".h5"}


class Noise:
    """Clips of seeded noise; two of the same number of clips are equal.

    Args:
        clips: how many.
    """

    def __init__(self, clips: int) -> None:
        self.rng = np.random.default_rng(0)
        self.rows = self.rng.integers(LEAST, MOST + 1, clips)
        self.starts = np.concatenate([[0], np.cumsum(self.rows)])
        self.keys = [f"session-{i // 40:03d}/clip-{i:05d}" for i in range(clips)]
        self._pool = self.rng.standard_normal((4 * MOST, DIM)).astype(np.float16)
        self._firsts = self.rng.integers(0, len(self._pool) - self.rows)
        self._times = TIMEBASE.centers(MOST)
        self._valid = np.ones(MOST, bool)

    def values(self, i: int) -> np.ndarray:
        """(rows, DIM) float16 of a clip: a view."""
        return self._pool[self._firsts[i] : self._firsts[i] + self.rows[i]]

    def series(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, times and flags of a clip."""
        return self.values(i), self._times[: self.rows[i]], self._valid[: self.rows[i]]


def spec(name: str, regular: bool = True, codec: str = "none") -> FeatureSpec:
    """The description of a feature set of such clips."""
    return FeatureSpec(name, "numeric", DIM, "float16", RECIPE, TIMEBASE if regular else None, codec=codec)
