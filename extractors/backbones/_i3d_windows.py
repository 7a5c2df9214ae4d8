"""The way of one clip's pictures through an I3D: windows are cut out of the stream, and only the open ones are kept."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...store.errors import BadInput
from ..base import Pictures, Rows
from ..errors import MediaError
from ..networks import i3d

if TYPE_CHECKING:
    from .i3d import I3dExtractor

# One window fills a CPU; a GPU wants more. Windows of one clip only, counted from its start: whatever else there is,
# the same windows meet.
BATCH = {"cpu": 1}
BATCH_ELSEWHERE = 8
MAX_BYTES = 1 << 30  # of one clip's rows


class I3dWork:
    """Follows the `PictureWork` protocol.

    Args:
        extractor: whose network, windows and layers these are.
    """

    def __init__(self, extractor: I3dExtractor) -> None:
        self._extractor = extractor
        self._device = torch.device(extractor.settings.device)
        self._batch = BATCH.get(self._device.type, BATCH_ELSEWHERE)
        self._seen = 0  # pictures that came
        self._next = 0  # number of the first picture of the next window
        self._open: list[np.ndarray] = []  # the pictures from the next window on, as far as they came
        self._flags: list[bool] = []  # and whether they are real
        self._moments: list[float] = []  # and their times
        self._ready: list[np.ndarray] = []  # whole windows that wait for the network
        self._rows: list[list[np.ndarray]] = [[] for _ in extractor.points]
        self._sums = [np.zeros(spec.dim) for spec in extractor.specs]
        self._times: list[float] = []
        self._valid: list[bool] = []

    def add(self, pictures: Pictures) -> None:
        """Take the next block of pictures; see `PictureWork.add`."""
        side = self._extractor.side
        if pictures.frames.shape[1:] != (side, side, 3):
            raise BadInput(
                f"Pictures of shape {pictures.frames.shape[1:]} were given to {self._extractor.card.name}.",
                f"It wants {side} x {side} pixels of three colours.",
                "Decode what the backbone's `needs` state.",
            )
        for frame, moment, valid in zip(pictures.frames, pictures.times, pictures.valid, strict=True):
            if self._seen >= self._next:  # else it lies between two windows
                self._open.append(frame.copy())  # the block is not ours to keep
                self._flags.append(bool(valid))
                self._moments.append(float(moment))
            self._seen += 1
            if len(self._open) == self._extractor.windows.pictures:
                self._close_window()

    def _close_window(self) -> None:
        """A window is whole: hand it on, and forget what no later one needs."""
        count, stride, _ = self._extractor.windows
        self._ready.append(np.stack(self._open))  # (T, H, W, 3)
        self._times.append(self._centre())
        self._valid.append(all(self._flags))
        step = count if stride is None else stride
        self._next += step
        for kept in (self._open, self._flags, self._moments):
            del kept[:step]
        if len(self._ready) == self._batch:
            self._run()

    def _centre(self) -> float:
        """The middle of the open window; exact where pictures come at a rate."""
        rate = self._extractor.windows.rate_hz
        if rate is None:
            return (self._moments[0] + self._moments[-1]) / 2
        first = round(Fraction(self._moments[0]) * rate)  # number on the clip's grid
        return float((first + Fraction(len(self._open) - 1, 2)) / rate)

    def _run(self) -> None:
        """Put the windows that wait through the network."""
        extractor = self._extractor
        mean = extractor.settings.pooling == "mean"
        first = len(self._valid) - len(self._ready)
        with (
            torch.inference_mode(),
            # Without this, convolutions on CUDA round to 10 bits: `fp32` shall mean it.
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(self._device.type, torch.bfloat16, enabled=extractor.settings.precision == "bf16"),
        ):
            inputs = i3d.as_input(self._ready).to(self._device)  # (B, 3, T, H, W)
            outputs = extractor.network(inputs, extractor.points)
        self._ready.clear()
        for layer, point in enumerate(extractor.points):
            rows = outputs[point].float().flatten(1).cpu().numpy()  # (B, D)
            for number, row in enumerate(rows, start=first):
                if not mean:
                    self._rows[layer].append(row)
                elif self._valid[number]:
                    self._sums[layer] += row  # in float64: no order of summation shows
        self._check_room()

    def _check_room(self) -> None:
        held = sum(rows[0].nbytes * len(rows) for rows in self._rows if rows)
        if held > MAX_BYTES:
            card, reached = self._extractor.card.name, self._times[-1]
            raise MediaError(
                f"Layers {', '.join(self._extractor.settings.layers)} of {card} were asked for over a long clip.",
                f"At {reached:.0f} s they fill {held / 2**30:.1f} GiB, the most that is kept of one clip.",
                "Cut the clip with the columns start and end, take a longer stride or the mean, or fewer layers.",
            )

    def finish(self) -> list[Rows]:
        """Return the rows of each layer; see `PictureWork.finish`."""
        self._check_count()
        if self._ready:
            self._run()
        times, valid = np.array(self._times), np.array(self._valid, bool)
        if self._extractor.settings.pooling != "mean":
            return [Rows(_joined(rows), times, valid) for rows in self._rows]
        seen = times[valid]
        if not len(seen):
            raise MediaError(
                f"The mean of {self._extractor.card.name} over a clip was asked for.",
                "Every window has a picture that is missing in the medium.",
                "Mend the file, or leave the clip out.",
            )
        middle = np.array([(seen[0] + seen[-1]) / 2])
        means = [(total / len(seen)).astype(np.float32)[None] for total in self._sums]
        return [Rows(mean, middle, np.ones(1, bool)) for mean in means]

    def _check_count(self) -> None:
        """Complain if there was no window, or, where there is to be only one, more than that."""
        count, stride, rate = self._extractor.windows
        if self._seen >= count and (stride is not None or self._seen == count):
            return
        span = f" ({float(count / rate):.3f} s at {rate} per second)" if rate is not None else ""
        raise MediaError(
            f"A clip with {self._seen} pictures was to go through {self._extractor.card.name}.",
            f"It looks at {count} together{span}.",
            "Leave the clip out, give it a longer span, or spread pictures over it by the rule even (slots).",
        )


def _joined(rows: list[np.ndarray]) -> np.ndarray:
    """(T, D) float32; takes the rows away from the list as it goes, so that nothing is held twice."""
    values = np.empty((len(rows), len(rows[0])), np.float32)
    for number in range(len(rows)):
        values[number] = rows[number]
        rows[number] = values[number]
    return values
