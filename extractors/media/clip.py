"""Decode a clip once for everything that is wanted of it: sound at any rates, and pictures for any demands.

The file is opened once and its packets are read in one pass; pictures go out in blocks while they come, the sound when
it is complete. It is read again only where one pass cannot do: where the place sought was behind the clip's start, or
where frames had to be counted first and the format cannot go back to the same place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..base import Pictures
from ..errors import MediaError
from .audio import Audio, Sound, clip_span
from .decode import choose_audio, choose_video, open_media
from .film import Film
from .frame_times import outline_of
from .packets import EXACT_SEEK, PICTURE_SEEK, PREROLL_S, Packets
from .pictures import Outline, needs_outline
from .request import ClipRequest, Receiver, Tally, absolute


class _OpenAgain(Exception):
    """This opening cannot go on from the right place."""

    def __init__(self, seek: bool, outline: Outline | None, counted: bool) -> None:
        super().__init__()
        self.seek, self.outline, self.counted = seek, outline, counted


def decode_clip(request: ClipRequest, receiver: Receiver) -> Tally:
    """Decode a clip; the receiver is told everything, errors of the medium too.

    Returns:
        What it took.
    """
    tally = Tally()
    todo = _Todo(request, receiver)
    seek, outline, counted = True, None, False
    while todo.left:
        try:
            with open_media(request.path) as container:
                tally.opened += 1
                _Pass(container, todo, tally).run(seek, outline, counted)
        except _OpenAgain as again:
            seek, outline, counted = again.seek, again.outline, again.counted
        except MediaError as error:
            todo.fail(error)
    return tally


class _Todo:
    """A request, and what of it has not ended."""

    def __init__(self, request: ClipRequest, receiver: Receiver) -> None:
        self.request = request
        self.receiver = receiver
        self.path = absolute(request.path)
        self.start, self.end = clip_span(request.start_s, request.end_s)
        self.sounds = set(range(len(request.sounds_hz)))
        self.pictures = set(range(len(request.pictures)))

    @property
    def left(self) -> bool:
        """Tell whether anything has not ended."""
        return bool(self.sounds or self.pictures)

    def end_sound(self, number: int, sound: Audio | MediaError) -> None:
        """Pass on the sound at one rate."""
        if number in self.sounds:
            self.sounds.remove(number)
            self.receiver.sound(number, sound)

    def end_pictures(self, number: int, error: MediaError | None) -> None:
        """Pass on that a demand ended."""
        if number in self.pictures:
            self.pictures.remove(number)
            self.receiver.pictures_end(number, error)

    def fail_sounds(self, error: MediaError) -> None:
        """End all rates with an error."""
        for number in sorted(self.sounds):
            self.end_sound(number, error)

    def fail_pictures(self, error: MediaError) -> None:
        """End all demands with an error."""
        for number in sorted(self.pictures):
            self.end_pictures(number, error)

    def fail(self, error: MediaError) -> None:
        """End everything with an error."""
        self.fail_sounds(error)
        self.fail_pictures(error)


class _Pass:
    """One opening of the file."""

    def __init__(self, container: Any, todo: _Todo, tally: Tally) -> None:
        self._container = container
        self._todo = todo
        self._tally = tally
        self._audio: Any = None
        self._video: Any = None
        if todo.sounds:
            try:
                self._audio = choose_audio(container, todo.path, todo.request.stream)
            except MediaError as error:
                todo.fail_sounds(error)
        if todo.pictures:
            try:
                self._video = choose_video(container, todo.path)
            except MediaError as error:
                todo.fail_pictures(error)

    def run(self, seek: bool, outline: Outline | None, counted: bool) -> None:
        """Read the packets.

        Args:
            seek: go to the clip's start where the format can.
            outline: what is known of the frames. counted: whether they have been counted already.

        Raises:
            _OpenAgain: if this opening cannot be used.
        """
        tracks = [track for track in (self._video, self._audio) if track is not None]
        if not tracks:
            return
        packets = Packets(self._container, tracks, self._todo.receiver.alive)
        start, end = self._todo.start, self._todo.end
        formats = PICTURE_SEEK if self._audio is None else EXACT_SEEK
        seek = seek and start > 2 * PREROLL_S and self._container.format.name in formats
        if seek and not packets.seek(start, tracks[0]):
            raise _OpenAgain(False, outline, counted)
        if self._video is not None and not counted and self._slots():
            first = packets.beginning()
            outline = outline_of(self._container, self._video, packets, start, end)
            # Only there do padding and time stamps come out the same after going back.
            exact = self._audio is None or self._container.format.name in EXACT_SEEK
            back = exact and (packets.seek(start, tracks[0]) if seek else packets.rewind(first))
            if not back:
                raise _OpenAgain(seek, outline, True)
        self._read(packets, outline)

    def _slots(self) -> bool:
        pictures = self._todo.request.pictures
        return any(needs_outline(pictures[number]) for number in self._todo.pictures)

    def _read(self, packets: Packets, outline: Outline | None) -> None:
        film = None if self._video is None else self._film(outline)
        if self._audio is not None:
            self._hear(packets, film)
        if film is None:
            return
        try:
            while not film.over and (packet := next(packets, None)) is not None:
                if packet.stream.index == self._video.index:
                    film.take(packet, packets)
            film.finish(packets.problem)
        except MediaError as error:
            film.fail(error)
        self._tally.picture_packets += film.reading.packets
        self._tally.picture_frames += film.reading.frames

    def _film(self, outline: Outline | None) -> Film:
        todo = self._todo
        numbers = sorted(todo.pictures)
        return Film(
            self._container,
            todo.path,
            self._video,
            todo.start,
            todo.end,
            [todo.request.pictures[number] for number in numbers],
            outline,
            lambda number, pictures: todo.receiver.pictures(numbers[number], pictures),
            lambda number, error: todo.end_pictures(numbers[number], error),
        )

    def _hear(self, packets: Packets, film: Film | None) -> None:
        """Read the sound, and the pictures that lie between."""
        todo = self._todo
        numbers = sorted(todo.sounds)
        rates = [todo.request.sounds_hz[number] for number in numbers]
        try:
            sound = Sound(self._container, todo.path, self._audio)
            made = sound.clip(rates, todo.start, todo.end, packets, self._aside(packets, film))
        except MediaError as error:
            todo.fail_sounds(error)
        else:
            for number, one in zip(numbers, made, strict=True):
                todo.end_sound(number, one)
            self._tally.sound_packets += sound.reading.packets
            self._tally.sound_frames += sound.reading.frames

    def _aside(self, packets: Packets, film: Film | None) -> Callable[[Any], None]:
        def see(packet: Any) -> None:
            if film is None or packet.stream.index != self._video.index:
                return
            try:
                film.take(packet, packets)
            except MediaError as error:
                film.fail(error)

        return see


class _Collector:
    """Keeps the sound of one rate."""

    def __init__(self) -> None:
        self.result: Audio | MediaError | None = None

    def pictures(self, demand: int, pictures: Pictures) -> None:
        """There are none."""

    def pictures_end(self, demand: int, error: MediaError | None) -> None:
        """There are none."""

    def sound(self, number: int, sound: Audio | MediaError) -> None:
        """Keep it."""
        self.result = sound

    def alive(self) -> None:
        """Nobody waits."""


def decode_audio(
    path: str | os.PathLike[str],
    rate_hz: int,
    start_s: float | None = None,
    end_s: float | None = None,
    stream: int | None = None,
) -> Audio:
    """Decode the sound of a clip, in this process.

    Args:
        path, start_s, end_s, stream: see `ClipRequest`.
        rate_hz: rate of the result; samples of a file that has this rate are not filtered.

    Returns:
        The samples whose times are in [start_s, end_s).

    Raises:
        MediaError: if there is no sound in the clip, or less than the container states.
        BadInput: if the rate, start or end make no sense.
    """
    collector = _Collector()
    decode_clip(ClipRequest(Path(path), (rate_hz,), (), start_s, end_s, stream), collector)
    if not isinstance(collector.result, Audio):
        raise collector.result or MediaError(f"The sound of `{path}` was asked for.", "None came.", "Report this.")
    return collector.result
