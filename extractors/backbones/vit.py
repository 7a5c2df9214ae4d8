"""Vision transformers (ViT): one row for each picture of a clip that is chosen.

Source: Dosovitskiy et al. 2021; weights of the Hugging Face hub. `last` is behind the final layer norm; a number k is
the output of block k as it is. Of a picture's tokens, the class token is kept (`cls`, as ViPER does; the usual), the
mean of its patches (`mean`), or all patches, flat (`patches`). Pictures come at a rate, or by `slots` as ViPER's 32:
always so many, spread evenly, or by its own faithful rule (`slot_rule` viper), which for short clips gives fewer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..base import Card, ExtractorSettings, check_device
from ..errors import WeightsError
from ..imported import Imported, files_of
from ..networks.vit_shape import VitShape
from ..random_weights import fill_all
from ..weights import LocatedWeights, locate
from ._layers import block_of
from ._speech import inference
from ._stills import RATE_HZ, Loaded, Output, StillExtractor

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..networks.vit import VitNetwork
    from ._look import Look

VERSION = 1  # raise it whenever the numbers change
POOLINGS = ("none", "cls", "mean", "patches")  # `none` and `cls` are the same
ANY = "vit-any"

SHAPES = {
    "vit-base-patch16-224-in21k": VitShape(),
    "vit-age-classifier": VitShape(),
    "vit-tiny": VitShape(dim=48, layers=2, heads=4, ffn=96, side=32, patch=8),
}


def _card(name: str, **published: Any) -> Card:
    shape = SHAPES.get(name, VitShape())
    return Card(
        name=name,
        family="vit",
        input="pictures",
        rate_hz=RATE_HZ,
        dim=shape.dim,
        layers=shape.layers,
        row_rate_hz=str(RATE_HZ),
        poolings=POOLINGS,
        **published,
    )


CARDS = (
    _card(
        "vit-base-patch16-224-in21k",
        weights="google/vit-base-patch16-224-in21k",
        revision="b4569560a39a0f1af58e3ddaf17facf20ab919b0",
        tag="in21k",
        licence="Apache-2.0",
        default=True,
        notes="ViT-B/16 trained on ImageNet-21k.",
    ),
    _card(
        "vit-age-classifier",
        licence="not stated",
        notes="ViT-B/16 trained to tell ages from faces; add --weights nateraw/vit-age-classifier.",
    ),
    _card(
        ANY, notes="Any ViT of transformers, measures by its config.json (those shown are ViT-B/16's); name --weights."
    ),
    _card("vit-tiny", tiny=True, notes="The same code at 48 wide on 32 x 32 pixels, for tests; random weights only."),
)


def load(card: Card, settings: ExtractorSettings) -> StillExtractor:
    """Load a vision transformer; see `registry.load` for what may be raised."""
    shape = SHAPES.get(card.name)
    if shape is not None:
        _layers(card, settings)
    if settings.weights is None and card.weights is None and not card.tiny:
        hub = "HUB_ID (or FOLDER)" if card.name == ANY else f"nateraw/{card.name}"
        raise WeightsError(
            f"The weights of {card.name} were asked for.",
            "Its card pins none.",
            f"Add --weights {hub}; the commit that was fetched is recorded.",
        )
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import vit
    from . import _vit_weights

    device = check_device(settings.device)
    if located.file is not None:
        weights = _vit_weights.read(located, shape, card.name, SHAPES)
        tensors, shape, look = weights.tensors, weights.shape, weights.look
    elif shape is None:
        raise WeightsError(
            f"Random weights for {card.name} were asked for.",
            "It has no measures of its own.",
            "Use another card of the family, e.g. --backbone vit-tiny.",
        )
    else:
        tensors, look = None, _vit_weights.usual_look(shape)
    card = replace(card, dim=shape.dim, layers=shape.layers)
    layers = _layers(card, settings)
    network = vit.build(shape)
    if None not in layers:
        vit.keep_layers(network, max(layer for layer in layers if layer is not None))
    needed = vit.shapes(network)
    if tensors is None:
        tensors = fill_all(needed, settings.seed)
    vit.install(network, {name: tensors[name] for name in needed}, device)
    pooling = "none" if settings.pooling == "cls" else settings.pooling
    return StillExtractor(
        card,
        settings,
        Loaded(
            look=look,
            forward=_Forward(network, look, layers, pooling, settings),
            outputs=[_output(layer, shape, pooling) for layer in settings.layers],
            weights=located.recipe(),
            tag=located.tag,
            version=VERSION,
            pooling=pooling,
            unhashed={"attention": vit.ATTENTION},
        ),
    )


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint; see `extractors.imported`."""
    from . import _vit_weights

    weights = _vit_weights.read(located, SHAPES.get(card.name), card.name, SHAPES)
    files = files_of(located, "config.json", "preprocessor_config.json")
    return Imported(weights.tensors, weights.names, weights.left_out, files=files)


def _layers(card: Card, settings: ExtractorSettings) -> list[int | None]:
    """The blocks asked for; None for the model's own output."""
    return [block_of(card, layer) for layer in settings.layers]


def _output(layer: str, shape: VitShape, pooling: str) -> Output:
    if pooling == "patches":
        step = {"step": "take-patches", "axes": "patch, channel", "shape": [shape.patches, shape.dim]}
        return Output(layer, shape.patches * shape.dim, (step,))
    step = {"step": "take-class-token" if pooling == "none" else "mean-of-patches"}
    return Output(layer, shape.dim, (step,))


class _Forward:
    """Pictures through the network, to rows.

    Args:
        network: with weights, on its device.
        look: at pictures.
        layers: blocks, None for the model's own output.
        pooling: what is done with the tokens.
        settings: device and precision.
    """

    def __init__(
        self, network: VitNetwork, look: Look, layers: list[int | None], pooling: str, settings: ExtractorSettings
    ) -> None:
        self._network = network
        self._look = look
        self._layers = layers
        self._pooling = pooling
        self._settings = settings

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        """(B, H, W, 3) uint8 to one (B, D) float32 for each layer."""
        from ..networks import vit

        with inference(self._settings) as device:
            pixels = self._look.pixels(frames, device)  # (B, 3, H, W)
            tokens = vit.tokens(self._network, pixels, self._layers)  # each (B, 1 + P, D)
            return [self._pooled(one.float()).cpu().numpy() for one in tokens]

    def _pooled(self, tokens: torch.Tensor) -> torch.Tensor:
        if self._pooling == "patches":
            return tokens[:, 1:].flatten(1)  # (B, P * D)
        return tokens[:, 1:].mean(1) if self._pooling == "mean" else tokens[:, 0]  # (B, D)
