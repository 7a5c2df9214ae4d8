"""Lists of prompts: short statements that a picture is compared with, read from a text file.

One prompt a line; `[heading]` begins a group, `#` a remark; empty lines do not count. The list that comes with the
package is `recipes/viper_prompts.txt`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from ..store.errors import BadInput
from ..store.keys import slug

DEFAULT = Path(__file__).resolve().parent.parent / "recipes" / "viper_prompts.txt"
MAX_PROMPTS = 2048  # float16, in which features are stored, counts no further without gaps
MAX_LETTERS = 1000
MAX_BYTES = 4 << 20


class Prompts(NamedTuple):
    """A list of prompts.

    texts: the prompts, in order. groups: the heading above each, or an empty text. tag: what to call the list in names
    of feature sets, empty for the list that comes with the package.
    """

    texts: tuple[str, ...]
    groups: tuple[str, ...]
    tag: str = ""

    @property
    def sha256(self) -> str:
        """Hex sha256 of the prompts alone, joined by line feeds: remarks and headings change no number."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()


def read_prompts(path: str | Path | None = None) -> Prompts:
    """Read a list of prompts.

    Args:
        path: of the file, UTF-8; None: the 53 prompts that come with the package.

    Raises:
        BadInput: if it cannot be read, has no prompts or too many, or one is there twice.

    Example:
        >>> prompts = read_prompts()
        >>> len(prompts.texts), prompts.groups[0], prompts.texts[0]
        (53, 'adoration', 'a photo of a face that is full of adoration')
    """
    file = DEFAULT if path is None else Path(path).expanduser()
    asked = f"Prompts were to be read from `{file.name if path is None else path}`."
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(asked, f"That failed: {error.strerror}.", "Give a text file with one prompt a line.") from error
    except UnicodeDecodeError as error:
        raise BadInput(asked, "It is not valid UTF-8 text.", "Save it as UTF-8.") from error
    texts: list[str] = []
    groups: list[str] = []
    group = ""
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("[") and text.endswith("]"):
            group = text[1:-1].strip()
            continue
        if len(text) > MAX_LETTERS or not text.isprintable():
            raise BadInput(
                asked,
                f"Line {number} is longer than {MAX_LETTERS} letters, or has letters that cannot be printed.",
                "Give a text file with one short prompt a line.",
            )
        texts.append(text)
        groups.append(group)
    if not 1 <= len(texts) <= MAX_PROMPTS or len(content) > MAX_BYTES:
        raise BadInput(asked, f"It has {len(texts)} prompts.", f"Give 1 to {MAX_PROMPTS}, one a line.")
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise BadInput(asked, f"{twice!r} is there twice.", "Give each prompt once, so that one can be chosen.")
    return Prompts(tuple(texts), tuple(groups), "" if path is None else slug(file.stem)[:40])
