"""Small media made on the spot, and tables of them."""

from __future__ import annotations

import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import Clip, ClipsTable

sys.path.append(str(Path(__file__).parent))  # for `film_maker`


@pytest.fixture(autouse=True, scope="module")
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute tiny networks on one thread: more only wait for each other, for long if the machine is busy."""
    if request.path.parent.name == "media":  # needs no torch
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def write_wav() -> Callable[..., Path]:
    """Return a function that writes seeded noise as a mono 16-bit WAV of 16 kHz into a folder."""

    def write(path: Path, seconds: float, seed: int = 0) -> Path:
        noise = np.random.default_rng(seed).standard_normal(round(seconds * 16000))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((3000 * noise).astype("<i2").tobytes())
        return path

    return write


@pytest.fixture
def make_wav(write_wav: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a WAV of noise by name and length into a folder of the test."""
    (tmp_path / "media").mkdir()
    return lambda name, seconds, seed=0: write_wav(tmp_path / "media" / name, seconds, seed)


@pytest.fixture
def make_clips(make_wav: Callable[..., Path]) -> Callable[..., ClipsTable]:
    """Return a function that makes a table of `count` clips of different lengths, each with its own noise."""

    def make(count: int, seconds: float = 0.5) -> ClipsTable:
        lengths = [seconds * (1 + 0.13 * (i % 7)) for i in range(count)]
        return ClipsTable(
            Clip(f"clip {i:03d}", make_wav(f"{i:03d}.wav", length, seed=i)) for i, length in enumerate(lengths)
        )

    return make
