"""Groups: the units that folds must not split and that intervals resample (a meeting, a session, a subject)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """The group of each row.

    Args:
        codes: (N,) int64, 0..len(names) − 1.
        names: in code-point order (capitals first), so that codes are sorted as the names are.
        notes: sentences for the report.
    """

    codes: Ints
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def resolve_groups(group_ids: Sequence[str | None], clip_ids: Sequence[str]) -> Groups:
    """Return the group of each row.

    A table without any group_id makes each *clip* its own group (its entities stay together), which the notes
    say: if one person or meeting is in several clips, folds then leak and intervals are too narrow.

    Args:
        group_ids: the value of each row, (N,).
        clip_ids: of each row, (N,).

    Raises:
        BadInput: there are no rows, or some rows have a group and others none.

    Example:
        >>> resolve_groups(["b", "a", "b"], ["1", "2", "3"]).codes
        array([1, 0, 1])
    """
    blank = [i for i, group in enumerate(group_ids) if group is None]
    if not group_ids or len(group_ids) != len(clip_ids) or 0 < len(blank) < len(group_ids):
        first = f", the first for clip {clip_ids[blank[0]]!r}" if blank and blank[0] < len(clip_ids) else ""
        raise BadInput(
            "The group of each row was asked for.",
            f"{len(blank)} of {len(group_ids)} rows have no group_id{first} ({len(clip_ids)} clip ids).",
            "Fill the column group_id for all rows, or leave it out so that each clip is its own group.",
        )
    notes: tuple[str, ...] = ()
    values: list[str] = [group for group in group_ids if group is not None]
    if blank:
        values = list(clip_ids)
        notes = (
            "The clips table has no group_id: each clip is its own group, so clips of one person or meeting may be "
            "on both sides of a split.",
        )
    # Sorting Python strings, not numpy's: those drop trailing NUL characters, which would merge two groups.
    names = tuple(sorted(set(values)))
    number = {name: code for code, name in enumerate(names)}
    return Groups(np.array([number[value] for value in values], dtype=np.int64), names, notes)
