"""A drawn head that nods, sways, looks around and opens its mouth: just enough picture for a demo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 160, 120  # pixels; even, as yuv420p needs


@dataclass(frozen=True)
class Moving:
    """How somebody moves in a clip.

    Args:
        nod_hz, nod: rate and size (pixels) of head nods.
        sway: size of slow sideways movement, pixels.
        gaze: how much the eyes wander, pixels.
        skin, wall: colours (red, green, blue), 0 to 255.
    """

    nod_hz: float
    nod: float
    sway: float
    gaze: float
    skin: tuple[int, int, int]
    wall: tuple[int, int, int]


def draw(moving: Moving, mouth: np.ndarray, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the frames of a clip.

    Args:
        moving: how the head moves.
        mouth: (T,) opening of the mouth in each frame, 0 to 1.
        rate_hz: frames per second.
        rng: where the phases of the movements come from.

    Returns:
        (T, HEIGHT, WIDTH, 3) uint8, red, green, blue.
    """
    t = np.arange(len(mouth)) / rate_hz
    phases = rng.uniform(0, 2 * np.pi, 4)
    # Nods come in bursts: their size itself swings slowly.
    burst = 0.5 + 0.5 * np.sin(2 * np.pi * 0.4 * t + phases[0])
    down = moving.nod * burst * np.sin(2 * np.pi * moving.nod_hz * t + phases[1])
    side = moving.sway * np.sin(2 * np.pi * 0.3 * t + phases[2])
    look = moving.gaze * np.sign(np.sin(2 * np.pi * 0.7 * t + phases[3]))
    return np.stack([_frame(moving, *pose) for pose in zip(down, side, look, mouth, strict=True)])


def _frame(moving: Moving, down: float, side: float, look: float, mouth: float) -> np.ndarray:
    """Draw one frame (HEIGHT, WIDTH, 3)."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = moving.wall
    cx, cy = WIDTH / 2 + side, HEIGHT / 2 + down

    def ellipse(dx: float, dy: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        picture[((x - cx - dx) / rx) ** 2 + ((y - cy - dy) / ry) ** 2 <= 1] = colour

    ellipse(0, 70, 60, 34, (60, 70, 110))  # shoulders
    ellipse(0, -6, 31, 40, (70, 50, 40))  # hair
    ellipse(0, 0, 28, 37, moving.skin)
    for eye in (-11.0, 11.0):
        ellipse(eye, -9, 6, 4, (245, 245, 245))
        ellipse(eye + look, -9, 2.5, 2.5, (30, 30, 30))
    ellipse(0, 18, 10, 1.5 + 8 * mouth, (120, 30, 40))
    return picture
