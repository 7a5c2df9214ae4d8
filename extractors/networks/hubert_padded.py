"""Parity only: what SEMPI's audio branch computes from a padded batch, with its defect.

The mean over *padded* frames makes a clip's feature depend on its batch, and the first group norm of base models sees
the zeros. Nothing in extraction uses this; it exists so that published numbers can be reproduced and checked.
Source: SEMPI (engagement baseline) over fairseq's HuBERT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from .speech import SpeechNetwork, normalise


class PaddedBatch(NamedTuple):
    """frames: (B, T, D). padding: (B, T) bool. mean_upstream: (B, D) over all T. mean_masked: over real frames."""

    frames: torch.Tensor
    padding: torch.Tensor
    mean_upstream: torch.Tensor
    mean_masked: torch.Tensor


def frame_padding(sample_padding: torch.Tensor, frames: int) -> torch.Tensor:
    """Return which frames fairseq takes for padding: those whose whole chunk of samples is.

    A chunk is N // T samples, a bit longer than the hop; the last N mod T samples are looked at by nobody.

    Args:
        sample_padding: (B, N) bool.
        frames: T.

    Returns:
        (B, T) bool.
    """
    batch, samples = sample_padding.shape
    chunk = samples // frames
    return sample_padding[:, : chunk * frames].reshape(batch, frames, chunk).all(-1)  # (B, T)


@torch.inference_mode()
def padded_batch(network: SpeechNetwork, waveforms: Sequence[torch.Tensor], normalised: bool) -> PaddedBatch:
    """Run a batch of unequal waveforms, padded with zeros to the longest, as the original does.

    Args:
        network: with weights and all its blocks.
        waveforms: each (N,) float32.
        normalised: whether each waveform is normalised before padding (large models).
    """
    ready = [normalise(waveform) if normalised else waveform for waveform in waveforms]
    inputs = nn.utils.rnn.pad_sequence(ready, batch_first=True)  # (B, N)
    lengths = torch.tensor([len(waveform) for waveform in ready])
    convolved = network.feature_extractor(inputs).transpose(1, 2)  # (B, T, C)
    padding = frame_padding(torch.arange(inputs.shape[1]) >= lengths[:, None], convolved.shape[1])
    projected = network.feature_projection(convolved)  # (B, T, D)
    frames = network.encoder(projected, attention_mask=~padding if padding.any() else None).last_hidden_state
    real = (~padding).unsqueeze(-1).to(frames.dtype)  # (B, T, 1)
    return PaddedBatch(frames, padding, frames.mean(1), (frames * real).sum(1) / real.sum(1))
