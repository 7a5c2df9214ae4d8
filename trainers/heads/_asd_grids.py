"""The context head of Active Speakers in Context over the faces of scenes: answers for each row, and a step's loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...extractors.networks.asc_context import AscContext
from ._asd_inputs import Pair
from ._asd_scene import Ints, grids
from ._asd_views import CELLS_AT_ONCE, Placed, drawer
from ._base import Target


def answers(back: AscContext, rows: Pair, scenes: Sequence[Placed], size: tuple[int, int, int]) -> Tensor:
    """Return logits (B, T, outputs), 0 for rows that belong to no scene; `size`: moments, stride, speakers."""
    result = rows.audio.new_zeros(rows.there.numel(), back.fc_final.out_features)
    rng = drawer(back.training)
    for one in scenes:
        for some in torch.arange(len(one.places)).split(max(1, CELLS_AT_ONCE // (size[0] * size[2]))):
            targets: Ints = some.numpy()
            cells = one.placed(grids(one.scene, targets, *size, rng))
            result[torch.from_numpy(one.places[targets]).to(result.device)] = back(_grid(rows, torch.from_numpy(cells)))
    return result.view(*rows.there.shape, -1)


def training_loss(
    back: AscContext,
    rows: Pair,
    scenes: Sequence[Placed],
    target: Target,
    size: tuple[int, int, int],
    step_rows: int,
) -> Tensor:
    """Return the run's loss over some labelled faces of a batch, a scalar.

    Args:
        back: the back end.
        rows, scenes, target: of the batch.
        size: moments, stride, speakers.
        step_rows: draw so many faces; 0: all.
    """
    labels, counts = (part.flatten(0, 1) for part in target.rows())
    known = torch.cat([torch.from_numpy(one.places) for one in scenes])
    known = known[counts.cpu()[known]]
    if step_rows:
        known = known[torch.randperm(len(known))[:step_rows]]
    chosen = torch.zeros(len(counts), dtype=torch.bool)
    chosen[known] = True
    rng, cells, places = drawer(back.training), [], []
    for one in scenes:
        targets = chosen[torch.from_numpy(one.places)].nonzero().squeeze(1).numpy()
        cells.append(torch.from_numpy(one.placed(grids(one.scene, targets, *size, rng))))
        places.append(torch.from_numpy(one.places[targets]))
    return target.loss_of(back(_grid(rows, torch.cat(cells))), labels[torch.cat(places).to(labels.device)])


def _grid(rows: Pair, cells: Tensor) -> Tensor:
    """Return the embeddings of some cells (m, L, S), audio first, (m, C, L, S); 0 where one of both is missing."""
    cells = cells.to(rows.audio.device)
    both = [part.flatten(0, 1)[cells] for part in (rows.audio, rows.visual)]
    return torch.cat(both, -1).movedim(-1, 1)
