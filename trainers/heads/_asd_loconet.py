"""LoCoNet's back end over the tracks of scenes: answers for each row, and the losses of a training step.

N is tracks in question, S speakers in view, T rows of the longest track, D columns of both inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...extractors.networks.loconet_back import LoCoNetBack
from ._asd_inputs import AUXILIARY, Pair
from ._asd_losses import contrastive_loss, loss_of_some, speaking
from ._asd_scene import Ints, context_of, speaker_rows
from ._asd_views import Placed, batches, drawer, taken
from ._base import Target


@dataclass(frozen=True, eq=False)
class Seen:
    """Tracks with their context, behind the cross-attention.

    Args:
        audio, visual: (N, S, T, D).
        audio_there, visual_there, there: what is not missing, (N, S, T); the sound is the target's for all speakers.
    """

    audio: Tensor
    visual: Tensor
    audio_there: Tensor
    visual_there: Tensor
    there: Tensor


def answers(back: LoCoNetBack, rows: Pair, scenes: Sequence[Placed], speakers: int, outputs: int) -> Tensor:
    """Return logits (B, T, outputs), 0 for rows that belong to no scene."""
    result = rows.audio.new_zeros(rows.there.numel(), outputs)
    tracks = [(one, entity) for one in scenes for entity in one.scene.tracks]
    for cells in batches(_in_view(tracks, speakers, back.training)):
        cells = cells.to(result.device)
        seen = _look(back, rows, cells)
        mine = seen.there[:, 0]  # (N, T)
        logits = back.lossAV["FC"](back.fuse(seen.audio, seen.visual, seen.there)[:, 0])  # (N, T, outputs)
        result[cells[:, 0][mine]] = logits[mine]
    return result.view(*rows.there.shape, outputs)


def training_loss(
    back: LoCoNetBack,
    rows: Pair,
    scenes: Sequence[Placed],
    target: Target,
    speakers: int,
    step_rows: int,
    contrastive: float,
    scale: float,
) -> Tensor:
    """Return the loss of some tracks of a batch, a scalar.

    With the auxiliary classifiers it is the published one, over all speakers in view; else that of the targets.

    Args:
        back: the back end.
        rows, scenes, target: of the batch.
        speakers: in view, S.
        step_rows: draw tracks until they have so many rows; 0: all tracks.
        contrastive: weight of the contrastive loss; `scale` is its temperature.
    """
    labels, counts = (part.flatten(0, 1) for part in target.rows())
    found: dict[str, list[tuple[Tensor, Tensor]]] = {"AV": [], "A": [], "V": []}
    sounds, faces = [], []
    tracks = _drawn(scenes, counts, step_rows)
    for cells in batches(_in_view(tracks, speakers, back.training)):
        cells = cells.to(labels.device)
        seen = _look(back, rows, cells)
        known, of_cells = taken(counts, cells), labels[cells.clamp_min(0)]  # (N, S, T) each
        speaks = speaking(of_cells[:, 0], known[:, 0]) if contrastive else None
        if back.lossA is None or back.lossV is None:
            known[:, 1:] = False
        else:
            for name, classifier, values, there in (
                ("A", back.lossA, seen.audio, known & seen.audio_there),
                ("V", back.lossV, seen.visual, known & seen.visual_there),
            ):
                found[name].append((classifier["FC"](values[there]), of_cells[there]))
        fused = back.fuse(seen.audio, seen.visual, seen.there)
        found["AV"].append((back.lossAV["FC"](fused[known]), of_cells[known]))
        if speaks is not None:
            speaks = speaks & seen.audio_there[:, 0] & seen.visual_there[:, 0]
            sounds += [track[mask] for track, mask in zip(seen.audio[:, 0], speaks, strict=True)]
            faces += [track[mask] for track, mask in zip(seen.visual[:, 0], speaks, strict=True)]
    total = _over(target, found["AV"])
    for name in ("A", "V"):
        if found[name]:
            total = total + AUXILIARY * _over(target, found[name])
    return total + contrastive * contrastive_loss(sounds, faces, scale) if contrastive else total


def _over(target: Target, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The run's loss over all parts together."""
    logits, labels = zip(*parts, strict=True)
    return loss_of_some(target, torch.cat(logits), torch.cat(labels))


def _look(back: LoCoNetBack, rows: Pair, cells: Tensor) -> Seen:
    """Gather what is in view, (N, S, T) row numbers, and let sound and faces see each other."""
    audio, visual = (part.flatten(0, 1) for part in (rows.audio, rows.visual))
    heard = taken(rows.audio_there.flatten(), cells[:, 0])  # (N, T)
    visible = taken(rows.visual_there.flatten(), cells)  # (N, S, T)
    crossed = back.crossed_speakers(taken(audio, cells[:, 0]), taken(visual, cells), heard, visible)
    return Seen(*crossed, heard[:, None].expand_as(visible), visible, cells >= 0)


def _in_view(tracks: Sequence[tuple[Placed, int]], speakers: int, training: bool) -> list[Ints]:
    """Return the rows of each track and its context speakers, (S, T_i) numbers of the batch."""
    rng = drawer(training)
    return [one.placed(speaker_rows(one.scene, context_of(one.scene, entity, speakers, rng))) for one, entity in tracks]


def _drawn(scenes: Sequence[Placed], counts: Tensor, step_rows: int) -> list[tuple[Placed, int]]:
    """Return tracks with a label, at least one, drawn until they have enough rows."""
    known = counts.cpu().numpy()
    tracks = [
        (one, entity) for one in scenes for entity, rows in one.scene.tracks.items() if known[one.places[rows]].any()
    ]
    if not step_rows:
        return tracks
    tracks = [tracks[i] for i in torch.randperm(len(tracks)).tolist()]
    before = np.cumsum([0, *(len(one.scene.tracks[entity]) for one, entity in tracks)])
    return [track for track, rows in zip(tracks, before, strict=False) if rows < step_rows]
