"""What may be wanted of a clip, and who takes it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..base import Pictures
from ..errors import MediaError
from .audio import Audio, clip_bounds, clip_span
from .demand import PictureDemand


@dataclass(frozen=True)
class ClipRequest:
    """What is wanted of one clip.

    Args:
        path: a local media file of any container and codec that FFmpeg knows.
        sounds_hz: rates at which its sound is wanted; none: no sound.
        pictures: which of its pictures are wanted, several times over.
        start_s: start of the clip in the file, seconds of the presentation (what a player shows); None: 0.
        end_s: end of the clip, exclusive; it may lie behind the end of the file. None: the file's end.
        stream: which sound track, counted from 0; None: the container's default track, else its first.

    Raises:
        BadInput: if a rate, start or end makes no sense.
    """

    path: Path
    sounds_hz: tuple[int, ...] = ()
    pictures: tuple[PictureDemand, ...] = ()
    start_s: float | None = None
    end_s: float | None = None
    stream: int | None = None

    def __post_init__(self) -> None:
        clip_span(self.start_s, self.end_s)
        for rate_hz in self.sounds_hz:
            clip_bounds(rate_hz, self.start_s, self.end_s)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the path is made absolute, because who reads it may stand in another folder."""
        return {
            "path": str(absolute(self.path)),
            "sounds_hz": list(self.sounds_hz),
            "pictures": [demand.to_json() for demand in self.pictures],
            "start_s": self.start_s,
            "end_s": self.end_s,
            "stream": self.stream,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ClipRequest:
        """Read what `to_json` wrote."""
        given = dict(data)
        path, sounds = Path(given.pop("path")), tuple(given.pop("sounds_hz"))
        return cls(path, sounds, tuple(PictureDemand.from_json(one) for one in given.pop("pictures")), **given)


def absolute(path: Path) -> Path:
    """Return a path from the root, without following links: messages name the file as it was asked for."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


class Receiver(Protocol):
    """Takes what a clip gives. Each demand and each rate ends exactly once; any call may wait, or raise to stop."""

    def pictures(self, demand: int, pictures: Pictures) -> None:
        """Take the next block of a demand, by its number in the request."""

    def pictures_end(self, demand: int, error: MediaError | None) -> None:
        """A demand has got all its pictures; or why it cannot have them, and those before are of no use."""

    def sound(self, number: int, sound: Audio | MediaError) -> None:
        """Take the whole sound at a rate, by its number in the request, or why there is none."""

    def alive(self) -> None:
        """Hear about every second that the work goes on."""


@dataclass
class Tally:
    """What decoding a clip took: files opened, packets of the tracks put into decoders, frames that came out."""

    opened: int = 0
    sound_packets: int = 0
    sound_frames: int = 0
    picture_packets: int = 0
    picture_frames: int = 0
