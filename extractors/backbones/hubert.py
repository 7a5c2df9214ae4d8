"""HuBERT: 50 rows a second of speech features from sound at 16 kHz.

Source: Hsu et al. 2021; weights by fairseq (MIT), also on the Hugging Face hub (Apache-2.0). `last` is the model's own
output (for large models behind one more layer norm); a number k is the output of block k as it is, k = 24 of large
included: fairseq's `output_layer`. One clip per forward: no padding, so a clip's rows depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ...store.timebase import Timebase
from ..base import Card, ExtractorSettings, Needs, Rows, check_device
from ..errors import MediaError
from ..networks.hubert_shape import HubertShape
from ..random_weights import fill_all
from ..weights import locate

if TYPE_CHECKING:
    from ..media.audio import Audio
    from ..networks.hubert import HubertNetwork

VERSION = 1  # raise it whenever the numbers change
RATE_HZ = 16_000
MAX_S = 300.0  # in one forward; the convolutions then hold about 4 GB
NORM_EPS = 1e-5

LARGE = HubertShape(dim=1024, layers=24, heads=16, ffn=4096, conv_norm="layer", pre_norm=True)
TINY = HubertShape(dim=64, layers=2, heads=4, ffn=128, conv_dims=(32,) * 7)
SHAPES = {
    "hubert-base": HubertShape(),
    "hubert-large": LARGE,
    "hubert-tiny": TINY,
    "hubert-tiny-large": HubertShape(**{**vars(TINY), "conv_norm": "layer", "pre_norm": True}),
}


def _card(name: str, **published: Any) -> Card:
    shape = SHAPES[name]
    return Card(
        name=name,
        family="hubert",
        input="audio",
        rate_hz=RATE_HZ,
        dim=shape.dim,
        layers=shape.layers,
        row_rate_hz=str(Fraction(RATE_HZ, shape.hop)),
        **published,
    )


CARDS = (
    _card(
        "hubert-base",
        weights="facebook/hubert-base-ls960",
        revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        tag="ls960",
        licence="Apache-2.0",
        default=True,
        notes="Trained on 960 h of LibriSpeech; also reads fairseq's hubert_base_ls960.pt.",
    ),
    _card(
        "hubert-large",
        weights="facebook/hubert-large-ll60k",
        revision="ff022d095678a2995f3c49bab18a96a9e553f782",
        tag="ll60k",
        licence="Apache-2.0",
        notes="Trained on 60,000 h of Libri-Light; also reads fairseq's hubert_large_ll60k.pt.",
    ),
    _card("hubert-tiny", tiny=True, notes="The base model's code at 64 wide, for tests; random weights only."),
    _card("hubert-tiny-large", tiny=True, notes="The large model's code at 64 wide, for tests; random weights only."),
)


def load(card: Card, settings: ExtractorSettings) -> HubertExtractor:
    """Load a HuBERT; see `registry.load` for what may be raised."""
    shape, layers = SHAPES[card.name], [_layer(card, layer) for layer in settings.layers]
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import hubert
    from . import _hubert_weights

    device = check_device(settings.device)
    tensors = None
    normalise = shape.conv_norm == "layer"
    if located.file is not None:
        tensors, shape, normalise = _hubert_weights.read(located, SHAPES, card.name)
    network = hubert.build(shape)
    if None not in layers:
        hubert.keep_layers(network, max(layer for layer in layers if layer is not None))
    needed = hubert.shapes(network)
    if tensors is None:
        tensors = fill_all(needed, settings.seed)
    hubert.install(network, {name: tensors[name] for name in needed}, device)
    return HubertExtractor(card, settings, shape, network, normalise, located.recipe(), located.tag)


def _layer(card: Card, layer: str) -> int | None:
    if layer == "last":
        return None
    if layer.isdecimal() and 1 <= int(layer) <= card.layers and layer == str(int(layer)):
        return int(layer)
    raise BadInput(
        f"Layer `{layer}` of {card.name} was asked for.",
        f"It has layers 1 to {card.layers}.",
        f"Use --layer last, or a number from 1 to {card.layers}.",
    )


class HubertExtractor:
    """A loaded HuBERT; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: layers, pooling, precision and the rest.
        shape: measures of the network.
        network: with weights, on its device, with at least the blocks that the layers need.
        normalise: whether each waveform is brought to zero mean and unit variance.
        weights: what the recipe says of the weights.
        tag: what the weights are called in names.
    """

    def __init__(
        self,
        card: Card,
        settings: ExtractorSettings,
        shape: HubertShape,
        network: HubertNetwork,
        normalise: bool,
        weights: dict[str, Any],
        tag: str,
    ) -> None:
        self.card = card
        self.needs = Needs(sound_hz=RATE_HZ)
        self._settings = settings
        self._shape = shape
        self._network = network
        self._normalise = normalise
        self._layers = [_layer(card, layer) for layer in settings.layers]
        keep = settings.keep_last_s
        self._keep_last = None if keep is None else max(1, round(keep * RATE_HZ))
        self._timebase = Timebase(
            Fraction(RATE_HZ, shape.hop), Fraction(shape.support, 2 * RATE_HZ), Fraction(shape.support, RATE_HZ)
        )
        self.specs: Sequence[FeatureSpec] = [self._spec(layer, weights, tag) for layer in settings.layers]

    def _spec(self, layer: str, weights: dict[str, Any], tag: str) -> FeatureSpec:
        steps: list[dict[str, Any]] = [{"step": "decode-mono", "rate_hz": RATE_HZ}]
        if self._keep_last is not None:
            steps.append({"step": "keep-last", "samples": self._keep_last})
        if self._normalise:
            steps.append({"step": "normalise-waveform", "eps": NORM_EPS})
        settings = self._settings
        return FeatureSpec(
            name=feature_set_name(self.card.name, tag, layer, settings.pooling),
            kind="numeric",
            dim=self._shape.dim,
            dtype=settings.dtype,
            timebase=self._timebase if settings.pooling == "none" else None,
            recipe=Recipe(
                backbone=self.card.name,
                weights=weights,
                layer=layer,
                pooling=settings.pooling,
                preprocessing=tuple(steps),
                precision=settings.precision,
                extractor_version=VERSION,
                unhashed=_circumstances(settings.device),
            ),
        )

    def extract(self, audio: Audio) -> list[Rows]:
        """Return the rows of each layer.

        Raises:
            MediaError: if the sound is shorter than one row's support, too long for one forward, or, for the mean, has
                no row that is free of holes.
        """
        samples, start_s = self._trimmed(audio)
        outputs = self._forward(samples)
        times = self._timebase.centers(len(outputs[0])) + start_s
        valid = self._clear_of(audio.gaps, times)
        if self._settings.pooling == "none":
            return [Rows(values, times, valid) for values in outputs]
        if not valid.any():
            raise MediaError(
                f"The mean of {self.card.name} over a clip was asked for.",
                "Every row touches a hole in the sound.",
                "Mend the file, or leave the clip out.",
            )
        seen = times[valid]
        middle = np.array([(seen[0] + seen[-1]) / 2])  # of the support: windows are alike at both ends
        # Summed in float64: the result then depends on no summation order.
        means = [values[valid].mean(0, keepdims=True, dtype=np.float64).astype(np.float32) for values in outputs]
        return [Rows(mean, middle, np.ones(1, bool)) for mean in means]

    def _trimmed(self, audio: Audio) -> tuple[np.ndarray, float]:
        """The samples to look at, and the time of the first."""
        if audio.rate_hz != RATE_HZ:
            raise BadInput(
                f"Sound at {audio.rate_hz} Hz was given to {self.card.name}.",
                f"It was trained at {RATE_HZ} Hz.",
                f"Decode at {RATE_HZ} Hz.",
            )
        samples, start_s = audio.samples, audio.start_s
        dropped = 0 if self._keep_last is None else max(0, len(samples) - self._keep_last)
        samples, start_s = samples[dropped:], start_s + dropped / RATE_HZ
        asked = f"Sound of {len(samples)} samples ({len(samples) / RATE_HZ:.3f} s) was to go through {self.card.name}."
        if len(samples) < self._shape.support:
            need = f"One row needs {self._shape.support} samples ({self._shape.support / RATE_HZ} s)."
            raise MediaError(asked, need, "Leave the clip out, or give it a longer span.")
        if len(samples) > MAX_S * RATE_HZ:
            raise MediaError(
                asked,
                f"At most {MAX_S:.0f} s fit into one forward.",
                "Cut the clip into shorter ones with the columns start and end, or use --keep-last.",
            )
        return samples, start_s

    def _forward(self, samples: np.ndarray) -> list[np.ndarray]:
        """(T, D) float32 of each layer."""
        import torch

        from ..networks import hubert

        settings = self._settings
        device = torch.device(settings.device)
        # Copied into torch's own memory: results can depend on how the input is aligned.
        waveform = torch.empty(len(samples), dtype=torch.float32)
        waveform.copy_(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32).copy()))
        if self._normalise:
            waveform = hubert.normalise(waveform, NORM_EPS)
        with (
            torch.inference_mode(),
            # Without this, convolutions on CUDA round to 10 bits: `fp32` shall mean it.
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"),
        ):
            outputs = hubert.hidden(self._network, waveform.to(device)[None], self._layers)  # each (1, T, D)
            return [output[0].float().cpu().numpy() for output in outputs]  # each (T, D)

    def _clear_of(self, gaps: Sequence[tuple[float, float]], times: np.ndarray) -> np.ndarray:
        """(T,) bool: rows whose support touches no gap."""
        half = self._shape.support / RATE_HZ / 2
        valid = np.ones(len(times), bool)
        for start_s, stop_s in gaps:
            valid &= (times + half <= start_s) | (times - half >= stop_s)
        return valid


def _circumstances(device: str) -> dict[str, Any]:
    """What is recorded of the computation without defining it."""
    import datetime
    import importlib.metadata

    import torch

    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "av", "numpy")}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    from ..networks.hubert import ATTENTION

    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "attention": ATTENTION,
        "versions": versions,
        "date": today,
    }
