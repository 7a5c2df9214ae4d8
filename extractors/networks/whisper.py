"""Whisper as a torch module: transformers' network and its own way through long sound, greedy and with time stamps.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022; transformers (Apache-2.0).
Each window has 30 s; the next one begins where the last segment that was finished ends. No temperature fallback, no
conditioning on what was written before: both are transformers' defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from .speech import ATTENTION, import_transformers
from .whisper_shape import FIXED, STEP_S, TRANSFORMERS_NAMES, WINDOW_S, WhisperShape

RATE_HZ = 16000
HOP, FFT = 160, 400  # samples from column to column of the spectrum, and that one depends on
COLUMN_S = HOP / RATE_HZ
PIECE = 3000  # columns that are computed at once
TIED, TIED_TO = "proj_out.weight", "model.decoder.embed_tokens.weight"

WhisperNetwork = Any  # transformers' WhisperForConditionalGeneration


class Segment(NamedTuple):
    """tokens: as written, time stamps included. start_s, end_s: from the start of the sound, as the stamps say; where
    the last stamp is missing, the end of the window."""

    tokens: list[int]
    start_s: float
    end_s: float


def build(shape: WhisperShape, generation: Mapping[str, Any]) -> WhisperNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    Args:
        shape: its measures.
        generation: arguments of transformers' GenerationConfig.

    Raises:
        MissingExtra: if transformers is not installed.
        ValueError, TypeError: if transformers does not want such a generation.
    """
    transformers = import_transformers("Whisper")
    sizes: dict[str, Any] = {theirs: getattr(shape, ours) for ours, theirs in TRANSFORMERS_NAMES.items()}
    ids = {name: generation[name] for name in generation if name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    start = {"decoder_start_token_id": generation["decoder_start_token_id"]}
    config = transformers.WhisperConfig(**sizes, **FIXED, **ids, **start, attn_implementation=ATTENTION)
    with torch.device("meta"):
        network = transformers.WhisperForConditionalGeneration(config)
    network.generation_config = transformers.GenerationConfig(**generation)
    return network.eval().requires_grad_(False)


def shapes(network: WhisperNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that the network needs, by name; the last layer's are the embeddings'."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if name != TIED}


def install(network: WhisperNetwork, tensors: Mapping[str, torch.Tensor], device: str = "cpu") -> None:
    """Give the network its weights: exactly those of `shapes(network)`.

    Raises:
        RuntimeError: if names or shapes differ.
    """
    network.load_state_dict({**tensors, TIED: tensors[TIED_TO]}, strict=True, assign=True)
    network.eval().requires_grad_(False).to(device)


def sinusoids(length: int, dim: int) -> torch.Tensor:
    """Return (length, dim) float32: the encoder's positions, which published files hold as weights."""
    scale = np.log(10000) / (dim // 2 - 1)
    angles = np.arange(length)[:, None] * np.exp(-scale * np.arange(dim // 2))[None]  # (length, dim / 2)
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32))


def transcribe(network: WhisperNetwork, samples: np.ndarray, device: Any = "cpu") -> list[Segment]:
    """Write down what is said.

    Args:
        network: with weights.
        samples: (N,) float32 at 16 kHz.
        device: of the network.

    Returns:
        Segments in order of time. Sound below 30 s is filled up with silence, in which there may be segments, too.
    """
    transformers = import_transformers("Whisper")
    # As transformers' own pipeline: below 30 s one padded window, above it all as it is.
    with torch.autocast("cpu", enabled=False):  # the spectrum is float32, whatever the network's precision
        seen = spectrum(samples, network.config.num_mel_bins)  # (1, mels, columns)
    with _silent(transformers):
        written = network.generate(
            seen.to(device),
            attention_mask=torch.ones(1, seen.shape[-1], dtype=torch.long, device=device),
            return_timestamps=True,
            return_segments=True,
            num_beams=1,
            do_sample=False,
        )
    first_stamp = network.generation_config.no_timestamps_token_id + 1
    return list(_segments(written["segments"][0], first_stamp, seen.shape[-1] * COLUMN_S))


def spectrum(samples: np.ndarray, mels: int) -> torch.Tensor:
    """Return the spectrum of a sound as transformers' pipeline gives it to Whisper.

    Args:
        samples: (N,) float32 at 16 kHz.
        mels: bands.

    Returns:
        (1, mels, 3000) float32 of sound up to 30 s, padded; (1, mels, N // 160) of longer sound, computed in pieces:
        transformers would take 1.5 GB more for an hour.
    """
    transformers = import_transformers("Whisper")
    features = transformers.WhisperFeatureExtractor(feature_size=mels)
    if len(samples) <= WINDOW_S * RATE_HZ:
        padded: torch.Tensor = features(samples, sampling_rate=RATE_HZ, return_tensors="pt").input_features
        return padded
    bank = torch.from_numpy(features.mel_filters.T.astype(np.float32))  # (mels, 201)
    window = torch.hann_window(FFT)
    turned = torch.from_numpy(np.pad(samples, FFT // 2, mode="reflect"))
    logs = torch.empty(mels, len(samples) // HOP)
    for first in range(0, logs.shape[1], PIECE):
        last = min(first + PIECE, logs.shape[1])
        part = turned[first * HOP : (last - 1) * HOP + FFT]
        waves = torch.stft(part, FFT, HOP, window=window, center=False, return_complex=True)  # (201, columns)
        logs[:, first:last] = torch.clamp(bank @ (waves.abs() ** 2), min=1e-10).log10()
    return ((torch.maximum(logs, logs.max() - 8) + 4) / 4)[None]


def _segments(found: list[Mapping[str, Any]], first_stamp: int, length_s: float) -> Iterator[Segment]:
    windows = [id(one["result"]) for one in found]  # what was written in one window is one object
    for one, window in zip(found, windows, strict=True):
        tokens = [int(token) for token in one["tokens"]]
        stamps = [token >= first_stamp for token in tokens]
        start_s, end_s = float(one["start"]), float(one["end"])
        # Where a window has no stamp behind another, transformers takes all of it for one segment, from its beginning
        # to its last stamp. Its pipeline looks at the first stamp, too, and says where there is none at the end.
        if windows.count(window) == 1 and not any(a and b for a, b in pairwise(stamps)):
            if not any(stamps[1:]):
                end_s = min(start_s + WINDOW_S, length_s)
            start_s += (tokens[0] - first_stamp) * STEP_S if any(stamps[:1]) else 0.0
        yield Segment(tokens, start_s, max(start_s, end_s))


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """Keep transformers' remarks about its own arguments from the terminal."""
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
