"""Change the sample rate of one contiguous run of sound, with libswresample through PyAV.

The output is aligned with the input (sample i stands for time i / rate after the run's first sample, no delay) and
does not depend on how the input was cut into packets: the filter is always fed blocks of the same size.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

BLOCK = 1 << 15
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000  # outside this range a header is broken


class RunResampler:
    """Resample one run; equal rates pass through untouched, bit for bit.

    Args:
        source_hz, target_hz: sample rates.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self._source_hz = source_hz
        self._target_hz = target_hz
        self._same = source_hz == target_hz
        self._filter = None if self._same else av.AudioResampler(format="fltp", layout="mono", rate=target_hz)
        self._waiting: list[np.ndarray] = []
        self._waiting_count = 0
        self._fed = 0

    def push(self, samples: np.ndarray) -> list[np.ndarray]:
        """Take samples (n,) float32; return what is ready of the output, as arrays (m,) float32."""
        if self._same:
            return [samples]
        self._waiting.append(samples)
        self._waiting_count += len(samples)
        if self._waiting_count < BLOCK:
            return []
        joined = np.concatenate(self._waiting)
        whole = len(joined) // BLOCK * BLOCK
        self._waiting, self._waiting_count = [joined[whole:]], len(joined) - whole
        return [part for at in range(0, whole, BLOCK) for part in self._feed(joined[at : at + BLOCK])]

    def finish(self) -> list[np.ndarray]:
        """Return the rest of the output.

        It is a little longer than the input: silence is fed behind it, so that even a run of one sample gets through
        the filter. The caller knows how many samples of the target rate the run stands for, and cuts there.
        """
        if self._filter is None:
            return []
        reach = 64 * max(1, -(-self._source_hz // self._target_hz))  # twice the length of the filter
        rest = np.concatenate([*self._waiting, np.zeros(reach, np.float32)])
        self._waiting, self._waiting_count = [], 0
        return [*self._feed(rest), *(_mono(frame) for frame in self._filter.resample(None))]

    def _feed(self, samples: np.ndarray) -> list[np.ndarray]:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = self._source_hz
        frame.time_base = Fraction(1, self._source_hz)
        frame.pts = self._fed
        self._fed += len(samples)
        return [_mono(out) for out in self._filter.resample(frame)]  # type: ignore[union-attr]


def _mono(frame: av.AudioFrame) -> np.ndarray:
    """Return the samples of a mono float frame as its own array (m,) float32."""
    return frame.to_ndarray()[0].astype(np.float32)
