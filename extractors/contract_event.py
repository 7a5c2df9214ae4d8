"""When do the rows of a backbone say that a known event was? Through the real decoder, for the contract."""

from __future__ import annotations

import tempfile
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..store.keys import Key
from .base import Extractor, Rows
from .media.flash import make_flash_and_click, steady, uneven
from .media.isolation import DecodePool
from .plan import Unit
from .unit import process, reads_tables, request_of

EVENT_S, CLIP_S = Fraction(2), 4.0
STRONG = 0.5  # rows that change at least this much of the most changed one are those that see the event


class Told(NamedTuple):
    """due: when the event was. found: what the rows say, None if nothing. tolerance_s: half a row's step or support."""

    due: float
    found: float | None
    tolerance_s: float


def event_error(extractor: Extractor, rate: str) -> Told | None:
    """Show a backbone a clip with and without the event; None if it has no clock of its own.

    Args:
        extractor: the backbone; its first feature set counts.
        rate: of frames, as text of a fraction, or `variable`.
    """
    timebase = extractor.specs[0].timebase
    if timebase is None or reads_tables(extractor):
        return None
    times = uneven(CLIP_S) if rate == "variable" else steady(Fraction(rate), CLIP_S)
    with tempfile.TemporaryDirectory(prefix="cuebank") as folder:
        with_it, without = Path(folder, "with.mov"), Path(folder, "without.mov")
        span = make_flash_and_click(with_it, times, CLIP_S, EVENT_S)
        make_flash_and_click(without, times, CLIP_S, None)
        rows, plain = rows_of(extractor, with_it), rows_of(extractor, without)
    due = float(EVENT_S)
    if span is not None and extractor.needs.pictures is not None:
        due = (span[0] + span[1]) / 2
    tolerance_s = float(max(1 / timebase.rate_hz, timebase.window_s)) / 2
    if rows.values.shape != plain.values.shape:
        return Told(due, None, tolerance_s)
    change = np.linalg.norm(rows.values - plain.values, axis=1)
    if not change.max() > 0:
        return Told(due, None, tolerance_s)
    seen = rows.times[change >= STRONG * change.max()]
    return Told(due, float(seen[0] + seen[-1]) / 2, tolerance_s)


def rows_of(extractor: Extractor, path: Path) -> Rows:
    """Decode a file and send it through a backbone, in this process; return the rows of its first feature set.

    Raises:
        MediaError: if the file, or what it shows, does not suit the backbone.
    """
    from .errors import MediaError

    name = extractor.specs[0].name
    unit = Unit(path, None, None, {Key("clip"): (name,)})
    request = request_of(unit, [extractor])
    with DecodePool(0) as pool, closing(pool.clips([request])) as streams:
        outcome = process([extractor], request, next(streams), {name}).outcomes[name]
    if isinstance(outcome, str):
        raise MediaError(f"`{path.name}` was sent through {extractor.card.name}.", outcome, "See the reason.")
    return outcome
