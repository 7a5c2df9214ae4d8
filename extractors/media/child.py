"""The parent's side of one decoding process: start it, ask it, notice how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MediaError
from .audio import Audio
from .decode import media_error
from .worker import read_message, write_message

MODULE = "cuebank.extractors.media.worker"
QUIT_S = 2.0  # a process that is told to go has nothing left to do


class GoneBefore(Exception):
    """A decoding process was dead before it took a request, so the clip is not to blame.

    Args:
        obituary: what to say about it if no process lives long enough.
    """

    def __init__(self, obituary: MediaError) -> None:
        super().__init__(obituary)
        self.obituary = obituary


class DecodeChild:
    """A running `worker`. Not safe for several threads; whoever asks must own it."""

    def __init__(self) -> None:
        # A file, not a pipe: nobody has to read along for the child never to block on it.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(),
            process_group=0,  # Ctrl-C in a terminal goes to the whole foreground group; this is not in it
        )
        self._late = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout_s: float, admit: Callable[[int], None]) -> Audio | MediaError:
        """Let the child decode one clip.

        Args:
            request: the arguments of `decode_audio`.
            timeout_s: after this the child is killed.
            admit: called with the size of the answer in bytes; it returns when there is room for them here.

        Returns:
            What the child answered; if it ended without an answer, an error that tells how.

        Raises:
            GoneBefore: if the child ended before it took the request.
        """
        taken = False
        try:
            with self._deadline(timeout_s):
                write_message(self._process.stdin, request)  # type: ignore[arg-type]
                read_message(self._process.stdout)  # type: ignore[arg-type]
                taken = True
                answer = read_message(self._process.stdout)  # type: ignore[arg-type]
            if "found" in answer:
                return MediaError(answer["asked"], answer["found"], answer["todo"])
            admit(answer["count"] * np.dtype(np.float32).itemsize)
            samples = np.empty(answer["count"], np.float32)
            with self._deadline(timeout_s):
                self._receive(samples)
        except (EOFError, BrokenPipeError) as error:
            obituary = self._obituary(request, timeout_s)
            if taken or self._late:
                return obituary
            raise GoneBefore(obituary) from error
        gaps = tuple((start, stop) for start, stop in answer["gaps"])
        return Audio(samples, answer["rate_hz"], answer["start_s"], gaps)

    def kill(self) -> None:
        """End the process at once. `ask` in another thread returns."""
        self._process.kill()

    def close(self) -> None:
        """End the process, wait for it and release its pipes."""
        with suppress(BrokenPipeError):  # an unsent request; the process is dead already
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdout.close()  # type: ignore[union-attr]
        self._wait()
        self._stderr.close()

    def _wait(self) -> int:
        """Wait for a process that has every reason to end; return its exit code."""
        try:
            return self._process.wait(QUIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _receive(self, samples: np.ndarray) -> None:
        count = self._process.stdout.readinto(samples.data.cast("B"))  # type: ignore[union-attr]
        if count < samples.nbytes:
            raise EOFError

    @contextmanager
    def _deadline(self, timeout_s: float) -> Iterator[None]:
        """Kill the process if the body takes too long; SIGKILL ends even a stopped one."""
        timer = threading.Timer(timeout_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._late = True
        self._process.kill()

    def _obituary(self, request: dict[str, Any], timeout_s: float) -> MediaError:
        """Say how the process ended while it decoded a file."""
        code = self._wait()
        if self._late:
            how = f"The decoder did not finish within {timeout_s:g} s."
        elif code < 0:
            how = f"The decoder process was ended by {signal.Signals(-code).name}{_guess(-code)}."
        else:
            self._stderr.seek(0)
            last = self._stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            how = f"The decoder process ended with code {code}{f': {last[:300]}' if last else ''}."
        return media_error(Path(request["path"]), how, "Check the file, or convert it anew; other clips went on.")


def _guess(number: int) -> str:
    return " (out of memory?)" if number == signal.SIGKILL else ""


def _environment() -> dict[str, str]:
    """Environment in which the child finds the modules that this process finds, wherever it was started."""
    folders = list(dict.fromkeys(os.path.abspath(folder) for folder in sys.path))  # noqa: PTH100 - "" is the cwd
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
