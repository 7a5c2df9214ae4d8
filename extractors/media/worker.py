"""A process that decodes media for its parent: `python -m cuebank.extractors.media.worker`.

It reads requests from stdin and answers on stdout. A message is the length of a JSON text (4 bytes, little endian), the
text, and where the text says so raw float32 samples in the machine's byte order. Each request is answered twice: with
`{}` when it is taken, so that the parent can tell a process that died of a clip from one that was dead before, and with
the result. No pickle, no torch; PyAV and numpy are all that it loads. It ends as soon as stdin does, so it never
outlives its parent; Ctrl-C is the parent's business.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import threading
from typing import Any, BinaryIO


def write_message(file: BinaryIO, message: dict[str, Any], samples: Any = None) -> None:
    """Write a message, and the bytes of an array behind it."""
    text = json.dumps(message).encode("ascii")
    file.write(struct.pack("<I", len(text)) + text)
    if samples is not None:
        file.write(samples.data.cast("B"))
    file.flush()


def read_message(file: BinaryIO) -> dict[str, Any]:
    """Read the JSON part of a message.

    Raises:
        EOFError: if the other side is gone.
    """
    size = struct.unpack("<I", _exactly(file, 4))[0]
    return dict(json.loads(_exactly(file, size)))


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
    while True:
        _answer(requests.get(), answers)


def _listen(source: BinaryIO, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass requests on; when there can be no more, end the process, even in the middle of decoding."""
    try:
        while True:
            requests.put(read_message(source))
    except EOFError:
        os._exit(0)


def _answer(request: dict[str, Any], answers: BinaryIO) -> None:
    from ..errors import MediaError
    from .audio import decode_audio

    write_message(answers, {})
    try:
        audio = decode_audio(**request)
    except MediaError as error:
        write_message(answers, {"asked": error.asked, "found": error.found, "todo": error.todo})
        return
    head = {"count": len(audio.samples), "rate_hz": audio.rate_hz, "start_s": audio.start_s, "gaps": audio.gaps}
    write_message(answers, head, audio.samples)


if __name__ == "__main__":
    main()
