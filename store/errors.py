"""Errors of cuebank, grouped by what the reader of the message would do about them.

::

    CuebankError
    ├── NotFound (KeyError)        ask for something that exists, or make it first
    ├── Conflict                   two things claim one name: choose another name, or overwrite on purpose
    ├── BadInput (ValueError)      mend the input: a table, an option, an array
    ├── Corrupt                    restore or re-make what is damaged
    └── MissingExtra (ImportError) install an optional dependency

``extractors.errors`` adds what is about media and weights. Every message has three parts: what was asked,
what was found, what to do next; ``code`` is stable and meant for programs.
"""

from __future__ import annotations


class CuebankError(Exception):
    """An error that its reader can do something about.

    Args:
        asked: what was asked for, as a sentence.
        found: what was found instead, as a sentence.
        todo: what to do next, as a sentence; ideally a command.
    """

    code = "cuebank"

    def __init__(self, asked: str, found: str, todo: str) -> None:
        super().__init__(asked, found, todo)
        self.asked = asked
        self.found = found
        self.todo = todo

    def __str__(self) -> str:
        return f"{self.asked} {self.found} {self.todo}"


class NotFound(CuebankError, KeyError):
    """The thing asked for does not exist."""

    code = "not-found"

    # KeyError.__str__ would print the repr of the arguments.
    __str__ = CuebankError.__str__


class Conflict(CuebankError):
    """Something else already has this name."""

    code = "conflict"


class BadInput(CuebankError, ValueError):
    """A value, option or table that cannot be used as it is."""

    code = "bad-input"


class Corrupt(CuebankError):
    """Stored data that do not agree with their checksum, or a store whose structure is broken."""

    code = "corrupt"


class MissingExtra(CuebankError, ImportError):
    """An optional dependency is not installed."""

    code = "missing-extra"

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(
            f"{what} needs the Python package `{module}`.",
            "It is not installed.",
            f'Run: pip install "cuebank[{extra}]"',
        )
        self.extra = extra


def nearest(name: str, known: list[str]) -> str:
    """Say which known names are near an unknown one, as the end of an error message.

    Args:
        name: the name that was not found.
        known: all names that would have been found.

    Returns:
        A sentence: the nearest names, else all of them (at most 12), else that there is none.
    """
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(f'`{item}`' for item in close)}?"
    if not known:
        return "There is none yet."
    shown = ", ".join(f"`{item}`" for item in sorted(known)[:12])
    return f"Known: {shown}{' …' if len(known) > 12 else ''}."
