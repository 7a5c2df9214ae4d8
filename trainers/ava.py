"""Active-speaker predictions against ground truth by the official protocol of AVA and UniTalk.

Source: the evaluation tool of AVA ActiveSpeaker, as UniTalk-ASD ships it. A row is identified by its time and entity;
the video is not part of that. Both files must have the same number of rows; boxes must agree within 1e-9; predictions
hold no label but SPEAKING_AUDIBLE. What the tool stops at is a `BadInput` here.

What deliberately differs: equal scores stay in the order of the ground truth (see `metrics.map_ava`), rows without a
partner are counted and said, and where the tool would say 0 because nothing matched there is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput
from .ava_csv import read_ava
from .ava_match import match
from .csv_table import SHOWN, Reader
from .groups import Ints
from .metrics._arrays import Floats
from .metrics.map_ava import rank, score_ranked

# The 22 test videos of UniTalk-ASD by what makes them difficult.
SUB_CATEGORIES = {
    "language": (
        "ho_oK12hY6M",
        "wgKtyUgka0o",
        "lnAa1N5ynyI",
        "Pc5iQdNpDX0",
        "SudOQF76xvE",
        "A72icPv2ZS8",
        "zgPkoFf3OCw",
    ),
    "mixed": (
        "qv3-HaaxGUc",
        "ABqo634gI5s",
        "6U6MBKqK_6s",
        "6w-qM52nnWk",
        "jKqR-ahl8po",
        "ZOVijL7huc8",
        "W7Qdjv8gcBY",
        "QRXbRSq8p4s",
        "kgVz_AXYvn0",
    ),
    "noise": ("EEey6Pt0rqI", "9Zja_cIAwY8", "Hyk-WhQBIq0"),
    "visual": ("wh3-1DUTb3Q", "AkkEnGdG0a0", "tMqqI5R9baU"),
}


@dataclass(frozen=True)
class AvaScore:
    """The score of some rows, as shares; the official tool prints percent.

    Args:
        rows: how many are scored.
        positives: how many of them are SPEAKING_AUDIBLE.
        score: with equal scores in the order of the ground truth; None (undefined) without positives.
        low, high: over all orders of rows with equal scores; None likewise.
    """

    rows: int
    positives: int
    score: float | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "rows": self.rows,
            "positives": self.positives,
            "map_ava": self.score,
            "percent": None if self.score is None else 100 * self.score,
            "lowest_tie_order": self.low,
            "highest_tie_order": self.high,
        }


@dataclass(frozen=True, eq=False)
class AvaRows:
    """Rows of the ground truth that have a prediction, in the order of the ground truth.

    Args:
        scores: (N,).
        speaking: whether the label is SPEAKING_AUDIBLE, (N,).
        videos: number of the video, (N,), into `video_names`.
        video_names: in code-point order.
        keys: number of the row in the ground truth, (N,).
        unmatched: how many rows of each file have no partner in the other.
    """

    scores: Floats
    speaking: npt.NDArray[np.bool_]
    videos: Ints
    video_names: tuple[str, ...]
    keys: Ints
    unmatched: int

    @cached_property
    def _ranked(self) -> Ints:
        """All rows from the highest score to the lowest."""
        return rank(self.scores)

    def score(self) -> AvaScore:
        """Score all rows together, as the official tool does.

        Raises:
            BadInput: there is no positive row, where the official tool stops.
        """
        found = _score(self.scores[self._ranked], self.speaking[self._ranked])
        if found.score is None:
            raise BadInput(
                "The official score of active speakers was asked for.",
                f"None of the {found.rows} matched rows of the ground truth is SPEAKING_AUDIBLE.",
                "Without a positive row there is no recall, hence no score; check the labels.",
            )
        return found

    def score_videos(self) -> dict[str, AvaScore]:
        """Score the rows of each video by themselves."""
        # Ranked rows sorted by video, stably: each video's rows lie together and stay ranked.
        # numpy sorts 16 bits in one pass, without comparing.
        code = self.videos[self._ranked].astype(np.uint16 if len(self.video_names) < 2**16 else np.int64)
        order = self._ranked[np.argsort(code, kind="stable")]
        stops = np.cumsum(np.bincount(self.videos, minlength=len(self.video_names)))
        parts = np.split(order, stops[:-1])
        return {
            name: _score(self.scores[rows], self.speaking[rows])
            for name, rows in zip(self.video_names, parts, strict=True)
        }

    def score_parts(self, parts: Mapping[str, Sequence[str]]) -> dict[str, AvaScore]:
        """Score the rows of several videos together, for each part.

        Args:
            parts: name of the part -> ids of its videos; those that are not here have no rows.
        """
        number = {name: i for i, name in enumerate(self.video_names)}
        found = {}
        for name, videos in parts.items():
            chosen = np.zeros(len(self.video_names), dtype=bool)
            chosen[[number[video] for video in videos if video in number]] = True
            rows = np.flatnonzero(chosen[self.videos])
            rows = rows[rank(self.scores[rows])]
            found[name] = _score(self.scores[rows], self.speaking[rows])
        return found

    def sub_categories(self) -> dict[str, list[str]]:
        """Return those of UniTalk's sub-categories that have a video here: name -> ids of its videos."""
        here = set(self.video_names)
        listed = {name: [video for video in videos if video in here] for name, videos in SUB_CATEGORIES.items()}
        return {name: videos for name, videos in listed.items() if videos}


def match_ava(predictions: Path, truth: Path) -> AvaRows:
    """Read both files and match their rows as the official tool does.

    Args:
        predictions: CSV with a score for each row.
        truth: CSV of the ground truth.

    Raises:
        NotFound: a file is not there.
        BadInput: a row is malformed or repeated, the numbers of rows differ, nothing matches, or boxes differ.
    """
    known, found = read_ava(truth, predictions=False), read_ava(predictions, predictions=True)
    rows, partners = match(known, found)
    names = sorted(known.video_names)
    number = {name: i for i, name in enumerate(names)}
    scores = found.scores if found.scores is not None else np.zeros(0)  # predictions have them, `read_ava` saw to it
    return AvaRows(
        scores=scores[partners],
        speaking=known.speaking[rows],
        videos=np.array([number[name] for name in known.video_names], dtype=np.int64)[known.videos[rows]],
        video_names=tuple(names),
        keys=rows,
        unmatched=len(known) - rows.size,
    )


def read_video_list(path: Path) -> list[str]:
    """Return the ids of a list of videos: one a line, without header, as UniTalk's lists are.

    Raises:
        NotFound: there is no such file.
        BadInput: it is empty, or a line has several cells.
    """
    with Reader(path) as reader:
        lines = [(line, [cell.strip() for cell in cells]) for line, cells in reader]
    wrong = [f"line {line}: {', '.join(cells)}" for line, cells in lines if len(cells) != 1 or not cells[0]]
    if wrong or not lines:
        raise BadInput(
            f"`{path}` was read as a list of videos.",
            f"{'; '.join(wrong[:SHOWN])}." if wrong else "It is empty.",
            "Write one id on each line.",
        )
    return [cells[0] for _, cells in lines]


def _score(ranked: Floats, speaking: npt.NDArray[np.bool_]) -> AvaScore:
    """Score rows that are ranked already."""
    positives = int(np.count_nonzero(speaking))
    if positives == 0:
        return AvaScore(int(ranked.size), 0)
    return AvaScore(int(ranked.size), positives, *score_ranked(ranked, speaking))
