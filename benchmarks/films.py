"""Films for the benchmarks of extraction: pictures that move, sound at 44.1 kHz, lengths around a mean; all seeded."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FILE_RATE_HZ = 44_100
FPS = 25
WIDTH, HEIGHT = 480, 360
TEXTURES = 16  # pictures that everything is made of


def make_clips(folder: Path, count: int, seconds: float) -> tuple[Path, float]:
    """Write the media and their table; return the table and the total length in seconds.

    Args:
        folder: where to.
        count: of clips.
        seconds: mean length; each is up to 40 % shorter or longer.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (TEXTURES, HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    textures = coarse.repeat(20, axis=1).repeat(20, axis=2)
    lines, total = ["clip_id,path"], 0
    for i in range(count):
        frames = round(seconds * rng.uniform(0.6, 1.4) * FPS)
        _write(folder / f"{i:04d}.mp4", frames, textures, rng)
        lines.append(f"{i:04d},{i:04d}.mp4")
        total += frames
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "clips.csv", total / FPS


def _write(path: Path, frames: int, textures: np.ndarray, rng: np.random.Generator) -> None:
    with av.open(str(path), "w") as film:
        pictures = film.add_stream("mpeg4", rate=FPS)
        pictures.width, pictures.height, pictures.pix_fmt, pictures.bit_rate = WIDTH, HEIGHT, "yuv420p", 1_500_000
        sound = film.add_stream("aac", rate=FILE_RATE_HZ, layout="stereo")
        for i in range(frames):
            moved = np.roll(
                textures[i // FPS % TEXTURES], 4 * i, axis=1
            )  # 4 pixels a frame, another texture each second
            film.mux(pictures.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        samples = (0.1 * rng.standard_normal((2, round(frames / FPS * FILE_RATE_HZ)))).astype("f4")
        block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        block.sample_rate = FILE_RATE_HZ
        film.mux(sound.encode(block))
        film.mux(pictures.encode(None))
        film.mux(sound.encode(None))
