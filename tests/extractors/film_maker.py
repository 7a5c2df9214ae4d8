"""Films made in the tests: each frame shows its own number as brightness, so that a picture tells which frame it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cuebank.extractors.base import Pictures
from cuebank.extractors.errors import MediaError
from cuebank.extractors.media.clip import decode_clip
from cuebank.extractors.media.demand import EveryFrame, PictureDemand, PictureShape
from cuebank.extractors.media.request import ClipRequest, Tally

WHOLE = PictureShape()
STEP = 5  # grey levels from frame to frame; frame n has level 20 + 5 * (n % 40)


def level(number: int) -> int:
    return 20 + STEP * (number % 40)


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level(number), np.uint8)


def make_film(
    path: Path,
    times: Sequence[Fraction],
    codec: str = "mpeg4",
    tick: Fraction = Fraction(1, 60_000),
    keep: Callable[[int], bool] = lambda number: True,
    change: Callable[[int, bytes], bytes] = lambda number, data: data,
    sound_s: float = 0.0,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    draw: Callable[[int], np.ndarray] = picture,
) -> Path:
    """Write a film. Packets (in the order of the file) for which `keep` is false are left out; others may change."""
    size = draw(0).shape
    with av.open(str(path), "w") as container:
        sound = (
            container.add_stream("pcm_s16le" if path.suffix != ".webm" else "libopus", rate=48000) if sound_s else None
        )
        steps = [after - time for time, after in itertools.pairwise(times)] or [Fraction(1, 25)]
        video = container.add_stream(codec, rate=1 / max(steps))
        video.width, video.height, video.pix_fmt = size[1], size[0], "yuv420p"
        video.codec_context.time_base = tick
        quality = {"qmin": "2", "qmax": "2", "g": "10"} if codec == "mpeg4" else {"g": "10"}
        video.codec_context.options = {**quality, **(options or {})}
        if rotation is not None:
            video.set_display_rotation(rotation)
        if sound is not None:
            sound.layout = "mono"
            for at in range(0, round(sound_s * 48000), 4800):
                tone = (8000 * np.sin(np.arange(at, min(at + 4800, round(sound_s * 48000))) * 0.05)).astype(np.int16)
                block = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
                block.sample_rate, block.time_base, block.pts = 48000, Fraction(1, 48000), at
                container.mux(sound.encode(block))
            container.mux(sound.encode(None))
        packets = []
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.time_base, frame.pts = tick, round(time / tick)
            frame.duration = round((steps[number] if number < len(steps) else steps[-1]) / tick)
            packets += video.encode(frame)
        packets += video.encode(None)
        for number, packet in enumerate(packets):
            if keep(number):
                container.mux(_changed(packet, change(number, bytes(packet))))
    return path


def _changed(packet: Any, data: bytes) -> Any:
    if data == bytes(packet):
        return packet
    other = av.Packet(data)
    other.stream, other.time_base, other.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    return other


class Seen:
    """Keeps what a clip gives; follows `request.Receiver`."""

    def __init__(self, request: ClipRequest) -> None:
        self.blocks: dict[int, list[Pictures]] = {number: [] for number in range(len(request.pictures))}
        self.errors: dict[int, MediaError | None] = {}
        self.sounds: dict[int, Any] = {}
        self.tally: Tally | None = None

    def pictures(self, demand: int, pictures: Pictures) -> None:
        assert 1 <= len(pictures.times) <= 32
        assert pictures.frames.dtype == np.uint8
        assert len(pictures.frames) == len(pictures.times) == len(pictures.valid)
        self.blocks[demand].append(pictures)

    def pictures_end(self, demand: int, error: MediaError | None) -> None:
        assert demand not in self.errors
        self.errors[demand] = error

    def sound(self, number: int, sound: Any) -> None:
        assert number not in self.sounds
        self.sounds[number] = sound

    def alive(self) -> None: ...

    def whole(self, demand: int = 0) -> Pictures:
        return Pictures(*(np.concatenate(parts) for parts in zip(*self.blocks[demand], strict=True)))

    def numbers(self, demand: int = 0) -> list[int | None]:
        """Which frames were seen (modulo 40), by their brightness; None where there is none."""
        frames, _, valid = self.whole(demand)
        levels = frames.reshape(len(frames), -1).mean(1)
        return [round((one - 20) / STEP) if good else None for one, good in zip(levels, valid, strict=True)]


def see(path: Path, *samplings: Any, shape: PictureShape = WHOLE, sounds: Sequence[int] = (), **span: Any) -> Seen:
    """Decode a clip in this process."""
    demands = tuple(PictureDemand(one, shape) for one in (samplings or (EveryFrame(),)))
    request = ClipRequest(path, tuple(sounds), demands, **span)
    seen = Seen(request)
    seen.tally = decode_clip(request, seen)
    assert len(seen.errors) == len(demands)
    assert len(seen.sounds) == len(sounds)
    return seen
