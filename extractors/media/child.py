"""The parent's side of one decoding process: start it, ask it, notice how it ended."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..base import Pictures
from ..errors import MediaError
from .audio import Audio
from .decode import media_error
from .request import Tally, absolute
from .stream import ClipStream
from .worker import GarbageError, read_message, write_message

MODULE = "cuebank.extractors.media.worker"
AFTER = "Check the file, or convert it anew; other clips went on."
MAX_ARRAY = 1 << 33  # bytes: more than a day of sound
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

    def serve(self, stream: ClipStream, timeout_s: float) -> None:
        """Let the child decode one clip, and pass on what it gives.

        If the process ends before the clip does, what is missing of the clip gets an error that tells how.

        Args:
            stream: what is wanted, and where it goes.
            timeout_s: if the child neither answers nor says that it is alive for so long, it is killed.

        Raises:
            GoneBefore: if the child ended before it took the request.
            Stopped: if the clip is not wanted any more.
        """
        taken = False
        try:
            with self._deadline(timeout_s):
                write_message(self._process.stdin, stream.request.to_json())  # type: ignore[arg-type]
                self._read("taken")
            taken = True
            while (answer := self._answer(timeout_s))["kind"] != "done":
                self._pass_on(answer, stream, timeout_s)
            stream.finish(tally=Tally(**answer["tally"]))
        except (EOFError, BrokenPipeError) as error:
            obituary = self._obituary(stream.request.path, timeout_s)
            if not (taken or self._late):
                raise GoneBefore(obituary) from error
            stream.finish(obituary)
        except (GarbageError, KeyError, TypeError, ValueError) as error:
            self.kill()
            self._wait()
            found = f"The decoder process gave a senseless answer ({type(error).__name__}: {str(error)[:200]})."
            stream.finish(media_error(absolute(stream.request.path), found, AFTER))

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        with self._deadline(timeout_s):
            return self._read()

    def _read(self, *kinds: str) -> dict[str, Any]:
        answer = read_message(self._process.stdout)  # type: ignore[arg-type]
        if kinds and answer["kind"] not in kinds:
            raise GarbageError(f"`{answer['kind']}` instead of {' or '.join(kinds)}")
        return answer

    def _pass_on(self, answer: dict[str, Any], stream: ClipStream, timeout_s: float) -> None:
        kind = answer["kind"]
        if kind == "alive":
            stream.alive()
        elif kind == "pictures_end":
            stream.pictures_end(answer["demand"], _error(answer))
        elif kind == "pictures":
            count, height, width, colours = answer["shape"]
            frames = self._receive((count, height, width, colours), np.uint8, stream, timeout_s)
            valid = np.array(answer["valid"], bool)
            if not len(answer["times"]) == len(valid) == count or colours != 3:
                raise GarbageError("pictures without times")
            stream.pictures(answer["demand"], Pictures(frames, np.array(answer["times"], np.float64), valid))
        elif kind == "sound":
            error = _error(answer)
            if error is not None:
                stream.sound(answer["number"], error)
                return
            samples = self._receive((answer["count"],), np.float32, stream, timeout_s)
            gaps = tuple((start, stop) for start, stop in answer["gaps"])
            stream.sound(answer["number"], Audio(samples, answer["rate_hz"], answer["start_s"], gaps))
        else:
            raise GarbageError(f"an answer of the kind {kind!r}")

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

    def _receive(
        self, shape: tuple[int, ...], dtype: type[np.generic], stream: ClipStream, timeout_s: float
    ) -> np.ndarray:
        """Wait for room, and read an array."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if min(shape) < 0 or size > MAX_ARRAY:
            raise GarbageError(f"an array of {shape}")
        stream.admit(size)
        array = np.empty(shape, dtype)
        if array.size:
            with self._deadline(timeout_s):
                if self._process.stdout.readinto(array.data.cast("B")) < size:  # type: ignore[union-attr]
                    raise EOFError
        return array

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

    def _obituary(self, path: Path, timeout_s: float) -> MediaError:
        """Say how the process ended while it decoded a file."""
        code = self._wait()
        if self._late:
            how = f"The decoder did not get on within {timeout_s:g} s."
        elif code < 0:
            how = f"The decoder process was ended by {signal.Signals(-code).name}{_guess(-code)}."
        else:
            self._stderr.seek(0)
            last = self._stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            how = f"The decoder process ended with code {code}{f': {last[:300]}' if last else ''}."
        return media_error(absolute(path), how, AFTER)


def _error(answer: dict[str, Any]) -> MediaError | None:
    return None if answer["error"] is None else MediaError(*answer["error"])


def _guess(number: int) -> str:
    return " (out of memory?)" if number == signal.SIGKILL else ""


def _environment() -> dict[str, str]:
    """Environment in which the child finds the modules that this process finds, wherever it was started."""
    folders = list(dict.fromkeys(os.path.abspath(folder) for folder in sys.path))  # noqa: PTH100 - "" is the cwd
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
