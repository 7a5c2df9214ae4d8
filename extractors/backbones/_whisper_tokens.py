"""Numbers of tokens to text: by the files that come with published Whispers, or by bytes for random weights.

Source: Radford et al. 2022; the `tokenizers` library (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from ..errors import WeightsError
from ..networks.whisper_shape import STAMPS
from ._tokenizers import tokenizers_for

WHOLE = "tokenizer.json"
PARTS = ("vocab.json", "merges.txt")
END = 256  # of the byte tokenizer: the first number that is no byte
SPECIAL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)


class TextWriter(Protocol):
    """Numbers to text; `special` are those that are no text, time stamps not among them."""

    special: frozenset[int]

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens, which are neither special nor time stamps."""
        ...

    def recipe(self) -> dict[str, Any]:
        """Return what a recipe says of it, as plain JSON values."""
        ...


class ByteWriter:
    """One token per byte of UTF-8, then the special ones, then time stamps; ours, for random weights.

    Example:
        >>> ByteWriter().decode([72, 105])
        'Hi'
    """

    special = frozenset(range(END, END + len(SPECIAL)))
    vocab = END + len(SPECIAL) + STAMPS

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens; see `TextWriter`."""
        return bytes(tokens).decode("utf-8", "replace")

    def recipe(self) -> dict[str, Any]:
        """Return what defines the texts."""
        return {"tokenizer": "utf8-bytes-1"}

    @staticmethod
    def generation(most: int) -> dict[str, Any]:
        """Return how a network with these tokens is told to write, at most `most` tokens for a window."""
        number = {name: END + i for i, name in enumerate(SPECIAL)}
        end, no_stamps = END, number["<|notimestamps|>"]
        unreadable = [byte for byte in range(END) if not (chr(byte).isascii() and chr(byte).isalpha()) and byte != 32]
        return {
            "begin_suppress_tokens": [ord(" "), end],
            "bos_token_id": end,
            "decoder_start_token_id": number["<|startoftranscript|>"],
            "eos_token_id": end,
            "is_multilingual": True,
            "lang_to_id": {name: number[name] for name in ("<|en|>", "<|de|>")},
            "max_initial_timestamp_index": 5,  # so that short sounds get texts, too
            "max_length": most,
            "no_timestamps_token_id": no_stamps,
            "pad_token_id": end,
            "prev_sot_token_id": number["<|startofprev|>"],
            "suppress_tokens": unreadable + list(range(number["<|translate|>"], no_stamps)),
            "task_to_id": {name: number[f"<|{name}|>"] for name in ("translate", "transcribe")},
        }


class FileWriter:
    """A byte-level BPE that was trained with the network.

    Args:
        folder: of the weights, with `tokenizer.json`, or `vocab.json` and `merges.txt`.
        source: what to call it in messages.
        special: numbers that are no text, as far as the configuration knows.

    Raises:
        WeightsError: if the files are absent or damaged.
        MissingExtra: if tokenizers is not installed.
    """

    def __init__(self, folder: Path, source: str, special: Iterable[int]) -> None:
        names = (WHOLE,) if (folder / WHOLE).is_file() else PARTS
        if absent := [name for name in names if not (folder / name).is_file()]:
            raise WeightsError(
                f"The tokenizer of {source} was to be read.",
                f"Beside the weights there is neither {WHOLE} nor {' and '.join(PARTS)} (no {absent[0]}).",
                "Copy these files from where the weights came from into their folder.",
            )
        contents = [(folder / name).read_bytes() for name in names]
        self._sha256 = hashlib.sha256(b"\0".join(contents)).hexdigest()
        library = tokenizers_for("Whisper's tokenizer")
        try:
            self._tokenizer = _whole(library, contents[0]) if len(names) == 1 else _from_parts(library, *contents)
            added = self._tokenizer.get_added_tokens_decoder()
        # The library raises nothing more specific.
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise WeightsError(
                f"The tokenizer of {source} was to be read.",
                f"`{names[0]}` is damaged, or no tokenizer: {said}",
                "Fetch it again.",
            ) from error
        self.special = frozenset({number for number, token in added.items() if token.special} | set(special))

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens; see `TextWriter`."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def recipe(self) -> dict[str, Any]:
        """Return what defines the texts."""
        return {"tokenizer": "byte-level-bpe", "sha256": self._sha256}


def _whole(library: Any, content: bytes) -> Any:
    return library.Tokenizer.from_str(content.decode("utf-8"))


def _from_parts(library: Any, vocab: bytes, merges: bytes) -> Any:
    numbers: dict[str, int] = json.loads(vocab.decode("utf-8"))
    lines = [line for line in merges.decode("utf-8").split("\n") if line and not line.startswith("#version")]
    pairs = [(first, second) for first, second in (line.split(" ") for line in lines)]
    tokenizer = library.Tokenizer(library.models.BPE(vocab=numbers, merges=pairs))
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer
