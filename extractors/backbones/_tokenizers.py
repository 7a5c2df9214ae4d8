"""The library `tokenizers`, for whoever needs it: it comes with an extra."""

from __future__ import annotations

from typing import Any

from ...store.errors import MissingExtra


def tokenizers_for(what: str) -> Any:
    """Return the library.

    Args:
        what: what needs it, for the message.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        if error.name != "tokenizers":
            raise  # it is there, but broken: its own message says how
        raise MissingExtra(what, "hf", "tokenizers") from error
    return tokenizers
