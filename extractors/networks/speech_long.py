"""Hidden states of long sound in windows, as near to one forward over all of it as memory allows.

The convolutions see 25 ms, so their rows are those of the whole sound, computed in pieces that lie at fixed places: the
first group norm (base models) and the normalisation of the waveform (large ones) use the moments of all samples. The
blocks then see windows of rows with context on both sides, which is left out of the result; their attention sees no
further.

Measured against one forward over 60 to 100 s, with tiny networks of all kinds and random weights, in units of the
outputs' deviation over time. Rows of the convolutions: at most 5e-6. First block: for steady noise on average 0.01 and
at most 0.09, for noise that grows tenfold in loudness 0.034 and 0.22. Last block: 0.02 and 0.13; 0.06 and 0.4. (Random
attention looks at everything alike, so that it notices most what a window leaves out.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .speech import SpeechNetwork, encoded
from .speech_shape import SpeechShape

MOMENT_SAMPLES = 1_600_000  # summed at once; in float64, which no order of summing and no loud offset harms


@dataclass(frozen=True)
class Windows:
    """How long sound is cut, in seconds; all multiples of the context.

    Args:
        whole_s: up to here there is one forward, without windows.
        window_s: from one window to the next.
        context_s: what a window sees besides, before and after.
    """

    whole_s: int = 60
    window_s: int = 30
    context_s: int = 5


class Moments(NamedTuple):
    """Of a waveform (or of each channel of its first convolution): mean, and biased variance; float64."""

    mean: torch.Tensor
    variance: torch.Tensor


def hidden_in_windows(
    network: SpeechNetwork,
    shape: SpeechShape,
    samples: np.ndarray,
    layers: Sequence[int | None],
    *,
    rate_hz: int,
    windows: Windows,
    normalise_eps: float | None,
    device: torch.device,
) -> list[np.ndarray]:
    """Return the outputs of several layers for long sound.

    Args:
        network: with weights, on `device`.
        shape: its measures.
        samples: (N,) float32, at least one row's support.
        layers: as for `speech.hidden`.
        rate_hz: samples per second.
        windows: how it is cut.
        normalise_eps: added to the variance by which the waveform is normalised; None: it is taken as it is.
        device: where to compute.

    Returns:
        One (T, D) float32 array per entry of `layers`, T = (N - 400) // 320 + 1.
    """
    rows = (len(samples) - shape.support) // shape.hop + 1
    piece = windows.context_s * rate_hz // shape.hop  # rows that are convolved at once
    step = windows.window_s // windows.context_s  # pieces of one window
    waveform = _reader(samples, normalise_eps)
    moments = first_conv_moments(network, shape, waveform, len(samples)) if shape.conv_norm == "group" else None
    pieces = [(start, min(start + piece, rows)) for start in range(0, rows, piece)]
    convolved: dict[int, torch.Tensor] = {}  # of the pieces of one window only
    outputs = [np.empty((rows, shape.dim), np.float32) for _ in layers]
    first = 0
    while first < len(pieces):
        # A last piece that would be alone joins the window before it: it would see little else.
        last = first + step if len(pieces) - first > step + 1 else len(pieces)
        seen = range(max(0, first - 1), min(last + 1, len(pieces)))
        for number in seen:
            if number not in convolved:
                start, stop = pieces[number]
                heard = waveform(start * shape.hop, (stop - 1) * shape.hop + shape.support).to(device)
                convolved[number] = convolve(network, heard, moments)
        begin, end, offset = pieces[first][0], pieces[last - 1][1], pieces[seen[0]][0]
        made = encoded(network, torch.cat([convolved[number] for number in seen])[None], layers)
        for output, array in zip(made, outputs, strict=True):  # output: (1, rows seen, D)
            array[begin:end] = output[0, begin - offset : end - offset].float().cpu().numpy()
        convolved = {number: value for number, value in convolved.items() if number >= last - 1}
        first = last
    return outputs


def convolve(network: SpeechNetwork, waveform: torch.Tensor, moments: Moments | None) -> torch.Tensor:
    """Return the rows of the convolutions over a part of the sound.

    Args:
        network: with weights.
        waveform: (n,) float32.
        moments: of the first convolution over the whole sound; None where it has no group norm.

    Returns:
        (t, C).
    """
    first, *others = network.feature_extractor.conv_layers
    if moments is None:
        rows = first(waveform[None, None])  # (1, C, t)
    else:
        norm = first.layer_norm
        scale = norm.weight.double().cpu() / torch.sqrt(moments.variance + norm.eps)  # (C,)
        shift = norm.bias.double().cpu() - moments.mean * scale
        raw = first.conv(waveform[None, None]).float()
        rows = raw.mul_(scale.to(raw)[:, None]).add_(shift.to(raw)[:, None])
        rows = first.activation(rows)
    for layer in others:
        rows = layer(rows)
    return rows[0].T  # (t, C)


def first_conv_moments(
    network: SpeechNetwork, shape: SpeechShape, waveform: Callable[[int, int], torch.Tensor], count: int
) -> Moments:
    """Return mean and variance of each channel of the first convolution over the whole sound.

    They follow from the moments of the stretches that its kernel sees: no convolution is computed.

    Args:
        network: with weights.
        shape: its measures.
        waveform: returns samples [start, stop) as float32.
        count: samples, N.
    """
    kernel, stride = shape.conv_kernels[0], shape.conv_strides[0]
    total = (count - kernel) // stride + 1
    sums = torch.zeros(kernel, dtype=torch.float64)
    products = torch.zeros(kernel, kernel, dtype=torch.float64)
    for start, stop in _spans(total, MOMENT_SAMPLES // stride):
        heard = waveform(start * stride, (stop - 1) * stride + kernel).double()
        stretches = heard.unfold(0, kernel, stride)  # (stop - start, kernel)
        sums += stretches.sum(0)
        products += stretches.T @ stretches
    mean = sums / total
    covariance = products / total - mean[:, None] * mean
    conv = network.feature_extractor.conv_layers[0].conv
    weight = conv.weight[:, 0].double().cpu()  # (C, kernel)
    bias = 0.0 if conv.bias is None else conv.bias.double().cpu()
    return Moments(weight @ mean + bias, ((weight @ covariance) * weight).sum(1).clamp(min=0))


def _reader(samples: np.ndarray, normalise_eps: float | None) -> Callable[[int, int], torch.Tensor]:
    """A function that returns samples [start, stop) as a float32 tensor, normalised by all of them where asked for."""
    if normalise_eps is None:
        mean, factor = 0.0, 1.0
    else:
        moments = waveform_moments(samples)
        mean, factor = float(moments.mean), float(1 / torch.sqrt(moments.variance + normalise_eps))

    def read(start: int, stop: int) -> torch.Tensor:
        # Copied into torch's own memory: results can depend on how the input is aligned.
        part = torch.empty(stop - start, dtype=torch.float32)
        part.copy_(torch.from_numpy(np.array(samples[start:stop], np.float32)))
        return part if normalise_eps is None else part.sub_(mean).mul_(factor)

    return read


def waveform_moments(samples: np.ndarray) -> Moments:
    """Return mean and variance of all samples (N,)."""
    total, squares = 0.0, 0.0
    for start, stop in _spans(len(samples), MOMENT_SAMPLES):
        total += float(samples[start:stop].sum(dtype=np.float64))
    mean = total / len(samples)
    for start, stop in _spans(len(samples), MOMENT_SAMPLES):
        part = samples[start:stop].astype(np.float64) - mean
        squares += float(part @ part)
    return Moments(*torch.tensor([mean, squares / len(samples)], dtype=torch.float64))


def _spans(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)
