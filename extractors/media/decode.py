"""Open media files and read their packets; the only place that does (PyAV, which brings its own FFmpeg).

Only regular local files are read: a path is never taken for a URL, and formats that open further files (playlists,
`concat`, numbered pictures) are not on the list of formats. Times are seconds of the presentation: 0 is what a
player shows as 0. In formats whose clock begins at 0 by definition (mp4, mkv, avi …) that is time stamp 0, so a
sound track that starts late starts late even when it is alone; in formats with an arbitrary clock (mpegts, mp3 with
its encoder delay, ogg …) it is the first time stamp of any stream.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from ..errors import MediaError

if TYPE_CHECKING:
    from .packets import Packets

# One file, one recording. Missing on purpose: hls, dash, concat, sdp, image2, lavfi and all that opens other files.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,apm,asf,asf_o,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,gxf,iff,ircam,ivf,loas,"
    "matroska,webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,rm,rso,sln,"
    "sox,swf,tak,truehd,tta,voc,w64,wav,wsd,wtv,wv,xwma"
)
ARBITRARY_CLOCK = {"aac", "ac3", "dts", "eac3", "loas", "mp3", "mpeg", "mpegts", "ogg", "truehd"}
DEFAULT_TRACK, COVER = 0x1, 0x400  # AV_DISPOSITION_DEFAULT, AV_DISPOSITION_ATTACHED_PIC
MAX_PIXELS = 1 << 26  # 8192 x 8192
DO = "Check that it is a sound or video file and that it was copied completely."


@dataclass(frozen=True)
class AudioStream:
    """A sound track. `index` counts sound tracks only, as `decode_audio(stream=…)` does."""

    index: int
    codec: str
    rate_hz: int
    channels: int
    start_s: float | None
    duration_s: float | None


@dataclass(frozen=True)
class VideoStream:
    """A picture track (covers are none); `rate_hz` is its mean frame rate as the container tells it."""

    index: int
    codec: str
    width: int
    height: int
    rate_hz: float | None
    start_s: float | None
    duration_s: float | None


@dataclass(frozen=True)
class MediaInfo:
    """What a media file says about itself, read without decoding it; None is what it does not say."""

    path: Path
    format: str
    duration_s: float | None
    audio: tuple[AudioStream, ...]
    video: tuple[VideoStream, ...]


@dataclass
class Reading:
    """What happened while a stream was read.

    `farthest` is the end of the last packet of any stream, `failed` counts packets that did not decode, `frames` those
    that came out.
    """

    packets: int = 0
    failed: int = 0
    frames: int = 0
    problem: str = ""
    farthest: Fraction | None = None


def media_error(path: Path, found: str, todo: str = DO) -> MediaError:
    """Return the error about a file: what was found in it, and what to do."""
    return MediaError(f"The media file `{path}` was to be decoded.", found, todo)


@contextmanager
def open_media(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a local media file as a PyAV container and close it afterwards.

    Args:
        path: a regular file; never interpreted as a URL or protocol.

    Raises:
        MediaError: if it is no readable regular file, is empty, or no known format.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links and so change the name in messages
    _check_regular(absolute)
    try:
        # FFmpeg takes what begins with "/" for a file name, whatever colons follow.
        container = av.open(
            str(absolute),
            container_options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise media_error(absolute, f"It cannot be read as sound or video: {reason}.") from error
    try:
        yield container
    finally:
        container.close()


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """Return what a media file says about itself: streams, starts and durations. Nothing is decoded.

    Raises:
        MediaError: if the file cannot be opened.
    """
    with open_media(path) as container:
        origin = presentation_start(container)
        audio = tuple(
            AudioStream(
                index, _codec(stream), stream.codec_context.rate, stream.codec_context.channels, *_span(stream, origin)
            )
            for index, stream in enumerate(container.streams.audio)
            if stream.codec_context is not None
        )
        video = tuple(
            VideoStream(
                index,
                _codec(stream),
                stream.codec_context.width,
                stream.codec_context.height,
                float(stream.average_rate) if stream.average_rate else None,
                *_span(stream, origin),
            )
            for index, stream in enumerate(container.streams.video)
            if stream.codec_context is not None and not _is_cover(stream)
        )
        duration = None if container.duration is None else container.duration / av.time_base
        return MediaInfo(Path(path), container.format.name, duration, audio, video)


def choose_audio(container: Any, path: Path, stream: int | None) -> Any:
    """Return a sound track: the one asked for, else the container's default one, else the first.

    Raises:
        MediaError: if there is none, not that many, or no decoder for it.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        kinds = ", ".join(f"{item.type} ({_codec(item)})" for item in container.streams) or "none"
        raise media_error(
            path, f"It has no sound track; its streams: {kinds}.", "Give a file with sound, or leave the clip out."
        )
    if stream is not None and not 0 <= stream < len(tracks):
        raise media_error(
            path, f"It has {len(tracks)} sound tracks, and number {stream} was asked for.", "Count them from 0."
        )
    default = next((item for item in tracks if item.disposition.value & DEFAULT_TRACK), tracks[0])
    chosen = default if stream is None else tracks[stream]
    if chosen.codec_context is None:
        raise media_error(path, "There is no decoder for its sound track.", "Convert it, for example to WAV or FLAC.")
    return chosen


