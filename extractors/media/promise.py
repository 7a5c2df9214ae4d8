"""What a container states about the end of its sound, and whether the sound that was decoded kept it.

A recording that was cut off by a full disk or a broken copy often decodes without complaint, only too short. Rows for
half a clip would look like rows for a clip, so a file that gives less than it states is an error, where the statement
can be trusted: not where FFmpeg estimates it from the bit rate (raw AAC, MP3 without a LAME header, MPEG-TS, Ogg).
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from .decode import Reading, presentation_start, states_only_total

SLACK_S = Fraction(1, 4)  # tracks of healthy files end some packets early
ROUGH = Fraction(2, 100)  # more of the duration where headers are written by rule of thumb
EXACT = {"mov,mp4,m4a,3gp,3g2,mj2", "wav", "w64", "flac", "aiff", "caf", "au"}
NO_CLAIM = 0x7F000000  # programs that write WAV into a pipe put 0, 0x7FFFxxxx or 0xFFFFFFFF where the length belongs


@dataclass(frozen=True)
class Promise:
    """Stated times in seconds of the presentation; None is what is not stated, or not to be trusted.

    `padding_end` is where the encoder's padding begins, `sound_end` where the sound must at least reach, `total` where
    some stream of the file must reach, each but for `slack`.
    """

    padding_end: Fraction | None = None
    sound_end: Fraction | None = None
    total: Fraction | None = None
    slack: Fraction = SLACK_S

    def broken(self, reading: Reading, reached: Fraction, clip_end: Fraction | None) -> str | None:
        """Return how far the sound came and was to come, as a sentence, if it falls short of it within the clip."""
        came, stated = reached, self.sound_end
        if stated is None:
            came, stated = max(reached, reading.farthest or reached), self.total
        if stated is None or (clip_end is not None and reached >= clip_end):
            return None
        wanted = stated if clip_end is None else min(stated, clip_end)
        if came >= wanted - self.slack:
            return None
        reason = f" ({reading.problem})" if reading.problem else ""
        return f"It is cut short or damaged: it states {float(stated):.2f} s, but ends at {float(came):.2f} s{reason}."


def promise_of(container: Any, stream: Any, path: Path) -> Promise:
    """Return what the container states about the end of a sound stream."""
    name = container.format.name
    start = _start(container, stream)
    end = None if stream.duration is None else start + stream.duration * stream.time_base
    if name == "wav":
        claim = _wav_duration(path, stream)
        end = claim if claim is not None else end
    if name in EXACT:
        return Promise(padding_end=end if name.startswith("mov") else None, sound_end=end)
    total = None if container.duration is None else Fraction(container.duration, av.time_base)
    if states_only_total(container):
        return Promise(padding_end=_matroska_end(stream), total=total, slack=_rough(total))
    if name == "avi" and end is not None:
        end *= _avi_excess(path)
        return Promise(sound_end=end, slack=_rough(end))
    # Only FFmpeg's reading of a LAME header gives an MP3 stream a start other than 0, and with it an exact length.
    if name == "mp3" and stream.start_time:
        return Promise(sound_end=end, slack=_rough(end))
    return Promise()


def picture_promise_of(container: Any, track: Any, path: Path) -> Promise:
    """Return what the container states about the end of a picture track."""
    name = container.format.name
    if states_only_total(container):
        total = None if container.duration is None else Fraction(container.duration, av.time_base)
        return Promise(total=total, slack=_rough(total))
    if track.duration is None or (name not in EXACT and name != "avi"):
        return Promise()
    end = _start(container, track) + track.duration * track.time_base
    if name == "avi":
        end *= _avi_excess(path)
        return Promise(sound_end=end, slack=_rough(end))
    return Promise(sound_end=end)


def _start(container: Any, stream: Any) -> Fraction:
    return (
        Fraction(0)
        if stream.start_time is None
        else stream.start_time * stream.time_base - presentation_start(container)
    )


def _rough(end: Fraction | None) -> Fraction:
    return SLACK_S + ROUGH * (end or 0)


def _matroska_end(stream: Any) -> Fraction | None:
    """End of the sound by the DURATION tag, which counts the encoder's delay as well."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].strip("\0").split(":")
        tagged = (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)
    except (KeyError, ValueError, ZeroDivisionError):  # no tag, or one that is no duration
        return None
    rate, delay = stream.codec_context.rate, stream.codec_context.delay
    ticks = round(delay / rate / stream.time_base) if rate else 0
    return tagged - ticks * stream.time_base


def _avi_excess(path: Path) -> Fraction:
    """How many times more bytes an AVI header claims than there are. FFmpeg shortens the duration to what is left."""
    with path.open("rb") as file:
        head = file.read(8)
    size = path.stat().st_size
    if head[:4] != b"RIFF":
        return Fraction(1)
    return max(Fraction(1), Fraction(struct.unpack("<I", head[4:])[0] + 8, size))


def _wav_duration(path: Path, stream: Any) -> Fraction | None:
    """Duration that a WAV header claims. FFmpeg quietly takes what is left in the file instead."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return None
        file.seek(12)
        while len(head := file.read(8)) == 8:
            kind, size = head[:4], struct.unpack("<I", head[4:])[0]
            if kind == b"data":
                bits = re.match(r"pcm_(?:[suf](\d+)|alaw|mulaw)", stream.codec_context.name)
                if not bits or not 0 < size < NO_CLAIM:
                    return None
                return Fraction(size * 8, int(bits[1] or 8) * stream.codec_context.rate * stream.codec_context.channels)
            file.seek(size + size % 2, os.SEEK_CUR)
    return None
