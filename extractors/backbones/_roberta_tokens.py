"""Text to numbers of tokens: by the files that come with published weights, or by bytes for the tiny card.

Source: Radford et al. 2019 (byte-level BPE), as RoBERTa uses it; the `tokenizers` library (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..errors import WeightsError
from ._tokenizers import tokenizers_for

T = TypeVar("T")
WHOLE = "tokenizer.json"
PARTS = ("vocab.json", "merges.txt")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


class Tokenizer(Protocol):
    """Text to numbers, start and end included; `recipe` is what a recipe says of it."""

    def encode(self, text: str, most: int) -> list[int]:
        """Return the numbers of a text, at most `most` (2 or more): what is too long loses its end."""
        ...

    def spans(self, text: str, most: int) -> list[tuple[int, int]]:
        """Return which letters of a text each token is, start and end included: those are none, (0, 0)."""
        ...

    def recipe(self) -> dict[str, Any]:
        """Return what defines the numbers, as plain JSON values."""
        ...


class ByteTokenizer:
    """One token per byte of UTF-8, behind the usual special ones: 0 start, 1 padding, 2 end, 3 unknown; ours.

    Example:
        >>> ByteTokenizer().encode("Hi", 16)
        [0, 76, 109, 2]
    """

    vocab = 4 + 256

    def encode(self, text: str, most: int) -> list[int]:
        """Return the numbers of a text, at most `most`; see `Tokenizer`."""
        inside = text.encode("utf-8", "replace")[: most - 2]
        return [0, *(4 + byte for byte in inside), 2]

    def spans(self, text: str, most: int) -> list[tuple[int, int]]:
        """Return which letters each token is; see `Tokenizer`."""
        letters = [(i, i + 1) for i, letter in enumerate(text) for _ in letter.encode("utf-8", "replace")]
        return [(0, 0), *letters[: most - 2], (0, 0)]

    def recipe(self) -> dict[str, Any]:
        """Return what defines the numbers."""
        return {"tokenizer": "utf8-bytes-1"}


class FileTokenizer:
    """A byte-level BPE that was trained with the network.

    Args:
        folder: of the weights, with `tokenizer.json`, or `vocab.json` and `merges.txt`.
        source: what to call it in messages.
        vocab: numbers that the network knows.

    Raises:
        WeightsError: if the files are absent, damaged, or of another network.
        MissingExtra: if tokenizers is not installed.
    """

    def __init__(self, folder: Path, source: str, vocab: int) -> None:
        names = (WHOLE,) if (folder / WHOLE).is_file() else PARTS
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise WeightsError(
                f"The tokenizer of {source} was to be read.",
                f"Beside the weights there is neither {WHOLE} nor {' and '.join(PARTS)}.",
                "Copy these files from where the weights came from into their folder.",
            )
        contents = [(folder / name).read_bytes() for name in names]
        self._sha256 = hashlib.sha256(b"\0".join(contents)).hexdigest()
        library = tokenizers_for("RoBERTa's tokenizer")
        try:
            self._tokenizer = _whole(library, contents[0]) if names == (WHOLE,) else _from_parts(library, *contents)
            empty = self._tokenizer.encode("").ids
            largest = max(self._tokenizer.get_vocab().values())
        # The library raises nothing more specific.
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise WeightsError(
                f"The tokenizer of {source} was to be read.",
                f"`{names[0]}` is damaged, or no tokenizer: {said}",
                "Fetch it again.",
            ) from error
        if len(empty) != 2 or largest >= vocab:
            raise WeightsError(
                f"The tokenizer of {source} was to be read.",
                f"It puts {len(empty)} tokens around a text, and counts up to {largest}; the network has {vocab} "
                "tokens, and wants a start and an end.",
                "Use the tokenizer that was published with these weights.",
            )

    def encode(self, text: str, most: int) -> list[int]:
        """Return the numbers of a text, at most `most`; see `Tokenizer`."""
        return _cut(self._encoded(text).ids, most)

    def spans(self, text: str, most: int) -> list[tuple[int, int]]:
        """Return which letters each token is; see `Tokenizer`."""
        return _cut([(first, last) for first, last in self._encoded(text).offsets], most)

    def _encoded(self, text: str) -> Any:
        # Lone surrogates, which file names and damaged files bring, are no text for the library.
        return self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"))

    def recipe(self) -> dict[str, Any]:
        """Return what defines the numbers."""
        return {"tokenizer": "byte-level-bpe", "sha256": self._sha256}


def _cut(items: list[T], most: int) -> list[T]:
    return items if len(items) <= most else [*items[: most - 1], items[-1]]


def _whole(library: Any, content: bytes) -> Any:
    tokenizer = library.Tokenizer.from_str(content.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _from_parts(library: Any, vocab: bytes, merges: bytes) -> Any:
    """As transformers' RobertaTokenizer: no blank is put before the first word, and `<mask>` takes the blank before."""
    numbers: dict[str, int] = json.loads(vocab.decode("utf-8"))
    lines = [line for line in merges.decode("utf-8").split("\n") if line and not line.startswith("#version")]
    pairs = [(first, second) for first, second in (line.split(" ") for line in lines)]
    tokenizer = library.Tokenizer(library.models.BPE(vocab=numbers, merges=pairs))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    # By position: the arguments' names differ between versions.
    end, start = (("</s>", numbers["</s>"]), ("<s>", numbers["<s>"]))
    tokenizer.post_processor = library.processors.RobertaProcessing(end, start, True, False)
    tokenizer.add_special_tokens(
        [library.AddedToken(name, lstrip=name == "<mask>", special=True) for name in SPECIAL if name in numbers]
    )
    return tokenizer
