"""Decode the sound of a media file to mono float32 at one rate, by its time stamps.

Encoder padding is trimmed (priming by FFmpeg from edit lists, skip-sample data and codec delay; the tail by the stated
duration), a stream that starts late starts late, holes become silence and are listed. The mix is the plain mean over
channels (FFmpeg's own down-mix weights them), integer samples are scaled by their full range (int16 by 1/32768).
What cannot be known is not guessed: AVI, MPEG-TS, FLV and raw AAC do not say how long the encoder's priming is, so
compressed sound in them comes later by it (AAC 23 ms, MP3 25 ms), as in a player.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...store.errors import BadInput
from .assemble import Assembly
from .decode import Reading, choose_audio, decoded_frames, media_error, open_media, presentation_start
from .promise import promise_of
from .resample import MAX_RATE_HZ, MIN_RATE_HZ
from .timeline import Block, ClockError, cut, settle, without_padding

# Formats whose every packet has an exact time, so that seeking hits; in others the file is decoded from its beginning.
EXACT_SEEK = {"mov,mp4,m4a,3gp,3g2,mj2", "wav"}
UNSTAMPED = {"aac", "ac3", "dts", "eac3", "loas", "mp3", "truehd"}
SAME_S = 0.001  # frames this close follow each other; all larger differences are judged by `timeline.settle`
SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
PREROLL_S = 1  # decoded and thrown away after seeking: MP3's bit reservoir and Opus' 80 ms are far shorter


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound of a clip.

    Args:
        samples: (N,) float32, full scale is ±1.
        rate_hz: samples per second.
        start_s: time of sample 0, seconds after the clip's start; positive where the sound starts late.
        gaps: (start, stop) of holes in the stream, seconds after the clip's start; their samples are 0.
    """

    samples: np.ndarray
    rate_hz: int
    start_s: float
    gaps: tuple[tuple[float, float], ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the samples in seconds."""
        return len(self.samples) / self.rate_hz


def decode_audio(
    path: str | os.PathLike[str],
    rate_hz: int,
    start_s: float | None = None,
    end_s: float | None = None,
    stream: int | None = None,
) -> Audio:
    """Decode the sound of a clip.

    Args:
        path: a local media file of any container and codec that FFmpeg knows.
        rate_hz: rate of the result; samples of a file that has this rate are not filtered.
        start_s: start of the clip in the file, seconds of the presentation (what a player shows); None: 0.
        end_s: end of the clip, exclusive; it may lie behind the end of the file. None: the file's end.
        stream: which sound track, counted from 0; None: the container's default track, else its first.

    Returns:
        The samples whose times are in [start_s, end_s).

    Raises:
        MediaError: if there is no sound in the clip, or less than the container states.
        BadInput: if the rate, start or end make no sense.
    """
    start, end = clip_bounds(rate_hz, start_s, end_s)
    path = Path(os.path.abspath(path))  # noqa: PTH100 - see open_media
    if start > 2 * PREROLL_S:
        with open_media(path) as container:
            sound = _Sound(container, path, stream)
            if sound.seek(start):
                return sound.clip(rate_hz, start, end)
    with open_media(path) as container:
        return _Sound(container, path, stream).clip(rate_hz, start, end)


def clip_bounds(rate_hz: int, start_s: float | None, end_s: float | None) -> tuple[Fraction, Fraction | None]:
    """Return start and end of a clip as exact fractions (0.1 is one tenth).

    Raises:
        BadInput: if the rate is out of range, or not 0 <= start < end.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ or rate_hz != int(rate_hz):
        raise BadInput(
            f"Sound was to be decoded to {rate_hz} Hz.",
            "That is no sample rate.",
            f"Use a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ}.",
        )
    low, high = 0.0 if start_s is None else start_s, math.inf if end_s is None else end_s
    if not (0 <= low < high and math.isfinite(low) and (end_s is None or math.isfinite(high))):
        raise BadInput(
            f"A clip from {start_s} s to {end_s} s was asked for.", "There is none.", "Use 0 <= start < end."
        )
    return _seconds(low), None if end_s is None else _seconds(high)


class _Sound:
    """One sound track of an open container, read once from front to back."""

    def __init__(self, container: Any, path: Path, stream: int | None) -> None:
        self._container = container
        self._path = path
        self._track = choose_audio(container, path, stream)
        self._promise = promise_of(container, self._track, path)
        self._reading = Reading()
        self._blocks: Iterator[Block] = self._read()
        self._first: Fraction | None = None  # where the sound begins
        self._reached = Fraction(0)  # where it was read to
        self._rate_hz = 0  # of the first frame
        self._rate_changed = False

    def seek(self, start: Fraction) -> bool:
        """Go to shortly before a moment; False if the format cannot, or the place is not sure to be before it."""
        if self._container.format.name not in EXACT_SEEK:
            return False
        try:
            self._container.seek(int((start - PREROLL_S) / self._track.time_base), stream=self._track)
        except av.FFmpegError:
            return False  # behind the end, or a broken index: the whole file is decoded instead, and tells
        first = next(self._blocks, None)
        if first is None or first.start > start:
            return False
        self._blocks = itertools.chain([first], self._blocks)
        return True

    def clip(self, rate_hz: int, start: Fraction, end: Fraction | None) -> Audio:
        """Return the sound of a clip."""
        out = Assembly(rate_hz, start)
        steady = without_padding(settle(self._blocks, self._track.time_base), self._promise.padding_end)
        try:
            for block in cut(self._watched(steady), start, end):
                out.add(block)
        except ClockError as error:
            raise media_error(self._path, str(error), "Convert it anew, for example to WAV.") from error
        if self._first is None:
            raise media_error(self._path, self._silence())
        if broken := self._promise.broken(self._reading, self._reached, end):
            hint = f"Copy or record it again, or end the clip at {float(self._reached):.2f} s at the latest."
            raise media_error(self._path, broken, hint)
        if out.empty:
            raise media_error(self._path, self._elsewhere(start, end), "Check the clip's start and end.")
        samples, start_s, gaps = out.finish()
        if not len(samples):
            raise media_error(
                self._path, f"It has less than one sample of {rate_hz} Hz there.", "Make the clip longer."
            )
        return Audio(samples, rate_hz, start_s, gaps)

    def _watched(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            self._first = block.start if self._first is None else self._first
            self._reached = block.end
            yield block

    def _silence(self) -> str:
        """Say why there is not a single sample."""
        if not self._reading.failed:
            return "Its sound track holds no samples."
        return f"None of its {self._reading.packets} packets of sound could be decoded: {self._reading.problem}."

    def _elsewhere(self, start: Fraction, end: Fraction | None) -> str:
        """Say where the sound is, if not in the clip."""
        clip = f"the clip is {float(start):g} s to {'the end' if end is None else f'{float(end):g} s'}"
        if self._first is not None and end is not None and self._first >= end:
            return f"Its sound begins at {float(self._first):.3f} s; {clip}."
        if self._reached <= start:
            return f"Its sound ends at {float(self._reached):.3f} s; {clip}."
        return f"It has no sound there; {clip}."

    def _read(self) -> Iterator[Block]:
        """Join frames that follow each other to blocks of about a second, so that exact times cost nothing."""
        origin, tick = presentation_start(self._container), self._track.time_base
        parts: list[np.ndarray] = []
        start, rate_hz, count = Fraction(0), 0, 0
        for frame in decoded_frames(self._container, self._track, self._reading):
            samples = mix(frame)
            if not np.isfinite(samples).all():
                self._reading.failed += 1
                self._reading.problem = "samples are no numbers"
                continue
            if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
                raise media_error(self._path, f"Its header states a sample rate of {frame.sample_rate} Hz.")
            stamp = None if frame.pts is None or self._counts(frame) else frame.pts * tick - origin
            follows = count and frame.sample_rate == rate_hz and count < rate_hz
            if follows and stamp is not None:
                follows = abs(float(stamp - start) - count / rate_hz) < SAME_S
            if not follows:
                if count:
                    yield Block(start, rate_hz, np.concatenate(parts))
                start = start + Fraction(count, rate_hz or 1) if stamp is None else stamp
                parts, rate_hz, count = [], frame.sample_rate, 0
            parts.append(samples)
            count += len(samples)
        if count:
            yield Block(start, rate_hz, np.concatenate(parts))

    def _counts(self, frame: Any) -> bool:
        """Tell whether time must be counted: raw AAC and its like hold no time stamps, but their rate may change."""
        self._rate_hz = self._rate_hz or frame.sample_rate
        changed = frame.sample_rate != self._rate_hz
        self._rate_changed |= changed and self._container.format.name in UNSTAMPED
        return self._rate_changed


def mix(frame: av.AudioFrame) -> np.ndarray:
    """Return the mean over the channels of a frame, full scale ±1.

    Returns:
        (n,) float32; of int16 in one channel exactly value / 32768.
    """
    values = _channels(frame)
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif values.dtype == np.int16:
        values = values.astype(np.float32) / 32768
    elif np.issubdtype(values.dtype, np.integer):
        values = values.astype(np.float64) / 2.0 ** (8 * values.dtype.itemsize - 1)
    mixed = values[0] if len(values) == 1 else values.mean(axis=0)
    return mixed.astype(np.float32)


def _channels(frame: av.AudioFrame) -> np.ndarray:
    """Return a frame's samples (channels, n) in its own number type.

    Not by `to_ndarray`: above 8 channels PyAV reads past the list of planes, which may end the process.
    """
    name, channels = frame.format.name, frame.layout.nb_channels
    dtype = SAMPLE_TYPES[name.removesuffix("p")]
    if frame.format.is_planar:
        return np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in frame.planes[:channels]])
    return np.frombuffer(frame.planes[0], dtype, frame.samples * channels).reshape(frame.samples, channels).T


def _seconds(value: float) -> Fraction:
    """Return the fraction that was meant: nanoseconds are exact enough, and 0.1 is one tenth."""
    return Fraction(value).limit_denominator(10**9)
