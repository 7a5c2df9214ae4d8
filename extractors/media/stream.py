"""What a clip gives, on its way from the thread that decodes or receives it to the one that computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from ..base import Pictures
from ..errors import MediaError
from .audio import Audio
from .request import ClipRequest, Tally


class PicturesCame(NamedTuple):
    """The next block of a demand, by its number in the request."""

    demand: int
    pictures: Pictures


class PicturesEnded(NamedTuple):
    """A demand has got all its pictures, or why it cannot have them."""

    demand: int
    error: MediaError | None


class SoundCame(NamedTuple):
    """The sound at a rate, by its number in the request, or why there is none."""

    number: int
    sound: Audio | MediaError


Event = PicturesCame | PicturesEnded | SoundCame


class Stopped(Exception):
    """Nobody wants the rest."""


class Room:
    """Bounds the bytes of all clips that wait for their turn.

    Args:
        limit: bytes. What a wanted clip gives is let in, piece by piece, even where there is no room.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: dict[int, int] = {}  # by clip
        self._wanted: set[int] = set()
        self.changed = threading.Condition()
        self.cancelled = False

    def enter(self, number: int, size: int) -> None:
        """Wait until `size` bytes of clip `number` may come in."""
        with self.changed:
            self.changed.wait_for(lambda: self.cancelled or self._fits(number, size))
            self._used[number] = self._used.get(number, 0) + size

    def leave(self, number: int, size: int) -> None:
        """Give the room of something that came in free."""
        with self.changed:
            self._used[number] = self._used.get(number, 0) - size
            if not self._used[number]:
                del self._used[number]
            self.changed.notify_all()

    def want(self, number: int) -> None:
        """Say that the computation waits for a clip, or works on it."""
        with self.changed:
            self._wanted.add(number)
            self.changed.notify_all()

    def cancel(self) -> None:
        """Let everybody go on at once; nothing is wanted any more."""
        with self.changed:
            self.cancelled = True
            self.changed.notify_all()

    def _fits(self, number: int, size: int) -> bool:
        alone = number in self._wanted and not self._used.get(number)
        return alone or sum(self._used.values()) + size <= self._limit


class ClipStream:
    """An iterator over the events of one clip, which end with one end per demand and per rate. Iterate it, or close it.

    Iterating raises `Stopped` where the whole decoding was stopped before the clip's end.

    Args:
        request: what is wanted.
        number: of the clip, for `room`.
        room: where its events wait.
    """

    def __init__(self, request: ClipRequest, number: int, room: Room) -> None:
        self.request = request
        self.number = number
        self.tally: Tally | None = None  # what decoding took; None where the decoder died
        self._room = room
        self._events: deque[tuple[Event, int]] = deque()
        self._open_pictures = set(range(len(request.pictures)))
        self._open_sounds = set(range(len(request.sounds_hz)))
        self._ended = False
        self._closed = False
        self._crash: BaseException | None = None

    def __enter__(self) -> ClipStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        while (event := self._next()) is not None:
            yield event
            del event  # else it would live until the next one is there

    def close(self) -> None:
        """Throw the rest away."""
        with self._room.changed:
            self._closed = True
            for _, size in self._events:
                self._room.leave(self.number, size)
            self._events.clear()

    def admit(self, size: int) -> None:
        """Wait until there is room for an event of that many bytes.

        Raises:
            Stopped: if it is not wanted any more.
        """
        self._room.enter(self.number, size)
        self.alive()

    def pictures(self, demand: int, pictures: Pictures) -> None:
        """Take a block that was admitted."""
        self._put(PicturesCame(demand, pictures), pictures.frames.nbytes)

    def pictures_end(self, demand: int, error: MediaError | None) -> None:
        """Take the end of a demand."""
        if demand in self._open_pictures:
            self._open_pictures.remove(demand)
            self._put(PicturesEnded(demand, error), 0)

    def sound(self, number: int, sound: Audio | MediaError) -> None:
        """Take the sound of a rate; it was admitted, if it is some."""
        size = sound.samples.nbytes if isinstance(sound, Audio) else 0
        if number in self._open_sounds:
            self._open_sounds.remove(number)
            self._put(SoundCame(number, sound), size)

    def alive(self) -> None:
        """Hear that the work goes on.

        Raises:
            Stopped: if it is not wanted any more.
        """
        if self._room.cancelled:
            raise Stopped

    def finish(self, error: MediaError | None = None, tally: Tally | None = None) -> None:
        """There will be no more; what has not ended gets `error`."""
        if error is not None:
            if self._room.cancelled:
                return  # it was stopped, which is not the clip's fault: whoever iterates hears `Stopped`
            for demand in sorted(self._open_pictures):
                self.pictures_end(demand, error)
            for number in sorted(self._open_sounds):
                self.sound(number, error)
        with self._room.changed:
            self.tally = tally
            self._ended = True
            self._room.changed.notify_all()

    def crash(self, error: BaseException) -> None:
        """Let whoever iterates get an exception that is no clip's fault."""
        with self._room.changed:
            self._crash = error
            self._ended = True
            self._room.changed.notify_all()

    def _put(self, event: Event, size: int) -> None:
        with self._room.changed:
            if self._closed:
                if size:
                    self._room.leave(self.number, size)
                return
            self._events.append((event, size))
            self._room.changed.notify_all()

    def _next(self) -> Event | None:
        with self._room.changed:
            self._room.changed.wait_for(lambda: self._events or self._ended or self._room.cancelled)
            if self._events:
                event, size = self._events.popleft()
                self._room.leave(self.number, size)
                return event
            if self._crash is not None:
                raise self._crash
            if not self._ended:
                raise Stopped
            return None
