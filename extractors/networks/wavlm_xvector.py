"""WavLM with an x-vector head: one embedding of the speaker's voice per stretch of sound.

Source: Snyder et al., "X-Vectors", 2018; Chen et al., "WavLM", 2022; transformers (Apache-2.0). The hidden states
(one, or a learned average of all) go through a linear layer, five dilated convolutions in time with ReLU, mean and
unbiased deviation over time, and a linear layer. The classifier behind it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from . import speech
from .speech_shape import SpeechShape

XVectorNetwork = Any  # transformers' WavLMForXVector without its classifier
BODY = "wavlm."  # what the names of the speech network's tensors begin with


@dataclass(frozen=True)
class XVectorShape:
    """Sizes of an x-vector network; the defaults are those of the published base models.

    Args:
        speech: of the WavLM below the head.
        tdnn_dims, tdnn_kernels, tdnn_dilations: of the convolutions in time.
        dim: width of the embedding.
        weighted: whether all hidden states are averaged with learned weights; else the last one is taken.
    """

    speech: SpeechShape = field(default_factory=lambda: SpeechShape(kind="wavlm"))
    tdnn_dims: tuple[int, ...] = (512, 512, 512, 512, 1500)
    tdnn_kernels: tuple[int, ...] = (5, 3, 3, 1, 1)
    tdnn_dilations: tuple[int, ...] = (1, 2, 3, 1, 1)
    dim: int = 512
    weighted: bool = True

    @property
    def rows(self) -> int:
        """Rows of the speech network that one embedding needs at least: the deviation takes two behind the last."""
        return 2 + sum((k - 1) * d for k, d in zip(self.tdnn_kernels, self.tdnn_dilations, strict=True))


def build(shape: XVectorShape) -> XVectorNetwork:
    """Return a network without weights: its tensors have names and shapes, and no memory.

    Raises:
        MissingExtra: if transformers is not installed.
    """
    transformers = speech.import_transformers("WavLM")
    config = transformers.WavLMConfig(
        **speech.configuration(shape.speech),
        tdnn_dim=list(shape.tdnn_dims),
        tdnn_kernel=list(shape.tdnn_kernels),
        tdnn_dilation=list(shape.tdnn_dilations),
        xvector_output_dim=shape.dim,
        use_weighted_layer_sum=shape.weighted,
    )
    with torch.device("meta"):
        network = transformers.WavLMForXVector(config)
    del network.classifier, network.objective
    speech.prepared(network.wavlm)
    return network.eval().requires_grad_(False)


def embed(network: XVectorNetwork, waveforms: torch.Tensor) -> torch.Tensor:
    """Return the embedding of each of several stretches of sound of one length.

    Args:
        network: with weights.
        waveforms: (B, N) float32 at 16 kHz, already normalised where the model wants it.

    Returns:
        (B, E).
    """
    body = network.wavlm
    if network.config.use_weighted_layer_sum:
        # transformers counts the model's own output as the last hidden state, behind the norm of large models.
        layers = [*range(len(body.encoder.layers)), None]
        states = torch.stack(speech.hidden(body, waveforms, layers), dim=1)  # (B, L + 1, T, D)
        weights = network.layer_weights.softmax(-1)  # (L + 1,)
        rows = (states * weights[:, None, None]).sum(1)  # (B, T, D)
    else:
        (rows,) = speech.hidden(body, waveforms, [None])  # (B, T, D)
    rows = network.projector(rows)
    for layer in network.tdnn:
        rows = layer(rows)
    rows = rows.float()  # under autocast, sums over time shall not be rounded to 8 bits
    return network.feature_extractor(torch.cat([rows.mean(1), rows.std(1)], dim=-1))  # (B, E)
