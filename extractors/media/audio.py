"""Decode the sound of a media file to mono float32 at one rate, by its time stamps.

Encoder padding is trimmed (priming by FFmpeg from edit lists, skip-sample data and codec delay; the tail by the stated
duration), a stream that starts late starts late, holes become silence and are listed. The mix is the plain mean over
channels (FFmpeg's own down-mix weights them), integer samples are scaled by their full range (int16 by 1/32768).
What cannot be known is not guessed: AVI, MPEG-TS, FLV and raw AAC do not say how long the encoder's priming is, so
compressed sound in them comes later by it (AAC 23 ms, MP3 25 ms), as in a player.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...store.errors import BadInput
from ..errors import MediaError
from .assemble import Assembly
from .decode import Reading, decoded_frames, media_error, presentation_start
from .packets import Packets
from .promise import promise_of
from .resample import MAX_RATE_HZ, MIN_RATE_HZ
from .timeline import Block, ClockError, cut, settle, without_padding

UNSTAMPED = {"aac", "ac3", "dts", "eac3", "loas", "mp3", "truehd"}
SAME_S = 0.001  # frames this close follow each other; all larger differences are judged by `timeline.settle`
SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


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
    return clip_span(start_s, end_s)


def clip_span(start_s: float | None, end_s: float | None) -> tuple[Fraction, Fraction | None]:
    """Return start and end of a clip as exact fractions (0.1 is one tenth).

    Raises:
        BadInput: if not 0 <= start < end.
    """
    low, high = 0.0 if start_s is None else start_s, math.inf if end_s is None else end_s
    if not (0 <= low < high and math.isfinite(low) and (end_s is None or math.isfinite(high))):
        raise BadInput(
            f"A clip from {start_s} s to {end_s} s was asked for.", "There is none.", "Use 0 <= start < end."
        )
    return _seconds(low), None if end_s is None else _seconds(high)


class Sound:
    """One sound track of an open container, read once from front to back.

    Args:
        container: the container. path: of its file, for messages. track: one of its sound tracks.
    """

    def __init__(self, container: Any, path: Path, track: Any) -> None:
        self._container = container
        self._path = path
        self._track = track
        self._promise = promise_of(container, track, path)
        self.reading = Reading()
        self._first: Fraction | None = None  # where the sound begins
        self._reached = Fraction(0)  # where it was read to
        self._rate_hz = 0  # of the first frame
        self._rate_changed = False

    def clip(
        self,
        rates_hz: Sequence[int],
        start: Fraction,
        end: Fraction | None,
        packets: Packets,
        aside: Callable[[Any], None] = lambda packet: None,
    ) -> list[Audio | MediaError]:
        """Return the sound of a clip at each rate; packets of other tracks go to `aside`.

        Raises:
            MediaError: if there is no sound in the clip, or less than the container states.
        """
        outs = [Assembly(rate_hz, start) for rate_hz in rates_hz]
        blocks = self._read(decoded_frames(packets, self._track, self.reading, aside))
        steady = without_padding(settle(blocks, self._track.time_base), self._promise.padding_end)
        try:
            for block in cut(self._watched(steady), start, end):
                for out in outs:
                    out.add(block)
        except ClockError as error:
            raise media_error(self._path, str(error), "Convert it anew, for example to WAV.") from error
        if self._first is None:
            raise media_error(self._path, self._silence())
        if broken := self._promise.broken(self.reading, self._reached, end):
            hint = f"Copy or record it again, or end the clip at {float(self._reached):.2f} s at the latest."
            raise media_error(self._path, broken, hint)
        if outs[0].empty:
            raise media_error(self._path, self._elsewhere(start, end), "Check the clip's start and end.")
        return [self._finished(out, rate_hz) for out, rate_hz in zip(outs, rates_hz, strict=True)]

    def _finished(self, out: Assembly, rate_hz: int) -> Audio | MediaError:
        samples, start_s, gaps = out.finish()
        if not len(samples):
            found = f"It has less than one sample of {rate_hz} Hz there."
            return media_error(self._path, found, "Make the clip longer.")
        return Audio(samples, rate_hz, start_s, gaps)

    def _watched(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            self._first = block.start if self._first is None else self._first
            self._reached = block.end
            yield block

    def _silence(self) -> str:
        """Say why there is not a single sample."""
        if not self.reading.failed:
            return "Its sound track holds no samples."
        return f"None of its {self.reading.packets} packets of sound could be decoded: {self.reading.problem}."

    def _elsewhere(self, start: Fraction, end: Fraction | None) -> str:
        """Say where the sound is, if not in the clip."""
        clip = f"the clip is {float(start):g} s to {'the end' if end is None else f'{float(end):g} s'}"
        if self._first is not None and end is not None and self._first >= end:
            return f"Its sound begins at {float(self._first):.3f} s; {clip}."
        if self._reached <= start:
            return f"Its sound ends at {float(self._reached):.3f} s; {clip}."
        return f"It has no sound there; {clip}."

    def _read(self, frames: Iterable[Any]) -> Iterator[Block]:
        """Join frames that follow each other to blocks of about a second, so that exact times cost nothing."""
        origin, tick = presentation_start(self._container), self._track.time_base
        parts: list[np.ndarray] = []
        start, rate_hz, count = Fraction(0), 0, 0
        for frame in frames:
            samples = mix(frame)
            if not np.isfinite(samples).all():
                self.reading.failed += 1
                self.reading.problem = "samples are no numbers"
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
