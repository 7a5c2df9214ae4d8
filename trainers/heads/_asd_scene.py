"""Who is beside whom in a scene: which rows a context head sees around each face.

Source: LoCoNet (CVPR 2024) and Active Speakers in Context (CVPR 2020), written from descriptions. What differs: in
evaluation nothing is drawn at random (both shuffle context speakers there too), so that answers are repeatable.

A scene is the rows of all entities of one clip that have a sound or a face, n of them, sorted by time, then entity.
S is speakers in view, the one in question first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
MISSING = -1


@dataclass(frozen=True, eq=False)
class Scene:
    """The rows of one scene.

    Args:
        entities: (n,), whose row it is.
        times: (n,) float64 seconds, never falling; simultaneous rows have equal times.
    """

    entities: Ints
    times: npt.NDArray[np.float64]

    @cached_property
    def instants(self) -> Ints:
        """Number of each row's time, counted from 0, (n,)."""
        return np.cumsum(np.diff(self.times, prepend=self.times[:1]) > 0)

    @cached_property
    def tracks(self) -> dict[int, Ints]:
        """entity -> its rows, in order of time."""
        order = np.argsort(self.entities, kind="stable")
        names, starts = np.unique(self.entities[order], return_index=True)
        return {int(name): rows for name, rows in zip(names, np.split(order, starts[1:]), strict=True)}

    def at_instant(self, instant: int) -> Ints:
        """Return the rows of one time."""
        return np.arange(*np.searchsorted(self.instants, [instant, instant + 1]))


def context_of(scene: Scene, entity: int, speakers: int, rng: np.random.Generator | None = None) -> list[int]:
    """Choose LoCoNet's context speakers: entities that are there in the middle of a track.

    Args:
        scene: with the track.
        entity: whose track it is.
        speakers: S, as many entities are returned.
        rng: for training: only entities that share more than half of the track's times, in random order. None: those
            that share most come first, ties in order of number.

    Returns:
        S entities, the one in question first; others are repeated where there are too few, or it is if it is alone.
    """
    rows = scene.tracks[entity]
    times = scene.instants[rows]
    beside = [int(name) for name in scene.entities[scene.at_instant(times[len(rows) // 2])] if name != entity]
    shared = {name: int(np.isin(times, scene.instants[scene.tracks[name]]).sum()) for name in beside}
    if rng is None:
        beside = sorted(beside, key=lambda name: (-shared[name], name))
    else:
        beside = [name for name in rng.permutation(beside).tolist() if 2 * shared[name] > len(rows)]
    others = beside or [entity]
    return [entity, *(others[k % len(others)] for k in range(speakers - 1))]


def speaker_rows(scene: Scene, speakers: Sequence[int]) -> Ints:
    """Return the rows of some entities at the times of the first one's track, (S, T); `MISSING` where one has none."""
    times = scene.instants[scene.tracks[speakers[0]]]
    result = np.full((len(speakers), len(times)), MISSING)
    for place, name in zip(result, speakers, strict=True):
        rows = scene.tracks[name]
        own = scene.instants[rows]
        found = np.minimum(np.searchsorted(own, times), len(rows) - 1)
        place[:] = np.where(own[found] == times, rows[found], MISSING)
    return result


def grids(
    scene: Scene, targets: Ints, moments: int, stride: int, speakers: int, rng: np.random.Generator | None = None
) -> Ints:
    """Return the grid of rows that Active Speakers in Context sees around each of some rows.

    A grid has the target's own row and the simultaneous rows of other entities in its middle, and before and behind
    each those of its track, every `stride` rows; the first and last one are repeated beyond the track's ends.

    Args:
        scene: all rows.
        targets: rows in question, (m,).
        moments: L, odd.
        stride: in rows of a track.
        speakers: S; others are repeated where there are too few, or the target is if it is alone.
        rng: for training: which others come first is drawn. None: they come in order after the target, in a ring.

    Returns:
        (m, L, S).
    """
    starts, counts = (part[scene.instants[targets]] for part in _instants(scene))  # (m,)
    others = np.maximum(counts - 1, 1)
    turn = np.zeros_like(others) if rng is None else rng.integers(0, others)
    steps = 1 + (np.arange(speakers - 1) + turn[:, None]) % others[:, None]  # (m, S - 1), from the target onwards
    middles = starts[:, None] + (targets[:, None] - starts[:, None] + steps) % counts[:, None]
    middles = np.concatenate([targets[:, None], middles], 1)  # (m, S)
    sorted_rows = np.argsort(scene.entities, kind="stable")  # track after track
    names, first, sizes = np.unique(scene.entities[sorted_rows], return_index=True, return_counts=True)
    track = np.searchsorted(names, scene.entities[middles])
    places = np.empty_like(sorted_rows)
    places[sorted_rows] = np.arange(len(sorted_rows))
    wanted = places[middles][:, None] + stride * (np.arange(moments) - moments // 2)[:, None]  # (m, L, S)
    begin, end = first[track][:, None], (first + sizes - 1)[track][:, None]
    return sorted_rows[np.clip(wanted, begin, end)]


def _instants(scene: Scene) -> tuple[Ints, Ints]:
    """The first row of each time, and how many rows it has."""
    starts = np.flatnonzero(np.diff(scene.instants, prepend=-1))
    return starts, np.diff(np.append(starts, len(scene.instants)))
