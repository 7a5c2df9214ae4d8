"""Time stamps of the frames of a picture track: which each has, which were lost, and how many a clip holds."""

from __future__ import annotations

import heapq
from fractions import Fraction
from typing import Any

from .decode import presentation_start
from .packets import Packets
from .pictures import Outline

WITHOUT_STAMPS = {"avi"}  # formats that state no times of presentation: packets' times are taken in order


def usual_step(track: Any) -> Fraction:
    """Return the time from frame to frame that the container states, or a guess."""
    return 1 / Fraction(track.average_rate) if track.average_rate else Fraction(1, 25)


class FrameTimes:
    """Which time stamp each frame has, and which packets never became a frame.

    Args:
        counted: take the packets' stamps in order instead of the frames' own.
    """

    def __init__(self, counted: bool) -> None:
        self._counted = counted
        self._pending: list[int] = []  # a heap: stamps of packets whose frame has not come
        self._lost: list[int] = []  # a heap: stamps of packets that did not decode

    def packet(self, packet: Any) -> None:
        """Take note of a packet that goes to the decoder."""
        stamp = self._stamp(packet)
        if stamp is not None and not packet.is_discard:
            heapq.heappush(self._pending, stamp)

    def failed(self, packet: Any) -> None:
        """Take note that a packet did not decode."""
        stamp = self._stamp(packet)
        if stamp in self._pending:
            self._pending.remove(stamp)
            heapq.heapify(self._pending)
        self.lost(stamp)

    def lost(self, stamp: int | None) -> None:
        """Take note of a stamp that will never have a picture."""
        if stamp is not None:
            heapq.heappush(self._lost, stamp)

    def frame(self, frame: Any) -> int | None:
        """Return the stamp of a frame that came out."""
        if not self._counted:
            return None if frame.pts is None else int(frame.pts)
        return heapq.heappop(self._pending) if self._pending else None

    def lost_before(self, stamp: int | None) -> list[int]:
        """Return the stamps before `stamp` (None: all) that never became a frame, from the first that did not decode.

        Packets without a frame are no fault by themselves: some formats have packets that are never shown.
        """
        lost = _pop_before(self._lost, stamp)
        passed = [] if self._counted else _pop_before(self._pending, stamp)
        return sorted({*lost, *(one for one in passed if lost and one >= lost[0])})

    def _stamp(self, packet: Any) -> int | None:
        stamp = packet.dts if self._counted else packet.pts
        return None if stamp is None else int(stamp)


def _pop_before(heap: list[int], stamp: int | None) -> list[int]:
    taken = []
    while heap and (stamp is None or heap[0] < stamp):
        taken.append(heapq.heappop(heap))
    return taken


def outline_of(container: Any, track: Any, packets: Packets, start: Fraction, end: Fraction | None) -> Outline | None:
    """Count the frames of a clip by reading packets only, up to a second behind its end; None if there is no frame."""
    counted = container.format.name in WITHOUT_STAMPS
    frames, low, high = 0, None, None
    usual = usual_step(track)
    origin = presentation_start(container)
    for packet in packets:
        if packet.stream.index != track.index:
            continue
        stamp = packet.dts if counted or packet.pts is None else packet.pts
        if stamp is None or packet.is_discard or _never_shown(track, packet):
            continue
        moment = stamp * packet.time_base - origin
        stop = moment + ((packet.duration or 0) * packet.time_base or usual)
        if stop > start and (end is None or moment < end):
            frames += moment >= start
            low = moment if low is None else min(low, moment)
            high = stop if high is None else max(high, stop)
        decoding = stamp if packet.dts is None else packet.dts
        if end is not None and decoding * packet.time_base - origin > end + 1:
            break
    if low is None or high is None:
        return None
    begin = max(low, start)
    return Outline(frames, begin - start, (high if end is None else min(high, end)) - start)


def _never_shown(track: Any, packet: Any) -> bool:
    """Whether a packet holds a picture that others refer to, but nobody sees; VP8 has such packets."""
    return track.codec_context.name in {"vp8", "libvpx"} and packet.size > 0 and not bytes(packet)[0] & 0x10
