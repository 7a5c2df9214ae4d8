"""CLIP: the embedding of each picture of a clip that is chosen.

Source: Radford et al. 2021; weights by OpenAI (MIT) and LAION (MIT), network of open_clip. `last` is the embedding as
the projection gives it, not brought to length 1; a number k is the class token behind block k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base import Card, ExtractorSettings
from . import _clip
from ._stills import Loaded, Output, StillExtractor

if TYPE_CHECKING:
    from ..imported import Imported
    from ..weights import LocatedWeights

VERSION = 1  # raise it whenever the numbers change

SHAPES = {
    "clip-vit-b-32": _clip.BASE,
    "clip-vit-b-16": _clip.BASE_16,
    "clip-vit-l-14": _clip.LARGE,
    "clip-vit-l-14-336": _clip.LARGE_336,
    "clip-vit-b-32-laion2b": _clip.LAION,
    "clip-tiny": _clip.TINY,
}


def _card(name: str, **more: Any) -> Card:
    return _clip.card_of(name, SHAPES[name], family="clip", **more)


CARDS = (
    _card("clip-vit-b-32", default=True, notes="Also reads OpenAI's own ViT-B-32.pt.", **_clip.BASE_HUB),
    _card(
        "clip-vit-b-16",
        weights="openai/clip-vit-base-patch16",
        revision="57c216476eefef5ab752ec549e440a49ae4ae5f3",
        notes="Also reads OpenAI's own ViT-B-16.pt.",
        **_clip.OPENAI,
    ),
    _card("clip-vit-l-14", notes="Also reads OpenAI's own ViT-L-14.pt.", **_clip.LARGE_HUB),
    _card(
        "clip-vit-l-14-336",
        weights="openai/clip-vit-large-patch14-336",
        revision="ce19dc912ca5cd21c8a653c79e251e808ccabcd1",
        notes="Also reads OpenAI's own ViT-L-14-336px.pt.",
        **_clip.OPENAI,
    ),
    _card(
        "clip-vit-b-32-laion2b",
        weights="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        revision="1a25a446712ba5ee05982a381eed697ef9b435cf",
        tag="s34b-b79k",
        licence="MIT",
        notes="Trained by LAION with open_clip; another activation than OpenAI's.",
    ),
    _card("clip-tiny", tiny=True, notes="The same code at 128 wide on 32 x 32 pixels, for tests; random weights only."),
)


def load(card: Card, settings: ExtractorSettings) -> StillExtractor:
    """Load a CLIP; see `registry.load` for what may be raised."""
    layers, shape = [_clip.block_of(card, layer) for layer in settings.layers], SHAPES[card.name]
    numbers = [layer for layer in layers if layer is not None]
    made = _clip.ready(card, settings, SHAPES, texts=False, blocks=None if None in layers else max(numbers))
    return StillExtractor(
        card,
        settings,
        Loaded(
            look=made.look,
            forward=_clip.Embedding(made, layers, settings),
            outputs=[
                Output(layer, shape.embed, ({"step": "project"},))
                if number is None
                else Output(layer, shape.width, ({"step": "take-class-token"},))
                for layer, number in zip(settings.layers, layers, strict=True)
            ],
            weights=made.located.recipe(),
            tag=made.located.tag,
            version=VERSION,
            filled=True,
        ),
    )


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint, both its parts; see `extractors.imported`."""
    return _clip.imported(card, located, SHAPES)
