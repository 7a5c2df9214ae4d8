"""Small media made on the spot, and tables of them."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable


@pytest.fixture
def make_wav(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes seeded noise as a mono 16-bit WAV of 16 kHz."""

    def make(name: str, seconds: float, seed: int = 0) -> Path:
        path = tmp_path / "media" / name
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(seed).standard_normal(round(seconds * 16000))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((3000 * noise).astype("<i2").tobytes())
        return path

    return make


@pytest.fixture
def make_clips(make_wav: Callable[..., Path]) -> Callable[..., ClipsTable]:
    """Return a function that makes a table of `count` clips of different lengths, each with its own noise."""

    def make(count: int, seconds: float = 0.5) -> ClipsTable:
        lengths = [seconds * (1 + 0.13 * (i % 7)) for i in range(count)]
        return ClipsTable(
            Clip(f"clip {i:03d}", make_wav(f"{i:03d}.wav", length, seed=i)) for i, length in enumerate(lengths)
        )

    return make
