"""Networks of CLIP on cards, loading them, and pictures through them; `clip_image` and `clip_prompts` build on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...store.errors import BadInput
from ..base import Card, ExtractorSettings, check_device
from ..imported import Imported, files_of
from ..networks.clip_shape import ClipShape
from ..random_weights import fill_all
from ..weights import LocatedWeights, locate
from ._speech import inference

if TYPE_CHECKING:
    import numpy as np

    from ..networks.clip_image import ClipNetwork
    from ._look import Look

BASE = ClipShape()
BASE_16 = ClipShape(patch=16)
LARGE = ClipShape(embed=768, width=1024, layers=24, heads=16, patch=14, text_width=768, text_heads=12)
LARGE_336 = ClipShape(embed=768, width=1024, layers=24, heads=16, patch=14, side=336, text_width=768, text_heads=12)
LAION = ClipShape(quick_gelu=False)
TINY = ClipShape(embed=32, width=128, layers=2, heads=2, side=32, patch=8, text_width=64, text_layers=2, text_heads=2)
OPENAI = {"tag": "openai", "licence": "MIT"}
BASE_HUB = {
    "weights": "openai/clip-vit-base-patch32",
    "revision": "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
    **OPENAI,
}
LARGE_HUB = {
    "weights": "openai/clip-vit-large-patch14",
    "revision": "32bd64288804d66eefd0ccbe215aa642df71cc41",
    **OPENAI,
}


class Ready(NamedTuple):
    """network: with weights, on its device. look: at pictures. located: where its weights are from."""

    network: ClipNetwork
    look: Look
    located: LocatedWeights


def ready(
    card: Card,
    settings: ExtractorSettings,
    shapes: dict[str, ClipShape],
    texts: bool,
    blocks: int | None = None,
) -> Ready:
    """Load a network.

    Args:
        card: which one. settings: weights and device.
        shapes: measures of the networks on all cards of the family.
        texts: whether it shall read texts, too.
        blocks: how many of those that look at pictures are needed; None: all.

    Raises:
        BadInput: for a device that is not there.
        WeightsError: if weights cannot be had or do not fit.
        MissingExtra: if open_clip is not installed.
    """
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import clip_image
    from . import _clip_weights

    device, shape = check_device(settings.device), shapes[card.name]
    network = clip_image.build(shape, texts)
    if located.file is not None:
        weights = _clip_weights.read(located, shape, card.name, shapes, texts)
        tensors, look = weights.tensors, weights.look
    else:
        tensors, look = None, _clip_weights.usual_look(shape)
    if blocks is not None:
        clip_image.keep_layers(network, blocks)
    needed = clip_image.shapes(network)
    if tensors is None:
        tensors = fill_all(needed, settings.seed)
    clip_image.install(network, {name: tensors[name] for name in needed}, device)
    return Ready(network, look, located)


def imported(card: Card, located: LocatedWeights, shapes: dict[str, ClipShape]) -> Imported:
    """Read an original checkpoint, both its parts, under OpenAI's names; see `extractors.imported`."""
    from . import _clip_weights

    weights = _clip_weights.read(located, shapes[card.name], card.name, shapes, texts=True)
    files = files_of(located, "config.json", "open_clip_config.json", "preprocessor_config.json")
    return Imported(weights.tensors, weights.names, weights.left_out, files=files)


def block_of(card: Card, layer: str) -> int | None:
    """Return the number of the block behind a layer's name; None for the embedding.

    Raises:
        BadInput: if there is none.
    """
    if layer == "last":
        return None
    if layer.isdecimal() and 1 <= int(layer) <= card.layers and layer == str(int(layer)):
        return int(layer)
    raise BadInput(
        f"Layer `{layer}` of {card.name} was asked for.",
        f"It has layers 1 to {card.layers}, and the embedding.",
        f"Use --layer last for the embedding, or a number from 1 to {card.layers}.",
    )


class Embedding:
    """Pictures through the network, to rows.

    Args:
        made: the network.
        layers: numbers of blocks; None for the embedding.
        settings: device and precision.
    """

    def __init__(self, made: Ready, layers: list[int | None], settings: ExtractorSettings) -> None:
        self.network = made.network
        self._look = made.look
        self._layers = layers
        self._settings = settings

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        """(B, H, W, 3) uint8 to one (B, D) float32 for each layer."""
        from ..networks import clip_image

        with inference(self._settings) as device:
            pixels = self._look.pixels(frames, device)  # (B, 3, H, W)
            outputs = clip_image.embed(self.network, pixels, self._layers)  # each (B, D)
            return [output.float().cpu().numpy() for output in outputs]


def card_of(name: str, shape: ClipShape, **more: Any) -> Card:
    """Return a card over pictures, one a second."""
    from ._stills import RATE_HZ

    usual: dict[str, Any] = {"dim": shape.embed, "layers": shape.layers}
    return Card(
        name=name, input="pictures", rate_hz=RATE_HZ, row_rate_hz=str(RATE_HZ), poolings=("none",), **{**usual, **more}
    )
