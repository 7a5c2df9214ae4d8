"""The picture track of an open file: packets in, the chosen pictures of a clip out, by the track's time stamps.

A frame is shown from its time stamp to that of the next one. Where packets between two frames did not decode, or where
nothing comes for longer than `HOLD_S` and than the frame itself states, there is a hole. Formats that state no times of
presentation (AVI) are counted: the frames that come out take the packets' times in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..base import Pictures
from ..errors import MediaError
from .decode import Reading, check_size, decode_packet, media_error, presentation_start
from .demand import PictureDemand, PictureShape, Slots
from .frame_times import WITHOUT_STAMPS, FrameTimes, usual_step
from .packets import Packets
from .pictures import Blocks, Chooser, Outline, Stretch, chooser, pieces
from .promise import picture_promise_of
from .shaping import UnfitPicture, shape_picture

ROUNDED_S = Fraction(1, 1000)  # the coarsest that containers round time stamps to (AVI counts frames: exact)
HOLD_S = Fraction(1)  # recordings of screens and calls may show one picture that long without saying so
MAX_HOLE_S = Fraction(3600)  # as of sound: more would be a broken clock, and a way to fill the memory
MAX_STEP_BACK_S = 1  # a frame that comes late is left out; a longer way back means a broken or spliced clock
HELD_BYTES = 64 << 20  # packets that wait for the last place before the clip where decoding can begin

Send = Callable[[int, Pictures], None]
End = Callable[[int, MediaError | None], None]


class Film:
    """One picture track of an open container, read once from front to back, for any number of demands.

    Args:
        container: the container. path: of its file, for messages. track: one of its picture tracks.
        start, end: of the clip, seconds of the presentation.
        demands: which pictures are wanted.
        outline: what is known of the clip's frames; needed for slots.
        send: takes the next block of a demand, by its number.
        ended: told that a demand has got all its pictures, or why it cannot have them.
    """

    def __init__(
        self,
        container: Any,
        path: Path,
        track: Any,
        start: Fraction,
        end: Fraction | None,
        demands: Sequence[PictureDemand],
        outline: Outline | None,
        send: Send,
        ended: End,
    ) -> None:
        self._path, self._track = path, track
        self._start, self._end = start, end
        self._length = None if end is None else end - start
        self._origin = presentation_start(container)
        self._promise = picture_promise_of(container, track, path)
        self._codec = track.codec_context
        self._codec.thread_count = 1  # what comes of damaged packets must not depend on the machine
        self._times = FrameTimes(container.format.name in WITHOUT_STAMPS)
        self._ended = ended
        self.reading = Reading()
        self._rows = {
            number: _Rows(demand, chooser(demand, min(track.time_base, ROUNDED_S), self._length, outline), number, send)
            for number, demand in enumerate(demands)
            if not (isinstance(demand.sampling, Slots) and outline is None)
        }
        self._held: list[Any] | None = []  # packets that are decoded only if no better place to begin comes
        self._last: Any = None  # the frame that is shown, until the next one tells how long
        self._last_start = Fraction(0)
        self._step = Fraction(0)  # between the last two frames
        self._holes_s = Fraction(0)  # length of all holes
        self._usual_step = usual_step(track)
        self._first: Fraction | None = None  # where the pictures begin
        self._reached = Fraction(0)  # where the last one ends
        self._number = 0
        self.over = False
        for number in range(len(demands)):
            if number not in self._rows:
                self._end_demand(number, self._nothing_there())

    def take(self, packet: Any, packets: Packets) -> None:
        """Take the next packet of the track; those behind the clip's end are ignored.

        Raises:
            MediaError: if the track as a whole cannot be used.
        """
        if self.over:
            return
        self.reading.farthest = packets.farthest
        if self._held is None:
            self._decode(packet)
            return
        moment = packets.time(packet)
        if packet.is_keyframe and moment is not None and moment <= self._start:
            self._held.clear()
        self._held.append(packet)
        decoding = packet.pts if packet.dts is None else packet.dts
        late = decoding is None or decoding * packet.time_base - self._origin >= self._start
        if late or sum(one.size for one in self._held) > HELD_BYTES:
            self._begin()

    def finish(self, problem: str = "") -> None:
        """Pass on what is left; there are no more packets.

        Args:
            problem: why the demuxer stopped, if not at the end.

        Raises:
            MediaError: if the track as a whole cannot be used, or is cut short.
        """
        self.reading.problem = self.reading.problem or problem
        if not self._rows:
            return
        if not self.over:
            self._begin()
            for frame in decode_packet(self._codec, None, self.reading):
                if not self.over:
                    self._frame(frame)
            if not self.over:
                self._close_last()
        if self._first is None:
            raise media_error(self._path, self._blank())
        if not self.over and (broken := self._promise.broken(self.reading, self._reached, self._end)):
            hint = f"Copy or record it again, or end the clip at {float(self._reached):.2f} s at the latest."
            raise media_error(self._path, broken, hint)
        for number, rows in list(self._rows.items()):
            for time in rows.chooser.rest():
                rows.blocks.add(time, None)
            rows.blocks.flush()
            self._end_demand(number, None if rows.blocks.seen else self._nothing_there())

    def fail(self, error: MediaError) -> None:
        """End every demand that has not ended: the track cannot be used."""
        self.over = True
        for number in list(self._rows):
            self._end_demand(number, error)

    def _begin(self) -> None:
        """Decode what was held back."""
        held, self._held = self._held or [], None
        for packet in held:
            if not self.over:
                self._decode(packet)

    def _decode(self, packet: Any) -> None:
        if not packet.size:
            return  # nothing new to show; to the decoder it would mean the end
        self._times.packet(packet)
        failed = self.reading.failed
        frames = decode_packet(self._codec, packet, self.reading)
        if self.reading.failed > failed:
            self._times.failed(packet)
        for frame in frames:
            if not self.over:
                self._frame(frame)

    def _frame(self, frame: Any) -> None:
        stamp = self._times.frame(frame)
        if frame.is_corrupt:
            self._times.lost(stamp)
            return
        check_size(self._path, frame.width, frame.height)
        if stamp is None:  # counted on from the last one
            start = self._last_start + (self._step or self._usual_step) if self._last is not None else Fraction(0)
            stamp = math.ceil((start + self._origin) / self._track.time_base)
        else:
            start = stamp * self._track.time_base - self._origin
        if self._last is None:
            self._first = start
            self._holes(self._times.lost_before(stamp), start)
        elif start > self._last_start:
            self._close_last(start, stamp)
        elif start < self._last_start - MAX_STEP_BACK_S:
            found = f"Its time stamps jump back, from {float(self._last_start):.3f} to {float(start):.3f} s."
            raise media_error(self._path, found, "Convert it anew.")
        else:
            return
        self._last, self._last_start = frame, start
        self.over = self._end is not None and start >= self._end

    def _close_last(self, stop: Fraction | None = None, stamp: int | None = None) -> None:
        """Show the last frame until the next one comes; None: until it ends."""
        if self._last is None:
            return
        begin = self._last_start
        stated = min((self._last.duration or 0) * self._track.time_base, MAX_HOLE_S)
        lost = [moment for moment in self._moments(self._times.lost_before(stamp)) if moment > begin]
        if stop is None:
            end = begin + (stated or self._step or self._usual_step)
        else:
            end = min(stop, begin + max(stated, HOLD_S))
            self._step = stop - begin
        shown_until = min([end, *lost[:1]])
        self._reached = shown_until if stop is None or lost else stop
        if stop is not None:
            self._count_hole(stop - shown_until, stop)
        self._show(begin, shown_until, self._last)
        if lost:
            self._holes_at(lost, lost[-1] + (self._step or self._usual_step) if stop is None else stop)
        elif stop is not None and end < stop:
            self._pass_on(Stretch(end - self._start, stop - self._start, None, False), None)

    def _count_hole(self, length: Fraction, stop: Fraction) -> None:
        self._holes_s += length
        if self._holes_s > MAX_HOLE_S:
            found = f"Its time stamps jump forward, to {float(stop):.3f} s."
            raise media_error(self._path, found, "Convert it anew.")

    def _show(self, start: Fraction, stop: Fraction, frame: Any) -> None:
        self._pass_on(Stretch(start - self._start, stop - self._start, self._count(start), True), frame)

    def _holes(self, lost: list[int], stop: Fraction) -> None:
        self._holes_at([moment for moment in self._moments(lost) if moment < stop], stop)

    def _holes_at(self, moments: list[Fraction], stop: Fraction) -> None:
        """Pass on a frame without a picture for each of some moments."""
        for moment, after in zip(moments, [*moments, stop][1:], strict=True):
            self._pass_on(Stretch(moment - self._start, after - self._start, self._count(moment), False), None)

    def _moments(self, stamps: Iterable[int]) -> list[Fraction]:
        return [stamp * self._track.time_base - self._origin for stamp in stamps]

    def _count(self, start: Fraction) -> int | None:
        """Number of the frame that begins then, if it is one of the clip."""
        if start < self._start or (self._end is not None and start >= self._end):
            return None
        self._number += 1
        return self._number - 1

    def _pass_on(self, stretch: Stretch, frame: Any) -> None:
        """Give each demand the pictures that it wants of a stretch; a frame is converted at most once."""
        if stretch.stop <= stretch.start:
            return
        whole: list[np.ndarray] = []
        shaped: dict[PictureShape, np.ndarray] = {}
        for piece in pieces(stretch):
            for number, rows in list(self._rows.items()):
                try:
                    times = rows.chooser.times(piece)
                    picture = None
                    if times and piece.shown:
                        whole = whole or [_to_rgb(frame)]
                        picture = shaped.get(rows.shape)
                        if picture is None:
                            picture = shaped[rows.shape] = shape_picture(whole[0], rows.shape)
                except UnfitPicture as error:
                    todo = "Choose a backbone or a shape that scales pictures, or leave the clip out."
                    self._end_demand(number, media_error(self._path, f"Its pictures have {error}.", todo))
                    continue
                except ZeroDivisionError:
                    found = "It has too few frames: ViPER's rule divides by zero, as its own code does."
                    todo = "Use the rule `even`, or leave the clip out."
                    self._end_demand(number, media_error(self._path, found, todo))
                    continue
                for time in times:
                    rows.blocks.add(time, picture)

    def _end_demand(self, number: int, error: MediaError | None) -> None:
        self._rows.pop(number, None)
        self._ended(number, error)
        self.over = self.over or not self._rows

    def _blank(self) -> str:
        """Say why there is not a single picture."""
        if not self.reading.packets:
            return "Its picture track holds no pictures there."
        why = f": {self.reading.problem}" if self.reading.problem else ""
        return f"None of its {self.reading.packets} packets of pictures could be decoded{why}."

    def _nothing_there(self) -> MediaError:
        clip = f"{float(self._start):g} s to {'the end' if self._end is None else f'{float(self._end):g} s'}"
        found = f"It has no picture in the clip, {clip}."
        if self._first is not None and self._end is not None and self._first >= self._end:
            found = f"Its pictures begin at {float(self._first):.3f} s; the clip is {clip}."
        elif self._first is not None and self._reached <= self._start:
            found = f"Its pictures end at {float(self._reached):.3f} s; the clip is {clip}."
        return media_error(self._path, found, "Check the clip's start and end.")


class _Rows:
    """What becomes of one demand: what chooses, and the block that is being filled."""

    def __init__(self, demand: PictureDemand, chooser: Chooser, number: int, send: Send) -> None:
        self.shape = demand.shape
        self.chooser = chooser
        self.blocks = Blocks(demand.shape, lambda pictures: send(number, pictures))


def _to_rgb(frame: Any) -> np.ndarray:
    """Return a frame as (H, W, 3) uint8 RGB, by its own colour space, turned the right way up."""
    try:
        picture: np.ndarray = frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise UnfitPicture(f"a form ({frame.format.name}) that cannot become RGB: {error}") from error
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise, as numpy turns
    return np.rot90(picture, turns) if turns else picture
