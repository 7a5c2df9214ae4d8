"""The clips table: which pieces of media there are, who is in them, how they may be split, and their labels."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import BadInput, NotFound, nearest
from .keys import Key, check_id

COLUMNS = ("clip_id", "path", "entity_id", "start", "end", "group_id", "split", "fold")
REQUIRED = ("clip_id", "path")


@dataclass(frozen=True)
class Clip:
    """A piece of media, or an entity in one.

    Args:
        clip_id: any text that is not empty.
        path: the media file.
        entity_id: someone or something in it; None means the whole clip.
        start: seconds in the file at which the clip starts; None: at its start.
        end: likewise its end.
        group_id: the unit that folds must not split: meeting, session, subject.
        split: `train`, `val`, `test` or whatever the data set calls them.
        fold: number or name of the fold.
        labels: label column -> number, text, or None where it is missing.
    """

    clip_id: str
    path: Path
    entity_id: str | None = None
    start: float | None = None
    end: float | None = None
    group_id: str | None = None
    split: str | None = None
    fold: int | str | None = None
    labels: Mapping[str, float | str | None] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The key of this clip's series."""
        return Key(self.clip_id, self.entity_id)


class ClipsTable:
    """An ordered table of clips with unique keys.

    Args:
        clips: the rows.
        label_columns: label column -> `number` or `text`, in order.

    Raises:
        BadInput: for an empty or repeated key, or a label that is not in its column's kind.
    """

    def __init__(self, clips: Iterable[Clip], label_columns: Mapping[str, str] | None = None) -> None:
        self.clips = tuple(clips)
        self.label_columns: Mapping[str, str] = MappingProxyType(dict(label_columns or {}))
        self._by_key: dict[Key, Clip] = {}
        for clip in self.clips:
            _check_clip(clip, self.label_columns)
            if self._by_key.setdefault(clip.key, clip) is not clip:
                raise BadInput(
                    "A clips table was made.", f"The key {tuple(clip.key)} is there twice.", "Make keys unique."
                )

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClipsTable):
            return NotImplemented
        return self.clips == other.clips and list(self.label_columns.items()) == list(other.label_columns.items())

    __hash__ = None  # type: ignore[assignment]  # like a list: compared by content, not hashed

    def __repr__(self) -> str:
        return f"ClipsTable({len(self)} clips, labels {dict(self.label_columns)})"

    def get(self, key: tuple[str, str | None]) -> Clip:
        """Return the clip with this key.

        Raises:
            NotFound: with the nearest clip ids.
        """
        try:
            return self._by_key[Key(*key)]
        except KeyError:
            known = sorted({clip.clip_id for clip in self.clips[:5000]})
            raise NotFound(
                f"The clips table was asked for {tuple(key)}.", nearest(key[0], known), "Add it to the table."
            ) from None

    @classmethod
    def read_csv(cls, path: str | os.PathLike[str], check_media: bool = True) -> ClipsTable:
        """Read and check a clips table; all its problems are reported together, with line numbers.

        Args:
            path: a CSV file in UTF-8 with the columns `clip_id`, `path`, and optionally `entity_id`, `start`, `end`,
                `group_id`, `split`, `fold`; every other column is a label. Media paths are absolute or relative to
                the table's folder.
            check_media: whether the media files must exist.

        Raises:
            NotFound: if there is no such file.
            BadInput: if there is any problem in it.
        """
        from .clips_csv import read_rows

        clips, label_columns = read_rows(Path(path), check_media)
        return cls(clips, label_columns)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table with absolute media paths; an existing file is replaced in one step.

        Columns of which no clip has a value are left out.
        """
        fields = [name for name in COLUMNS if name in REQUIRED or any(getattr(c, name) is not None for c in self)]
        target = Path(path)
        waiting = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
        try:
            with waiting.open("x", encoding="utf-8", newline="") as file:
                file.write(",".join(map(_cell, [*fields, *self.label_columns])) + "\n")
                for clip in self:
                    row = [getattr(clip, name) for name in fields] + [clip.labels.get(n) for n in self.label_columns]
                    file.write(",".join(map(_cell, row)) + "\n")
            waiting.replace(target)
        finally:
            waiting.unlink(missing_ok=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Path):
        value = os.path.abspath(value)  # noqa: PTH100 (Path.absolute keeps `..`)
    text = repr(value) if isinstance(value, float) else str(value)
    # The csv module leaves a lone carriage return unquoted, and then reads two records.
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


def _check_clip(clip: Clip, label_columns: Mapping[str, str]) -> None:
    """Refuse what a table cannot hold; `clips_csv` has told users of files all this before, with line numbers."""
    check_id(clip.clip_id, "clip_id")
    check_id(str(clip.path), "path")
    if clip.entity_id is not None:
        check_id(clip.entity_id, "entity_id")
    wrong = [name for name in clip.labels if name not in label_columns]
    for name, kind in label_columns.items():
        value = clip.labels.get(name)
        if value is None:
            continue
        fits = isinstance(value, str) if kind == "text" else _is_number(value)
        if not fits or value == "":
            wrong.append(name)
    times = [time for time in (clip.start, clip.end) if time is not None]
    if not all(_is_number(time) and time >= 0 for time in times) or (len(times) == 2 and times[0] >= times[1]):
        wrong.append("start/end")
    if wrong:
        raise BadInput(
            f"A clips table was made with clip {tuple(clip.key)}.",
            f"These fields do not fit their columns: {', '.join(wrong)}.",
            "Give finite numbers, or text that is not empty, and 0 <= start < end.",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
