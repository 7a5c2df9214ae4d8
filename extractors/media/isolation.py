"""Decode clips ahead of whoever needs them, in processes whose crash or hang costs one clip and not the run."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store.errors import BadInput
from ..errors import MediaError
from .audio import Audio, clip_bounds, decode_audio
from .child import DecodeChild, GoneBefore

TIMEOUT_S = 300.0  # decoding an hour of sound takes 5 s; slow network disks take their time
AHEAD_BYTES = 256 << 20  # an hour at 16 kHz
POLL_S = 1.0
ATTEMPTS = 3  # to find a process that lives long enough to take a request


@dataclass(frozen=True)
class DecodeRequest:
    """The sound of one clip; arguments as in `decode_audio`.

    Raises:
        BadInput: if the rate, start or end make no sense.
    """

    path: Path
    rate_hz: int
    start_s: float | None = None
    end_s: float | None = None
    stream: int | None = None

    def __post_init__(self) -> None:
        clip_bounds(self.rate_hz, self.start_s, self.end_s)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `decode_audio`, as JSON can hold them."""
        path = os.path.abspath(self.path)  # noqa: PTH100 - the child may stand in another folder
        return {
            "path": path,
            "rate_hz": self.rate_hz,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "stream": self.stream,
        }


class DecodePool:
    """A few decoding processes; they start when first needed and are replaced when they die.

    The results do not depend on the number of workers. Close it (it is a context manager), else processes remain
    until this one ends.

    Args:
        workers: number of processes; 0 decodes in this process, without protection.
        timeout_s: a clip that takes longer fails, and its process is replaced.
        ahead_items: how many clips may be decoded before they are asked for; default 2 + 2 per worker.
        ahead_bytes: how many bytes of them may wait here. The clip that is wanted next is always let in, and each
            worker holds one more.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        timeout_s: float = TIMEOUT_S,
        ahead_items: int | None = None,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        if workers < 0 or timeout_s <= 0:
            raise BadInput(
                f"A pool of {workers} decoders with a time limit of {timeout_s} s was asked for.",
                "That cannot be.",
                "Use workers >= 0 and timeout_s > 0.",
            )
        self._workers = workers
        self._timeout_s = timeout_s
        self._ahead_items = max(1, 2 + 2 * workers if ahead_items is None else ahead_items)
        self._ahead_bytes = ahead_bytes
        self._changed = threading.Condition()  # guards the rest
        self._idle: list[DecodeChild] = []
        self._busy: dict[DecodeChild, _Room] = {}
        self._closed = False

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def pids(self) -> list[int]:
        """Return the ids of the processes that exist now."""
        with self._changed:
            return [child.pid for child in [*self._idle, *self._busy]]

    def decode(self, requests: Iterable[DecodeRequest]) -> Iterator[tuple[DecodeRequest, Audio | MediaError]]:
        """Decode clips and yield each with its sound or the reason why there is none, in the order given.

        `requests` is read lazily, a few items ahead, in the caller's thread. Closing the iterator early ends the
        processes that are decoding for it.
        """
        if not self._workers:
            for request in requests:
                yield request, _decode_here(request)
            return
        room = _Room(self._ahead_bytes)
        waiting: deque[tuple[DecodeRequest, Future[Audio | MediaError]]] = deque()
        source = enumerate(requests)
        done = 0
        executor = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            while True:
                while len(waiting) < self._ahead_items and (item := next(source, None)) is not None:
                    number, request = item
                    waiting.append((request, executor.submit(self._ask, request, number, room)))
                if not waiting:
                    return
                room.want(done)
                request, future = waiting.popleft()
                result = future.result()
                if isinstance(result, Audio):
                    room.leave(result.samples.nbytes)
                done += 1
                yield request, result
                del result, future  # else the sound would live until the next one is there
        finally:
            room.cancel()
            self._kill(room)
            executor.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """End all processes, also those that are decoding, and wait for them."""
        with self._changed:
            self._closed = True
            children, self._idle = self._idle, []
            rooms = set(self._busy.values())
        for room in rooms:
            room.cancel()
            self._kill(room)
        for child in children:
            child.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def _ask(self, request: DecodeRequest, number: int, room: _Room, attempts: int = ATTEMPTS) -> Audio | MediaError:
        """Decode in a child; runs in a thread of the executor."""
        child = self._take(room)
        try:
            return child.ask(request.arguments(), self._timeout_s, lambda size: room.enter(number, size))
        except GoneBefore as gone:
            if attempts == 1:
                return gone.obituary
        finally:
            self._give_back(child)
        return self._ask(request, number, room, attempts - 1)

    def _take(self, room: _Room) -> DecodeChild:
        """Return a child that is alive: one that waits, else a new one."""
        with self._changed:
            if self._closed or room.cancelled:
                raise RuntimeError("the decoding was stopped")
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    break
                child.close()  # it died while it had nothing to do; that is no clip's fault
            else:
                child = DecodeChild()
            self._busy[child] = room
            return child

    def _give_back(self, child: DecodeChild) -> None:
        with self._changed:
            if child.alive and not self._closed:
                self._idle.append(child)
            else:
                child.close()
            del self._busy[child]
            self._changed.notify_all()

    def _kill(self, room: _Room) -> None:
        """End the processes that decode for one caller."""
        with self._changed:
            for child in [child for child, owner in self._busy.items() if owner is room]:
                child.kill()


class _Room:
    """Bounds the bytes of results that wait for their turn."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._wanted = -1
        self._changed = threading.Condition()
        self.cancelled = False

    def enter(self, number: int, size: int) -> None:
        """Wait until result `number` may come in: there is room, or nothing can go on without it."""
        with self._changed:
            self._changed.wait_for(lambda: self.cancelled or number == self._wanted or self._used + size <= self._limit)
            self._used += size

    def leave(self, size: int) -> None:
        """Give the room of a result free."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def want(self, number: int) -> None:
        """Say which result is needed next."""
        with self._changed:
            self._wanted = number
            self._changed.notify_all()

    def cancel(self) -> None:
        """Let everybody go on at once; the results are not wanted any more."""
        with self._changed:
            self.cancelled = True
            self._changed.notify_all()


def _decode_here(request: DecodeRequest) -> Audio | MediaError:
    try:
        return decode_audio(request.path, request.rate_hz, request.start_s, request.end_s, request.stream)
    except MediaError as error:
        return error
