"""What all backbones over the waveform do alike: which samples they look at, holes, means, and what is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.errors import BadInput
from ..base import Card, ExtractorSettings, Rows
from ..errors import MediaError
from ._circumstances import circumstances
from ._speech_cards import RATE_HZ

if TYPE_CHECKING:
    from ..media.audio import Audio


def kept_samples(settings: ExtractorSettings) -> int | None:
    """Return how many of the last samples are looked at; None: all."""
    keep = settings.keep_last_s
    return None if keep is None else max(1, round(keep * RATE_HZ))


def first_steps(settings: ExtractorSettings) -> list[dict[str, Any]]:
    """Return the steps of a recipe before the network's own."""
    steps: list[dict[str, Any]] = [{"step": "decode-mono", "rate_hz": RATE_HZ}]
    keep = kept_samples(settings)
    return steps if keep is None else [*steps, {"step": "keep-last", "samples": keep}]


def looked_at(audio: Audio, card: Card, settings: ExtractorSettings, least: int) -> tuple[np.ndarray, float]:
    """Return the samples to look at, and the time of the first in seconds.

    Args:
        audio: the clip's sound.
        card, settings: of the backbone.
        least: samples that one row needs.

    Raises:
        BadInput: for sound at another rate.
        MediaError: if there are fewer samples than one row needs.
    """
    if audio.rate_hz != RATE_HZ:
        raise BadInput(
            f"Sound at {audio.rate_hz} Hz was given to {card.name}.",
            f"It was trained at {RATE_HZ} Hz.",
            f"Decode at {RATE_HZ} Hz.",
        )
    keep = kept_samples(settings)
    dropped = 0 if keep is None else max(0, len(audio.samples) - keep)
    samples, start_s = audio.samples[dropped:], audio.start_s + dropped / RATE_HZ
    if len(samples) < least:
        raise MediaError(
            f"Sound of {len(samples)} samples ({len(samples) / RATE_HZ:.3f} s) was to go through {card.name}.",
            f"One row needs {least} samples ({least / RATE_HZ} s).",
            "Leave the clip out, or give it a longer span.",
        )
    return samples, start_s


def own_copy(samples: np.ndarray) -> Any:
    """Return samples as a float32 tensor in torch's own memory: results can depend on how the input is aligned."""
    import torch

    waveform = torch.empty(samples.shape, dtype=torch.float32)
    waveform.copy_(torch.from_numpy(np.array(samples, np.float32)))
    return waveform


@contextmanager
def inference(settings: ExtractorSettings) -> Iterator[Any]:
    """Compute without gradients, in the precision asked for; gives the torch device."""
    import torch

    device = torch.device(settings.device)
    with (
        torch.inference_mode(),
        # Without this, convolutions on CUDA round to 10 bits: `fp32` shall mean it.
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"),
    ):
        yield device


def free_of(gaps: Sequence[tuple[float, float]], starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return (T,) bool: which rows' supports, from `starts` to `stops` in seconds, touch no gap."""
    valid = np.ones(len(starts), bool)
    for start_s, stop_s in gaps:
        valid &= (stops <= start_s) | (starts >= stop_s)
    return valid


def mean_rows(card: Card, values: np.ndarray, valid: np.ndarray, middle_s: float) -> Rows:
    """Return the mean over the valid rows of a clip as its only row.

    Args:
        card: of the backbone.
        values: (T, D). valid: (T,) bool.
        middle_s: time of the result.

    Raises:
        MediaError: if no row is valid.
    """
    if not valid.any():
        raise MediaError(
            f"The mean of {card.name} over a clip was asked for.",
            "Every row touches a hole in the sound.",
            "Mend the file, or leave the clip out.",
        )
    # Summed in float64: the result then depends on no summation order.
    mean = values[valid].mean(0, keepdims=True, dtype=np.float64).astype(np.float32)
    return Rows(mean, np.array([middle_s]), np.ones(1, bool))


def speech_circumstances(device: str) -> dict[str, Any]:
    """Return what is recorded of a computation by transformers' layers without defining it."""
    from ..networks.speech import ATTENTION

    return {**circumstances("torch", "transformers", "av", "numpy", device=device), "attention": ATTENTION}
