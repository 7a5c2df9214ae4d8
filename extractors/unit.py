"""The unit of work: one stretch of decoded media through every backbone that wants it. A pure function of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..store.recipe import FeatureSpec
from .base import Extractor, Rows
from .errors import MediaError

if TYPE_CHECKING:
    from .media.audio import Audio

# Half-way to the number after the largest float16: from here on, rounding gives infinity.
FLOAT16_OVERFLOWS = 65520.0

Outcome = Rows | str  # rows, or the reason why there are none


def process(
    extractors: Sequence[Extractor], sounds: Mapping[int, Audio | MediaError], wanted: set[str]
) -> dict[str, Outcome]:
    """Return the rows of each wanted feature set, or the reason why it has none.

    Args:
        extractors: the loaded backbones.
        sounds: the decoded stretch at each rate that they want, or why it could not be decoded.
        wanted: names of feature sets.
    """
    outcomes: dict[str, Outcome] = {}
    for extractor in extractors:
        chosen = [i for i, spec in enumerate(extractor.specs) if spec.name in wanted]
        if not chosen:
            continue
        made = _rows(extractor, sounds[extractor.needs.sound_hz])
        for i in chosen:
            spec = extractor.specs[i]
            outcomes[spec.name] = made if isinstance(made, str) else _storable(spec, made[i])
    return outcomes


def _rows(extractor: Extractor, sound: Audio | MediaError) -> list[Rows] | str:
    if isinstance(sound, MediaError):
        return str(sound)
    try:
        return extractor.extract(sound)
    except MediaError as error:
        return str(error)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise  # a defect, or a broken device: no clip's fault
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return (
            f"The clip ({sound.duration_s:.1f} s) was to go through {extractor.card.name}. "
            f"The computation failed: {said[:300]} Give it more memory, or cut the clip with the columns start and end."
        )


def _out_of_memory(error: Exception) -> bool:
    """Whether this is torch's (or Python's) way to say that a clip does not fit into memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said


def _storable(spec: FeatureSpec, rows: Rows) -> Outcome:
    """The rows, or why the store cannot hold them."""
    asked = f"`{spec.name}` was computed."
    values = rows.values[rows.valid]
    # The largest is NaN or infinite if any value is.
    largest = float(np.abs(values).max()) if values.size else 0.0
    if not np.isfinite(largest):
        remedy = "Compute with --precision fp32" if spec.recipe.precision == "bf16" else "Check the weights"
        return f"{asked} The network gave NaN or infinity. {remedy}, and the sound of this clip."
    if spec.dtype == "float16" and largest >= FLOAT16_OVERFLOWS:
        return f"{asked} Values up to {largest:.6g} do not fit into float16. Store them with --dtype float32."
    return rows