def choose_video(container: Any, path: Path) -> Any:
    """Return the picture track: the container's default one, else the first; never a cover picture.

    Raises:
        MediaError: if there is none, no decoder for it, or its pictures are larger than any camera's.
    """
    tracks = [item for item in container.streams.video if not _is_cover(item)]
    if not tracks:
        covers = " (a cover picture does not count)" if len(container.streams.video) else ""
        kinds = ", ".join(f"{item.type} ({_codec(item)})" for item in container.streams) or "none"
        raise media_error(
            path,
            f"It has no picture track{covers}; its streams: {kinds}.",
            "Give a file with pictures, or leave the clip out.",
        )
    chosen = next((item for item in tracks if item.disposition.value & DEFAULT_TRACK), tracks[0])
    if chosen.codec_context is None:
        raise media_error(path, "There is no decoder for its picture track.", "Convert it, for example to H.264.")
    check_size(path, chosen.codec_context.width, chosen.codec_context.height)
    return chosen


def check_size(path: Path, width: int, height: int) -> None:
    """Check that pictures are of a size that a camera may have.

    Raises:
        MediaError: if not.
    """
    if width * height > MAX_PIXELS:
        raise media_error(path, f"Its header states pictures of {width}×{height} pixels.")


def decode_packet(codec: Any, packet: Any, reading: Reading) -> list[Any]:
    """Return the frames that a packet completes, corrupt ones too; None takes out what the decoder still holds.

    What cannot be decoded is counted in `reading` and leaves a hole in time.
    """
    reading.packets += packet is not None
    try:
        frames = list(codec.decode(packet))
    except av.error.EOFError:
        return []
    except av.FFmpegError as error:
        reading.failed += packet is not None
        reading.problem = str(error.strerror)
        return []
    reading.frames += len(frames)
    return frames


def decoded_frames(
    packets: Packets, stream: Any, reading: Reading, aside: Callable[[Any], None] = lambda packet: None
) -> Iterator[Any]:
    """Yield the frames of one stream; `aside` gets the packets of all others."""
    stream.codec_context.thread_count = 1
    for packet in packets:
        reading.farthest = packets.farthest
        if packet.stream.index != stream.index:
            aside(packet)
            continue
        yield from (frame for frame in decode_packet(stream.codec_context, packet, reading) if not frame.is_corrupt)
    reading.problem = reading.problem or packets.problem
    yield from (frame for frame in decode_packet(stream.codec_context, None, reading) if not frame.is_corrupt)


def presentation_start(container: Any) -> Fraction:
    """Return the container's time, in seconds, that a player shows as 0."""
    if container.format.name not in ARBITRARY_CLOCK:
        return Fraction(0)
    # Not container.start_time: it is rounded to microseconds, and counts a cover picture as a stream.
    tracks = [*container.streams.audio, *(item for item in container.streams.video if not _is_cover(item))]
    return min(
        (item.start_time * item.time_base for item in tracks if item.start_time is not None), default=Fraction(0)
    )


def states_only_total(container: Any) -> bool:
    """Tell whether the format states the duration of the whole, but not reliably that of each stream."""
    return container.format.name in {"matroska,webm", "flv", "asf"}


def _check_regular(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise media_error(path, "It is a folder.", "Name the file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise media_error(path, "It is no regular file but a pipe or device.", "Save it to a file first.")
        if status.st_size == 0:
            raise media_error(path, "The file is empty (0 bytes).", "Copy or record it again.")
        path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise media_error(path, f"It cannot be opened: {reason}.", "Check the path and the permissions.") from error


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition.value & COVER)


def _codec(stream: Any) -> str:
    return "unknown codec" if stream.codec_context is None else str(stream.codec_context.name)


def _span(stream: Any, origin: Fraction) -> tuple[float | None, float | None]:
    """Start and duration of a stream in seconds, where the container states them."""
    start = None if stream.start_time is None else float(stream.start_time * stream.time_base - origin)
    return start, None if stream.duration is None else float(stream.duration * stream.time_base)
