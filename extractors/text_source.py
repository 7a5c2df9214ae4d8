"""Where the text of a clip comes from: a file beside the medium, a column of the clips table, or another feature set.

`txt` (the default): the file called like the medium, with `.txt`; its lines are joined by blanks. `sempi`: the first
line of that file alone, which may be empty, as SEMPI reads it. `column:NAME`: a column of the clips table.
`stored:FEATURE_SET`: transcripts in the same store, whose rows have times; or prompts chosen by `clip-prompts`.

Only stored transcripts know when something was said. Any other text is at the middle of its clip where the table says
when the clip ends, else at the clip's start: a text does not say how long the medium is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ..store.clips_table import Clip, ClipsTable
from ..store.errors import BadInput, nearest
from ..store.keys import slug
from .errors import MediaError
from .stored_text import StoredTexts

MAX_BYTES = 16 << 20  # of a text file; the longest novels have some 6
HOW = "`txt`, `sempi`, `column:NAME` or `stored:FEATURE_SET`"


class Passage(NamedTuple):
    """A text and when it was said, in seconds from the clip's start; one moment where no more is known."""

    text: str
    start_s: float
    end_s: float


class TextSource(Protocol):
    """tag: what to call it in names of feature sets, empty for the default. steps: what a recipe says of it."""

    @property
    def tag(self) -> str: ...
    @property
    def steps(self) -> Sequence[dict[str, Any]]: ...

    def passages(self, clip: Clip) -> list[Passage]:
        """Return the texts of a clip in order of time, at least one.

        Raises:
            MediaError: if there is none.
        """
        ...

    def check(self, table: ClipsTable) -> None:
        """Raise BadInput if no clip of this table can have a text."""
        ...


def text_source(wanted: str | None, store: str | None) -> TextSource:
    """Return what was asked for as `--text`.

    Args:
        wanted: see the top of this file; None: `txt`.
        store: path of the store that features are written to.

    Raises:
        BadInput: for anything else. NotFound: if there is no such feature set.
    """
    kind, colon, name = ("txt" if wanted is None else wanted).partition(":")
    if kind in ("txt", "sempi") and not colon:
        return TextFile(first_line=kind == "sempi")
    if kind == "column" and name:
        return Column(name)
    if kind == "stored" and name:
        return StoredPassages(StoredTexts.open(store, name))
    raise BadInput(f"The text `{wanted}` was asked for.", "There is no such source of texts.", f"Use {HOW}.")


class TextFile:
    """A text file beside the medium, or the medium's own path if that is one.

    Args:
        first_line: whether only the first line counts, and may be empty, as in SEMPI.
    """

    def __init__(self, first_line: bool = False) -> None:
        self.tag = "first-line" if first_line else ""
        self.steps = [{"step": "text", "source": "file", "lines": "first, may be empty" if first_line else "joined"}]
        self._first_line = first_line

    def check(self, table: ClipsTable) -> None:
        """Every table will do: files may be missing, which is a matter of each clip."""

    def passages(self, clip: Clip) -> list[Passage]:
        """Return the text of the file.

        Raises:
            MediaError: if it is absent, too long, not UTF-8, or (unless only the first line counts) empty.
        """
        path = clip.path.with_suffix(".txt")
        asked = f"The text of {tuple(clip.key)} was to be read from `{path}`."
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            lines = content.decode("utf-8-sig").splitlines()
        except OSError as error:
            raise MediaError(asked, f"That failed: {error.strerror}.", "Put the file there.") from error
        except UnicodeDecodeError as error:
            raise MediaError(asked, "It is not UTF-8 text.", "Save it as UTF-8.") from error
        if len(content) > MAX_BYTES:
            raise MediaError(asked, f"It is longer than {MAX_BYTES} bytes.", "Cut it into clips.")
        if self._first_line:
            return [_at_middle(lines[0] if lines else "", clip)]
        text = " ".join(lines)
        if not text.strip():
            raise MediaError(asked, "It is empty.", "Leave the clip out; --text sempi takes an empty text for a text.")
        return [_at_middle(text, clip)]


class Column:
    """A column of the clips table.

    Args:
        name: its name.
    """

    def __init__(self, name: str) -> None:
        self.tag = f"column-{slug(name)[:30]}"
        self.steps = [{"step": "text", "source": "column", "column": name}]
        self._name = name

    def check(self, table: ClipsTable) -> None:
        """Check that the column is there, and holds texts.

        Raises:
            BadInput: if not.
        """
        kind = table.label_columns.get(self._name)
        if kind != "text":
            raise BadInput(
                f"The column `{self._name}` of the clips table was to be read as text.",
                nearest(self._name, list(table.label_columns)) if kind is None else "It holds numbers.",
                "Give --text column:NAME with a column of texts.",
            )

    def passages(self, clip: Clip) -> list[Passage]:
        """Return the text of the clip's row.

        Raises:
            MediaError: if it is blank.
        """
        text = clip.labels.get(self._name)
        if not isinstance(text, str) or not text.strip():
            raise MediaError(
                f"The text of {tuple(clip.key)} was to be read from the column `{self._name}`.",
                "It is blank there.",
                "Fill it in, or leave the clip out.",
            )
        return [_at_middle(text, clip)]


class StoredPassages:
    """Transcripts in the same store.

    Args:
        stored: the feature set.
    """

    def __init__(self, stored: StoredTexts) -> None:
        self.tag = f"of-{slug(stored.name)[:50]}"
        self.steps = stored.steps
        self.stored = stored

    def check(self, table: ClipsTable) -> None:
        """Every table will do: transcripts may be missing, which is a matter of each clip."""

    def passages(self, clip: Clip) -> list[Passage]:
        """Return the rows of the clip's transcript that are valid and not blank.

        Raises:
            MediaError: if there is no transcript, or nothing in it.
        """
        texts, spans = self.stored.read(clip)
        found = [Passage(text, *map(float, span)) for text, span in zip(texts, spans, strict=True) if text.strip()]
        if not found:
            raise MediaError(
                f"The transcript `{self.stored.name}` of {tuple(clip.key)} was read.",
                "Nothing was said there.",
                "Leave the clip out.",
            )
        return found


def _at_middle(text: str, clip: Clip) -> Passage:
    middle = 0.0 if clip.end is None else (clip.end - (clip.start or 0.0)) / 2
    return Passage(text, middle, middle)
