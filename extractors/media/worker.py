"""A process that decodes media for its parent: `python -m cuebank.extractors.media.worker`.

It reads requests from stdin and answers on stdout. A message is the length of a JSON text (4 bytes, little endian),
the text, and where the text says so the raw bytes of an array in the machine's byte order. A request is answered by
`taken`, so that the parent can tell a process that died of a clip from one that was dead before; then by whatever the
clip gives (`pictures`, `pictures_end`, `sound`), by `alive` about every second in between, and by `done`. Writing
blocks where the parent does not read, so that little is decoded that nobody has room for. No pickle, no torch; PyAV,
numpy and what scales pictures are all that it loads. It ends as soon as stdin does, so it never outlives its parent;
Ctrl-C is the parent's business.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from ..base import Pictures
    from ..errors import MediaError
    from .audio import Audio

MAX_TEXT = 1 << 24  # bytes of a message's JSON; an hour of sound full of holes needs less


class GarbageError(Exception):
    """What was read is no message."""


def write_message(file: BinaryIO, message: dict[str, Any], array: Any = None) -> None:
    """Write a message, and the bytes of an array behind it."""
    text = json.dumps(message).encode("ascii")
    file.write(struct.pack("<I", len(text)) + text)
    if array is not None and array.size:
        file.write(array.data.cast("B"))
    file.flush()


def read_message(file: BinaryIO) -> dict[str, Any]:
    """Read the JSON part of a message.

    Raises:
        EOFError: if the other side is gone.
        GarbageError: if something else came.
    """
    size = struct.unpack("<I", _exactly(file, 4))[0]
    if size > MAX_TEXT:
        raise GarbageError(f"a message of {size} bytes")
    try:
        return dict(json.loads(_exactly(file, size)))
    except ValueError as error:
        raise GarbageError(f"no JSON: {error}") from error


def _exactly(file: BinaryIO, count: int) -> bytes:
    """Read that many bytes, also from a file without a buffer, which may give less at a time."""
    parts = []
    while count:
        part = file.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints must not get between the answers
    # Without a buffer: Python aborts, instead of exiting, while another thread waits in a buffered stdin.
    source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, requests), daemon=True).start()
    from . import clip  # noqa: F401 - takes a moment, which the parent has not missed yet

    while True:
        _answer(requests.get(), answers)


def _listen(source: BinaryIO, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass requests on; when there can be no more, end the process, even in the middle of decoding."""
    try:
        while True:
            requests.put(read_message(source))
    except EOFError:
        os._exit(0)


class _Answers:
    """Writes what a clip gives; follows `request.Receiver`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def pictures(self, demand: int, pictures: Pictures) -> None:
        head = {"demand": demand, "shape": pictures.frames.shape, "times": pictures.times.tolist()}
        valid = pictures.valid.astype(int).tolist()
        write_message(self._file, {"kind": "pictures", **head, "valid": valid}, pictures.frames)

    def pictures_end(self, demand: int, error: MediaError | None) -> None:
        write_message(self._file, {"kind": "pictures_end", "demand": demand, "error": _parts(error)})

    def sound(self, number: int, sound: Audio | MediaError) -> None:
        head: dict[str, Any] = {"kind": "sound", "number": number, "error": None}
        if isinstance(sound, Exception):
            write_message(self._file, {**head, "error": _parts(sound)})
            return
        head |= {"count": len(sound.samples), "rate_hz": sound.rate_hz, "start_s": sound.start_s, "gaps": sound.gaps}
        write_message(self._file, head, sound.samples)

    def alive(self) -> None:
        write_message(self._file, {"kind": "alive"})


def _parts(error: MediaError | None) -> list[str] | None:
    return None if error is None else [error.asked, error.found, error.todo]


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    from .clip import decode_clip
    from .request import ClipRequest

    write_message(answers, {"kind": "taken"})
    tally = decode_clip(ClipRequest.from_json(request), _Answers(answers))
    write_message(answers, {"kind": "done", "tally": asdict(tally)})


if __name__ == "__main__":
    main()
