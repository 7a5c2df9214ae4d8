"""Score active-speaker predictions by the official protocol: all rows, each video, each part, and against others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..store.errors import BadInput
from .ava import AvaRows, match_ava
from .evaluation import Evaluation
from .groups import Groups
from .intervals import Score, score_with_intervals
from .metrics import metric
from .paired import Paired, compare

# The labels of videos without a positive row are listed up to so many.
SHOWN = 5


def evaluate_ava(
    predictions: Path,
    truth: Path,
    names: Sequence[str],
    against: Path | None,
    parts: Mapping[str, Sequence[str]] | None,
    resamples: Callable[[int, list[str]], int],
    seed: int,
    task: str | None,
) -> Evaluation:
    """Score a pair of files; intervals and tests resample videos.

    Args:
        predictions, truth: the two files.
        names: of metrics of scores; `map_ava` is scored in any case.
        against: other predictions for the same ground truth.
        parts: name -> ids of videos; None for UniTalk's sub-categories, where its videos are here.
        resamples: number of rows and notes -> how many resamples; the notes get why there are none.
        seed: of the resamples.
        task: for the result.

    Raises:
        NotFound, BadInput: see `match_ava`; a part has no rows, or the other predictions match other rows.
    """
    rows = match_ava(predictions, truth)
    whole = rows.score()
    notes: list[str] = []
    _note_unmatched(rows, predictions, notes)
    known = rows.sub_categories() if parts is None else parts
    scored = {"videos": rows.score_videos(), "parts": rows.score_parts(known)}
    for what in scored:
        empty = [name for name, one in scored[what].items() if one.score is None]
        if what == "parts" and any(scored[what][name].rows == 0 for name in empty):
            missing = [name for name in empty if scored[what][name].rows == 0]
            raise BadInput(
                f"The parts {', '.join(known)} of the videos were to be scored.",
                f"No row is of a video of {', '.join(missing)}.",
                "Check the ids in the list of videos.",
            )
        if empty:
            named = ", ".join(empty[:SHOWN]) + (", …" if len(empty) > SHOWN else "")
            notes.append(f"Undefined for {len(empty)} of {len(scored[what])} {what} without SPEAKING_AUDIBLE: {named}.")
    if whole.low != whole.high and whole.low is not None and whole.high is not None:
        notes.append(
            f"Scores are tied: the official tool may print anything from {100 * whole.low:.4f}% to "
            f"{100 * whole.high:.4f}%; here ties are in the order of the ground truth."
        )
    count = resamples(len(rows.scores), notes)
    groups = Groups(rows.videos, rows.video_names)
    every = list(dict.fromkeys([*names, "map_ava"]))
    scores = _scores(rows, whole.score, every, groups, count, seed)
    paired: Mapping[str, Paired] = {}
    if against is not None:
        paired = _compare(rows, against, truth, every, groups, count, seed, notes)
    return Evaluation(
        predictions=str(predictions),
        truth=str(truth),
        form="ava",
        task=task,
        n=len(rows.scores),
        groups=len(rows.video_names),
        grouped="video_id",
        seeds=("",),
        fold_names=("all",),
        metrics={name: scores[name] for name in every},
        ava={"all": whole, **scored},
        against=None if against is None else str(against),
        paired=paired,
        notes=notes,
    )


def _note_unmatched(rows: AvaRows, predictions: Path, notes: list[str]) -> None:
    if rows.unmatched:
        notes.append(
            f"{rows.unmatched} rows of `{predictions}` have no partner in the ground truth, and as many there have no "
            "prediction; the official tool leaves them out without a word."
        )


def _scores(
    rows: AvaRows, whole: float | None, names: Sequence[str], groups: Groups, resamples: int, seed: int
) -> dict[str, Score]:
    """Score all rows; without resamples nothing is cut by video, which of millions of rows takes seconds."""
    if resamples > 0 and len(groups.names) > 1:
        folds = np.zeros(len(rows.scores), dtype=np.int64)
        return score_with_intervals(
            rows.scores, rows.speaking, folds, groups, names, fold_names=("all",), resamples=resamples, seed=seed
        )
    found = {}
    for name in names:
        value = whole if name == "map_ava" else float(metric(name)(rows.scores, rows.speaking))
        shown = None if value is None or np.isnan(value) else value
        reasons = (f"It is undefined: {metric(name).undefined}.",) if shown is None else ()
        found[name] = Score(name, shown, None, None, (shown,), shown, None, None, (shown,), reasons)
    return found


def _compare(
    rows: AvaRows,
    against: Path,
    truth: Path,
    names: Sequence[str],
    groups: Groups,
    resamples: int,
    seed: int,
    notes: list[str],
) -> dict[str, Paired]:
    """Test these predictions against others for the same ground truth."""
    others = match_ava(against, truth)
    _note_unmatched(others, against, notes)
    if not np.array_equal(others.keys, rows.keys):
        raise BadInput(
            f"The predictions were to be compared with `{against}`.",
            "They match other rows of the ground truth.",
            "Both must predict the same rows.",
        )
    folds = np.zeros(len(rows.scores), dtype=np.int64)
    return compare(rows.scores, others.scores, rows.speaking, folds, groups, names, resamples=resamples, seed=seed)
