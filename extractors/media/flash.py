"""A made-up clip with one known event: a flash in the pictures and a click in the sound at the same moment.

Used to check that features come at the right times, whatever the frame rate: only what looks at the event changes when
it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 64
SOUND_HZ = 48_000
CLICK_S = 0.002
FLASH_S = Fraction(1, 5)  # longer than a step of any usual grid, so that every grid sees it
TICK = Fraction(1, 60_000)  # of the picture track; steps of all usual rates are whole ticks, or half a tick off


def steady(rate_hz: Fraction, seconds: float) -> list[Fraction]:
    """Return the times of frames at a rate, from 0."""
    return [number / rate_hz for number in range(int(seconds * rate_hz))]


def uneven(seconds: float, seed: int = 0) -> list[Fraction]:
    """Return the times of frames at a variable rate, from 0: steps of 8 to 80 ms."""
    steps = np.random.default_rng(seed).integers(8, 81, int(seconds * 125))
    times = np.concatenate([[0], np.cumsum(steps)])
    return [Fraction(int(time), 1000) for time in times if time < 1000 * seconds]


def make_flash_and_click(
    path: Path, times: Sequence[Fraction], seconds: float, event_s: Fraction | None
) -> tuple[float, float] | None:
    """Write a clip (QuickTime: MPEG-4 pictures, PCM sound).

    Args:
        path: of the file, `.mov`.
        times: when each frame is shown, seconds, rising from 0.
        seconds: length of the sound.
        event_s: middle of the event; None: nothing happens.

    Returns:
        When the flash begins and ends, by the time stamps of the frames; None without an event.
    """
    bright = [event_s is not None and abs(time - event_s) <= FLASH_S / 2 for time in times]
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=SOUND_HZ, layout="mono")
        video = container.add_stream("mpeg4", rate=30)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = TICK
        video.codec_context.options = {"qmin": "2", "qmax": "2", "g": "12"}
        _write_sound(container, sound, seconds, event_s)
        rng = np.random.default_rng(7)
        scene = rng.integers(60, 120, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        for time, lit in zip(times, bright, strict=True):
            frame = av.VideoFrame.from_ndarray(scene + np.uint8(120 if lit else 0), format="rgb24")
            frame.time_base, frame.pts = TICK, round(time / TICK)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    numbers = [number for number, flag in enumerate(bright) if flag]
    if not numbers:
        return None
    after = numbers[-1] + 1
    return float(times[numbers[0]]), float(times[after] if after < len(times) else times[-1])


def _write_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, seconds: float, event_s: Fraction | None
) -> None:
    """Noise, with a louder click of `CLICK_S` around the event."""
    count = round(seconds * SOUND_HZ)
    samples = 0.05 * np.random.default_rng(3).standard_normal(count)
    if event_s is not None:
        first, length = round((event_s - Fraction(CLICK_S) / 2) * SOUND_HZ), round(CLICK_S * SOUND_HZ)
        samples[first : first + length] += 0.5 * np.random.default_rng(5).choice([-1.0, 1.0], length)
    whole = np.clip(samples * 32767, -32768, 32767).astype(np.int16)
    for at in range(0, count, SOUND_HZ // 10):
        block = av.AudioFrame.from_ndarray(whole[None, at : at + SOUND_HZ // 10], format="s16", layout="mono")
        block.sample_rate, block.time_base, block.pts = SOUND_HZ, Fraction(1, SOUND_HZ), at
        container.mux(stream.encode(block))
    container.mux(stream.encode(None))
