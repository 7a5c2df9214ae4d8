"""Say what an extraction would take: clips, hours, bytes, and time from one short forward."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .base import Extractor
from .errors import MediaError
from .media.audio import Audio
from .media.decode import probe
from .plan import Plan, Unit
from .report import Estimate, Failed

PROBE_S = 5.0  # of noise; long enough that fixed costs do not dominate
ROW_OVERHEAD = 9  # bytes of a row's time and validity


class Survey(NamedTuple):
    """estimate: for what can be read. unreadable: clips whose files cannot be opened, or have no sound."""

    estimate: Estimate
    unreadable: list[Failed]


def survey(plan: Plan, extractors: Sequence[Extractor], keep_last_s: float | None = None) -> Survey:
    """Read the headers of all media in the plan, and run each model once on noise.

    Args:
        plan: what there is to do.
        extractors: the loaded backbones.
        keep_last_s: how much of each clip they look at; None: all.
    """
    limit_s = math.inf if keep_last_s is None else keep_last_s
    probe_s = min(PROBE_S, limit_s)
    unreadable: list[Failed] = []
    total_s, rows, size, seconds, keys = 0.0, 0, 0, 0.0, 0
    pace = {extractor.card.name: _seconds_per_second(extractor, probe_s) for extractor in extractors}
    lengths: dict[Path, tuple[float, float] | str] = {}
    for unit in plan.units:
        if unit.path not in lengths:
            lengths[unit.path] = _length(unit.path)
        found = lengths[unit.path]
        if isinstance(found, str):
            unreadable += [Failed(*key, found) for key in unit.wanted]
            continue
        length_s = min(_clipped(unit, *found), limit_s)
        keys += len(unit.wanted)
        total_s += length_s
        for extractor in extractors:
            wanted = [spec for spec in extractor.specs if spec.name in unit.feature_sets()]
            seconds += length_s * pace[extractor.card.name] if wanted else 0.0
            for spec in wanted:
                count = 1 if spec.timebase is None else spec.timebase.count(length_s)
                count *= sum(spec.name in names for names in unit.wanted.values())
                rows += count
                size += count * (spec.dim * np.dtype(spec.dtype).itemsize + ROW_OVERHEAD)
    measured = f"{probe_s:g} s of noise through the model, scaled to the length of the media; decoding not counted"
    return Survey(Estimate(keys, total_s / 3600, rows, size, seconds, measured), unreadable)


def _seconds_per_second(extractor: Extractor, probe_s: float) -> float:
    """Seconds that a model takes for one second of media."""
    noise = np.random.default_rng(0).standard_normal(round(probe_s * extractor.needs.sound_hz)).astype(np.float32)
    audio = Audio(0.1 * noise, extractor.needs.sound_hz, 0.0, ())
    taken = []
    for _ in range(2):  # the first one also sets up the libraries
        started = time.perf_counter()
        extractor.extract(audio)
        taken.append(time.perf_counter() - started)
    return min(taken) / probe_s


def _length(path: Path) -> tuple[float, float] | str:
    """Start and end of a file's first sound track by its header, or why there is none."""
    try:
        info = probe(path)
    except MediaError as error:
        return str(error)
    if not info.audio:
        return str(MediaError(f"The sound of `{path}` was asked for.", "It has no sound track.", "Leave the clip out."))
    track = info.audio[0]
    start_s = track.start_s or 0.0
    length_s = track.duration_s if track.duration_s is not None else (info.duration_s or 0.0) - start_s
    return start_s, start_s + max(0.0, length_s)


def _clipped(unit: Unit, start_s: float, end_s: float) -> float:
    """Seconds of sound in the unit's stretch."""
    low = max(start_s, unit.start_s or 0.0)
    high = end_s if unit.end_s is None else min(end_s, unit.end_s)
    return max(0.0, high - low)
