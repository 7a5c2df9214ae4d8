"""Scenes of a batch, and what a context head gathers of their rows.

B is clips, T rows of the longest one, R = B * T their rows in one line, D columns of one input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...store.errors import BadInput
from ._asd_inputs import AUDIO, Pair
from ._asd_scene import MISSING, Ints, Scene

# Rows in view per forward, over all speakers and moments; bounds memory, changes no result.
CELLS_AT_ONCE = 16384


@dataclass(frozen=True, eq=False)
class Placed:
    """A scene of a batch.

    Args:
        scene: of one clip, n rows that have a sound or a face.
        places: number of each of its rows among the R of the batch, (n,).
    """

    scene: Scene
    places: Ints

    def placed(self, rows: Ints) -> Ints:
        """Return row numbers of the scene as those of the batch; `MISSING` stays."""
        return np.where(rows == MISSING, MISSING, self.places[rows])


def scenes_of(rows: Pair, faces: str, times: Mapping[str, Tensor] | None, entities: Tensor | None) -> list[Placed]:
    """Return the scenes of a batch; clips without any row have none.

    Args:
        rows: the batch's two inputs.
        faces: role of the faces.
        times, entities: see `Head.forward`.

    Raises:
        BadInput: without times, or if they fall.
    """
    if times is None or entities is None:
        raise BadInput(
            "The head `asd-context` was given a batch.",
            "Its rows have no times or no entities.",
            "Use it in tasks of unit `row`: it looks for rows of the same time.",
        )
    seconds = torch.where(rows.audio_there, times[AUDIO], times[faces])  # (B, T)
    arrays = [part.cpu().numpy() for part in (rows.there, seconds, entities)]
    scenes = []
    for i, (there, clock, who) in enumerate(zip(*arrays, strict=True)):
        own = np.flatnonzero(there)
        if (np.diff(clock[own]) < 0).any():
            raise BadInput(
                "The head `asd-context` was given a batch.",
                f"The times of its item {i} fall.",
                "Sort the rows of a clip by time, then entity.",
            )
        if own.size:
            scenes.append(Placed(Scene(who[own], clock[own]), own + i * len(there)))
    return scenes


def taken(values: Tensor, cells: Tensor) -> Tensor:
    """Return rows (R, D), or what is there (R,), at some cells (…): (…, D) or (…); 0 where they are `MISSING`."""
    found = values[cells.clamp_min(0)]
    here = cells >= 0
    return found & here if found.ndim == here.ndim else torch.where(here[..., None], found, 0.0)


def padded(index: Sequence[Ints]) -> Tensor:
    """Return tracks in view (S, T_i) as one (N, S, T), `MISSING` behind their ends.

    Example:
        >>> padded([np.array([[4, 5]]), np.array([[6]])]).tolist()
        [[[4, 5]], [[6, -1]]]
    """
    speakers, longest = index[0].shape[0], max(one.shape[1] for one in index)
    result = np.full((len(index), speakers, longest), MISSING)
    for place, one in zip(result, index, strict=True):
        place[:, : one.shape[1]] = one
    return torch.from_numpy(result)


def batches(index: Sequence[Ints]) -> Iterator[Tensor]:
    """Yield tracks in view, padded, some of about equal length at a time: (N, S, T) each."""
    order = sorted(range(len(index)), key=lambda i: -index[i].shape[1])
    start = 0
    while start < len(order):
        stop = start + max(1, CELLS_AT_ONCE // index[order[start]].size)
        yield padded([index[i] for i in order[start:stop]])
        start = stop


def drawer(training: bool) -> np.random.Generator | None:
    """Return what draws context speakers in training, seeded by torch's global generator; None otherwise."""
    return np.random.default_rng(int(torch.randint(2**62, ()))) if training else None
