"""Media made in the tests: known sounds, encoded with PyAV."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

STRICT = {"strict": "experimental"}  # FFmpeg's own Vorbis encoder


def make_sound(rate_hz: int, seconds: float, seed: int = 0) -> np.ndarray:
    """A chirp in noise (N,) float32: its correlation with itself has one sharp peak."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    noise = np.random.default_rng(seed).normal(0, 0.05, len(t))
    return (0.3 * np.sin(2 * np.pi * (200 * t + 300 * t * t)) + noise).astype(np.float32)


def make_packets(stream: Any, samples: np.ndarray, rate_hz: int, layout: str, start: int = 0) -> list[Any]:
    """Encode samples (N,) or (C, N) float32 in blocks; `start` is the first time stamp in samples."""
    channels = stream.layout.nb_channels
    wide = np.ascontiguousarray(np.broadcast_to(np.atleast_2d(samples), (channels, samples.shape[-1])))
    converter = av.AudioResampler(format=stream.codec_context.codec.audio_formats[0].name, layout=layout, rate=rate_hz)
    packets = []
    for at in range(0, wide.shape[1], 1000):
        block = np.ascontiguousarray(wide[:, at : at + 1000].T).reshape(1, -1)  # planar ends at 8 channels in PyAV
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), start + at
        for converted in converter.resample(frame):
            packets += stream.encode(converted)
    return packets + stream.encode(None)


def encode_file(
    path: Path,
    samples: np.ndarray,
    rate_hz: int,
    codec: str,
    layout: str = "mono",
    options: dict[str, str] | None = None,
    start: int = 0,
    keep: Callable[[int], bool] = lambda number: True,
) -> Path:
    """Write a file with one sound track; packets for which `keep(number)` is false are left out."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.codec_context.options = {**STRICT, **(options or {})}
        for number, packet in enumerate(make_packets(stream, samples, rate_hz, layout, start)):
            if keep(number):
                container.mux(packet)
    return path


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 16000) -> Path:
    """Write int16 samples (N,) or (N, C) with the standard library."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def find_lag(decoded: np.ndarray, original: np.ndarray) -> int:
    """By how many samples `decoded` comes later than `original`, by cross correlation."""
    size = 2 * max(len(decoded), len(original))
    spectrum = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(original, size))
    best = int(np.argmax(np.fft.irfft(spectrum, size)))
    return best - size if best > size // 2 else best


@pytest.fixture(scope="session")
def sound() -> Callable[..., np.ndarray]:
    """`sound(rate_hz, seconds, seed=0)`."""
    return make_sound


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    """`encode(path, samples, rate_hz, codec, …)`."""
    return encode_file


@pytest.fixture(scope="session")
def wav() -> Callable[..., Path]:
    """`wav(path, int16 samples, rate_hz=16000)`."""
    return write_wav


@pytest.fixture(scope="session")
def packets() -> Callable[..., list[Any]]:
    """`packets(stream, samples, rate_hz, layout, start=0)`."""
    return make_packets


@pytest.fixture(scope="session")
def lag() -> Callable[[np.ndarray, np.ndarray], int]:
    """`lag(decoded, original)` in samples."""
    return find_lag
