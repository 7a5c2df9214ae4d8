"""Say what an extraction would take: clips, hours, bytes, and time from one short forward."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..store.recipe import FeatureSpec
from .base import MAX_BLOCK, Extractor, Pictures, Rows
from .errors import MediaError
from .media.audio import Audio
from .media.decode import MediaInfo, probe
from .media.demand import AtRate, EveryFrame, PictureDemand, Slots
from .plan import Plan, Unit
from .report import Estimate, Failed
from .unit import reads_tables

PROBE_S = 5.0  # of noise; long enough that fixed costs do not dominate
PROBE_PICTURES = 64
PROBE_SIZE = (640, 360)  # of pictures whose size depends on the medium
USUAL_RATE_HZ = 25.0  # of picture tracks that state none
ROW_OVERHEAD = 9  # bytes of a row's time and validity


class Survey(NamedTuple):
    """estimate: for what can be read. unreadable: clips whose files cannot be opened, or lack what is wanted."""

    estimate: Estimate
    unreadable: list[Failed]


class _Pace(NamedTuple):
    """What a backbone did with some noise: seconds and rows per second of media, or per clip if `per_clip`."""

    seconds: float
    rows: list[float]
    per_clip: bool


class _Track(NamedTuple):
    """Where a track begins and ends, seconds; frames per second, of pictures."""

    start_s: float
    end_s: float
    rate_hz: float = 0.0


def survey(plan: Plan, extractors: Sequence[Extractor], keep_last_s: float | None = None) -> Survey:
    """Read the headers of all media in the plan, and run each model once on noise.

    Args:
        plan: what there is to do.
        extractors: the loaded backbones.
        keep_last_s: how much of each clip's sound they look at; None: all.
    """
    limit_s = math.inf if keep_last_s is None else keep_last_s
    unreadable: list[Failed] = []
    total_s, rows, size, seconds, keys = 0.0, 0, 0, 0.0, 0
    paces = {one.card.name: _pace(one, min(PROBE_S, limit_s)) for one in extractors if not reads_tables(one)}
    headers: dict[Path, MediaInfo | str] = {}
    for unit in plan.units:
        wanted = unit.feature_sets()
        busy = [one for one in extractors if any(spec.name in wanted for spec in one.specs) and not reads_tables(one)]
        if unit.path not in headers:
            headers[unit.path] = _header(unit.path)
        tracks = _tracks(unit.path, headers[unit.path], busy)
        if isinstance(tracks, str):
            unreadable += [Failed(*key, tracks) for key in unit.wanted]
            continue
        keys += len(unit.wanted)
        lengths = [_clipped(unit, track, limit_s if _hears(one) else math.inf) for one, track in _pairs(busy, tracks)]
        total_s += max(lengths, default=0.0)
        for one, track, length_s in zip(busy, tracks, lengths, strict=True):
            pace = paces[one.card.name]
            seconds += pace.seconds * (1.0 if pace.per_clip else length_s * _density(one, track))
            for spec, per_second in zip(one.specs, pace.rows, strict=True):
                count = _rows(spec, pace, per_second, length_s, one, track)
                count *= sum(spec.name in names for names in unit.wanted.values())
                rows += count
                size += count * (spec.dim * np.dtype(spec.dtype).itemsize + ROW_OVERHEAD)
    # Tables are not looked into: what they hold is quickly read, and little.
    measured = "noise through each model, scaled to the length of the media; decoding not counted"
    return Survey(Estimate(keys, total_s / 3600, rows, size, seconds, measured), unreadable)


def _pairs(extractors: Sequence[Extractor], tracks: Sequence[_Track]) -> list[tuple[Extractor, _Track]]:
    return list(zip(extractors, tracks, strict=True))


def _hears(extractor: Extractor) -> bool:
    return extractor.needs.sound_hz is not None


def _rows(
    spec: FeatureSpec, pace: _Pace, per_second: float, length_s: float, extractor: Extractor, track: _Track
) -> int:
    if spec.timebase is not None:
        return spec.timebase.count(length_s)
    if pace.per_clip or spec.recipe.pooling == "mean":
        return round(pace.rows[0]) if pace.per_clip else 1
    return round(per_second * length_s * _density(extractor, track))


def _density(extractor: Extractor, track: _Track) -> float:
    """How much more a second of this medium holds than a second of the noise: frames, where all are looked at."""
    demand = extractor.needs.pictures
    every = demand is not None and isinstance(demand.sampling, EveryFrame)
    return track.rate_hz / USUAL_RATE_HZ if every else 1.0


def _pace(extractor: Extractor, probe_s: float) -> _Pace:
    """Run a model on noise."""
    demand = extractor.needs.pictures
    length_s = probe_s if demand is None else _length_of_noise(demand)
    taken, made = [], []
    for _ in range(2):  # the first one also sets up the libraries
        started = time.perf_counter()
        made = _on_noise(extractor, length_s)
        taken.append(time.perf_counter() - started)
    per_clip = demand is not None and isinstance(demand.sampling, Slots)
    scale = 1.0 if per_clip else length_s
    return _Pace(min(taken) / scale, [len(rows.times) / scale for rows in made], per_clip)


def _length_of_noise(demand: PictureDemand) -> float:
    sampling = demand.sampling
    if isinstance(sampling, Slots):
        return PROBE_S
    rate = float(sampling.rate_hz) if isinstance(sampling, AtRate) else USUAL_RATE_HZ
    return PROBE_PICTURES / rate


def _on_noise(extractor: Extractor, length_s: float) -> list[Rows]:
    noise = np.random.default_rng(0)
    demand, rate_hz = extractor.needs.pictures, extractor.needs.sound_hz
    if demand is None:
        samples = noise.standard_normal(round(length_s * (rate_hz or 0))).astype(np.float32)
        return extractor.extract(Audio(0.1 * samples, rate_hz or 0, 0.0, ()))
    count = demand.sampling.count if isinstance(demand.sampling, Slots) else PROBE_PICTURES
    width, height = demand.shape.final or PROBE_SIZE
    times = np.arange(count) * (length_s / count)
    work = extractor.begin()
    for first in range(0, count, MAX_BLOCK):
        part = times[first : first + MAX_BLOCK]
        frames = noise.integers(0, 256, (len(part), height, width, 3), np.uint8)
        work.add(Pictures(frames, part, np.ones(len(part), bool)))
    return work.finish()


def _header(path: Path) -> MediaInfo | str:
    try:
        return probe(path)
    except MediaError as error:
        return str(error)


def _tracks(path: Path, info: MediaInfo | str, extractors: Sequence[Extractor]) -> list[_Track] | str:
    """The track that each backbone looks at or listens to, by the header, or why there is none."""
    if isinstance(info, str):
        return info
    tracks = []
    for one in extractors:
        found = [*info.audio] if _hears(one) else [*info.video]
        if not found:
            what, track = ("sound", "sound") if _hears(one) else ("pictures", "picture")
            asked = f"The {what} of `{path}` {'was' if what == 'sound' else 'were'} asked for."
            return str(MediaError(asked, f"It has no {track} track.", "Leave the clip out."))
        start_s = found[0].start_s or 0.0
        length_s = found[0].duration_s if found[0].duration_s is not None else (info.duration_s or 0.0) - start_s
        rate_hz = 0.0 if _hears(one) else (found[0].rate_hz or USUAL_RATE_HZ)
        tracks.append(_Track(start_s, start_s + max(0.0, length_s), rate_hz))
    return tracks


def _clipped(unit: Unit, track: _Track, limit_s: float) -> float:
    """Seconds of a track in the unit's stretch."""
    low = max(track.start_s, unit.start_s or 0.0)
    high = track.end_s if unit.end_s is None else min(track.end_s, unit.end_s)
    return min(max(0.0, high - low), limit_s)
