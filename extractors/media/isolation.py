"""Decode clips ahead of whoever needs them, in processes whose crash or hang costs one clip and not the run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ...store.errors import BadInput
from ..base import Pictures
from ..errors import MediaError
from .audio import Audio, clip_bounds
from .child import DecodeChild, GoneBefore
from .clip import decode_clip
from .request import ClipRequest
from .stream import ClipStream, Room, SoundCame, Stopped

TIMEOUT_S = 20.0  # without a sign of life: a block, or that another second of packets was read
AHEAD_BYTES = 256 << 20  # an hour at 16 kHz
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

    def clip(self) -> ClipRequest:
        """Return the same as a request for a clip."""
        return ClipRequest(self.path, (self.rate_hz,), (), self.start_s, self.end_s, self.stream)


class DecodePool:
    """A few decoding processes; they start when first needed, or by `start`, and are replaced when they die.

    The results do not depend on the number of workers. Close it (it is a context manager), else processes remain
    until this one ends.

    Args:
        workers: number of processes; 0 decodes in a thread of this process, without protection.
        timeout_s: where a process gives no sign of life for so long, its clip fails, and it is replaced.
        ahead_items: how many clips may be decoded before they are asked for; default 2 + 2 per worker.
        ahead_bytes: how many bytes of sound and pictures may wait here. The clip that is wanted is always let in, piece
            by piece, and each worker holds one piece more.
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
        self._busy: dict[DecodeChild, Room] = {}
        self._rooms: set[Room] = set()  # of all iterators that are not closed
        self._closed = False

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the processes now, so that they are up when they are needed."""
        with self._changed:
            missing = self._workers - len(self._idle) - len(self._busy)
            self._idle += [DecodeChild() for _ in range(missing)]

    def pids(self) -> list[int]:
        """Return the ids of the processes that exist now."""
        with self._changed:
            return [child.pid for child in [*self._idle, *self._busy]]

    def clips(self, requests: Iterable[ClipRequest]) -> Generator[ClipStream]:
        """Decode clips, each once for all that is wanted of it, and yield them in the order given while they decode.

        Each stream must be iterated to its end, or closed. `requests` is read lazily, a few items ahead, in the
        caller's thread. Several threads may take turns at the iterator, under a lock of theirs. Closing it early ends
        the processes that are decoding for it.
        """
        room = Room(self._ahead_bytes)
        waiting: deque[ClipStream] = deque()
        source = enumerate(requests)
        ahead = self._ahead_items if self._workers else 1
        executor = ThreadPoolExecutor(max(1, self._workers), thread_name_prefix="decode")
        with self._changed:
            self._rooms.add(room)
        try:
            while True:
                while len(waiting) < ahead and (item := next(source, None)) is not None:
                    waiting.append(ClipStream(item[1], item[0], room))
                    executor.submit(self._serve, waiting[-1], room)
                if not waiting:
                    executor.shutdown(wait=True)  # other threads may still work on their clips
                    return
                stream = waiting.popleft()
                room.want(stream.number)
                yield stream
                del stream  # else the last of it would live until the next one is there
        finally:
            room.cancel()
            self._kill(room)
            executor.shutdown(wait=True, cancel_futures=True)
            with self._changed:
                self._rooms.discard(room)

    def decode(self, requests: Iterable[DecodeRequest]) -> Iterator[tuple[DecodeRequest, Audio | MediaError]]:
        """Decode the sound of clips and yield each with it, or with the reason why there is none, in the order given.

        See `clips` for what is read and kept ahead.
        """
        asked: deque[DecodeRequest] = deque()

        def clips() -> Iterator[ClipRequest]:
            for request in requests:
                asked.append(request)
                yield request.clip()

        with closing(self.clips(clips())) as streams:
            for stream in streams:
                sounds = [event.sound for event in stream if isinstance(event, SoundCame)]
                yield asked.popleft(), sounds.pop()

    def close(self) -> None:
        """End all processes, also those that are decoding, and wait for them."""
        with self._changed:
            self._closed = True
            children, self._idle = self._idle, []
            rooms = set(self._rooms)
        for room in rooms:
            room.cancel()
            self._kill(room)
        for child in children:
            child.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def _serve(self, stream: ClipStream, room: Room) -> None:
        """Decode a clip into its stream; runs in a thread of the executor."""
        try:
            if self._workers:
                self._serve_by_child(stream, room)
            else:
                stream.finish(tally=decode_clip(stream.request, _Admitting(stream)))
        except Stopped:
            room.cancel()  # the pool may have been closed between two clips: whoever waits for this one must hear of it
        # Carried over to whoever works on the clip.
        except BaseException as error:  # noqa: BLE001
            stream.crash(error)

    def _serve_by_child(self, stream: ClipStream, room: Room) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            child = self._take(room)
            try:
                child.serve(stream, self._timeout_s)
                return
            except GoneBefore as gone:
                if attempt == ATTEMPTS:
                    stream.finish(gone.obituary)
            except BaseException:
                child.kill()  # in the middle of a clip it is of no more use
                raise
            finally:
                self._give_back(child)

    def _take(self, room: Room) -> DecodeChild:
        """Return a child that is alive: one that waits, else a new one."""
        with self._changed:
            if self._closed or room.cancelled:
                raise Stopped
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

    def _kill(self, room: Room) -> None:
        """End the processes that decode for one caller."""
        with self._changed:
            for child in [child for child, owner in self._busy.items() if owner is room]:
                child.kill()


class _Admitting:
    """Waits for room before it passes on what is decoded in this process; follows `request.Receiver`."""

    def __init__(self, stream: ClipStream) -> None:
        self._stream = stream
        self.pictures_end = stream.pictures_end
        self.alive = stream.alive

    def pictures(self, demand: int, pictures: Pictures) -> None:
        """Pass on a block."""
        self._stream.admit(pictures.frames.nbytes)
        self._stream.pictures(demand, pictures)

    def sound(self, number: int, sound: Audio | MediaError) -> None:
        """Pass on the sound."""
        if isinstance(sound, Audio):
            self._stream.admit(sound.samples.nbytes)
        self._stream.sound(number, sound)
