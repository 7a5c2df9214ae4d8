"""Forks of a warm process: they cost a millisecond each, and what they do to themselves does not matter to others."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

_write, _exit = os.write, os._exit  # a child may replace them for everybody else
Item = TypeVar("Item")


class Child:
    """A fork that runs a function and ends.

    Args:
        function: is given a function that tells the parent a text; returns the exit status, None for 0. An exception
            ends the child with status 1, and its traceback is told.
    """

    def __init__(self, function: Callable[[Callable[[str], object]], int | None]) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                status = function(lambda text: _write(writer, text.encode())) or 0
            except BaseException:  # noqa: BLE001 (a fork must never return into the parent's code)
                _write(writer, traceback.format_exc().encode())
            finally:
                _exit(status)
        os.close(writer)

    def wait(self) -> tuple[int, str]:
        """Wait for its end; return its exit status (minus the number of the signal that ended it), and what it told."""
        with os.fdopen(self._reader) as file:
            told = file.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), told


def share_out(items: Sequence[Item], work: Callable[[Item], str]) -> list[str]:
    """Do some work for each item, on all processors; return the texts that came of it, without the empty ones."""
    count = os.cpu_count() or 1

    def do(part: Sequence[Item], tell: Callable[[str], object]) -> None:
        for item in part:
            text = work(item)
            if text:
                tell(text + "\0")

    children = [Child(lambda tell, i=i: do(items[i::count], tell)) for i in range(count)]
    texts = []
    for status, told in [child.wait() for child in children]:
        texts += [text for text in told.split("\0") if text]
        if status:
            texts.append(f"a child ended with {status}")
    return texts
