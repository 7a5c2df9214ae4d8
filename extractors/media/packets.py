"""The packets of an open media file, read once from front to back, for the sound and the pictures at the same time."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av

from .decode import presentation_start, states_only_total

# Formats whose every packet has an exact time, so that seeking hits; in others the file is read from its beginning.
EXACT_SEEK = {"mov,mp4,m4a,3gp,3g2,mj2", "wav"}
PICTURE_SEEK = EXACT_SEEK | {"matroska,webm"}  # exact enough for pictures: times to the millisecond
PREROLL_S = 1  # decoded and thrown away after seeking: MP3's bit reservoir and Opus' 80 ms are far shorter
PEEK = 1000  # packets looked at after seeking, until each track has shown one
ALIVE_S = 1.0
Identity = tuple[Fraction | None, int | None, int]  # of a packet: its decoding time, place in the file, and size


class Packets:
    """An iterator over the packets of some tracks, in the order of the file.

    What the demuxer cannot read ends it; `problem` then says why, and whoever compares what came with what was stated
    will notice.

    Args:
        container: an open PyAV container.
        tracks: its streams that are wanted.
        alive: called about every second while packets are read.
    """

    def __init__(self, container: Any, tracks: Sequence[Any], alive: Callable[[], None] = lambda: None) -> None:
        # Only where the container alone states a duration do packets of other streams tell whether the file is whole.
        self._read = list(container.streams) if states_only_total(container) else list(tracks)
        self._container = container
        self._tracks = list(tracks)
        self._origin = presentation_start(container)
        self._alive = alive
        self._due = time.monotonic() + ALIVE_S
        self._ahead: deque[Any] = deque()
        self._source = self._demux()
        self.farthest: Fraction | None = None
        self.problem = ""
        read = {item.index for item in self._read}
        _leave_out([item for item in container.streams if item.index not in read])

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        packet = self._ahead.popleft() if self._ahead else next(self._source)
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base - self._origin
            self.farthest = end if self.farthest is None else max(end, self.farthest)
        return packet

    def time(self, packet: Any) -> Fraction | None:
        """Return when a packet is presented, or else decoded; seconds of the presentation, None if it says neither."""
        stamp = packet.dts if packet.pts is None else packet.pts
        return None if stamp is None else stamp * packet.time_base - self._origin

    def seek(self, start: Fraction, lead: Any) -> bool:
        """Go to shortly before a moment; False if the place is not sure to be before it.

        Args:
            start: seconds of the presentation.
            lead: the track by whose index is sought: pictures have the fewest places where decoding can begin.
        """
        if not self._jump(int((start - PREROLL_S) / lead.time_base), lead):
            return False
        first = self._first_of_each()
        moments = [self.time(packet) for packet in first]
        return len(first) == len(self._tracks) and all(moment is not None and moment <= start for moment in moments)

    def rewind(self, first: Sequence[Identity]) -> bool:
        """Go back to the beginning; False if it is not the one that `beginning` told."""
        if len(first) != len(self._tracks):
            return False
        # By the track that begins first: the others go to where that one is.
        begins = [Fraction(0) if moment is None else moment for moment, _, _ in first]
        lead = self._tracks[begins.index(min(begins))]
        if not self._jump(int((min(begins) - PREROLL_S) / lead.time_base), lead):
            return False
        return self.beginning() == list(first)

    def beginning(self) -> list[Identity]:
        """Return what tells the next packet of each track from others, without taking it."""
        return [
            (None if packet.dts is None else packet.dts * packet.time_base, packet.pos, packet.size)
            for packet in self._first_of_each()
        ]

    def _jump(self, stamp: int, lead: Any) -> bool:
        try:
            self._container.seek(stamp, stream=lead)
        except av.FFmpegError:
            return False  # behind the end, or a broken index: the whole file is read instead, and tells
        self._ahead.clear()
        self._source, self.problem, self.farthest = self._demux(), "", None
        return True

    def _first_of_each(self) -> list[Any]:
        found: dict[int, Any] = {}
        for packet in itertools.chain(list(self._ahead), self._reading_ahead()):
            found.setdefault(packet.stream.index, packet)
            if all(track.index in found for track in self._tracks) or len(self._ahead) > PEEK:
                break
        return [found[track.index] for track in self._tracks if track.index in found]

    def _reading_ahead(self) -> Iterator[Any]:
        for packet in self._source:
            self._ahead.append(packet)
            yield packet

    def _demux(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._read):
                if packet.size == 0 and packet.pts is None:
                    return  # the end; PyAV would stumble over streams that it met on the way
                if time.monotonic() >= self._due:
                    self._alive()
                    self._due = time.monotonic() + ALIVE_S
                yield packet
        except av.FFmpegError as error:
            self.problem = str(error.strerror)


def _leave_out(streams: list[Any]) -> None:
    """Tell the demuxer not to read the packets of some streams: of a film, the sound is a small part."""
    discard: Any = getattr(av.stream, "Discard", None)  # newer PyAV
    for stream in streams if discard else []:
        stream.discard = discard.all
