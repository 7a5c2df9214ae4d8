"""CLIP with a list of prompts: how similar each picture is to each prompt, and which prompt fits best.

Source: ViPER's textual stream (`specs/viper.md`, section 3); CLIP by Radford et al. 2021. `similarity` (the same as
`last`) has the cosine of a picture with each prompt; `chosen` has one column, the number of the most similar prompt,
counted from 0, the first where several are. The prompts are read from a file (`prompts`); without it, the 53 of
`recipes/viper_prompts.txt`, which have ViPER's structure. The backbone for text turns the same list into a table of
embeddings, so that `chosen` and the table together are ViPER's textual features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...store.errors import BadInput
from ..base import Card, ExtractorSettings
from ..prompts import Prompts, read_prompts
from . import _clip
from ._speech import inference
from ._stills import Loaded, Output, StillExtractor

if TYPE_CHECKING:
    import numpy as np

    from ..imported import Imported
    from ..networks.clip_shape import ClipShape
    from ..weights import LocatedWeights

VERSION = 1  # raise it whenever the numbers change
SIMILARITY, CHOSEN = "similarity", "chosen"
LAYERS = (SIMILARITY, CHOSEN)
TEXTS = 64  # prompts that go through the network together

SHAPES = {
    "clip-prompts": _clip.BASE,
    "clip-prompts-vit-l-14": _clip.LARGE,
    "clip-prompts-tiny": _clip.TINY,
}


def _card(name: str, **more: Any) -> Card:
    return _clip.card_of(name, SHAPES[name], family="clip-prompts", dim=53, layers=len(LAYERS), **more)


CARDS = (
    _card(
        "clip-prompts",
        default=True,
        notes="ViT-B/32; columns are as many as prompts. --layer similarity and --layer chosen.",
        **_clip.BASE_HUB,
    ),
    _card("clip-prompts-vit-l-14", notes="The same with ViT-L/14.", **_clip.LARGE_HUB),
    _card("clip-prompts-tiny", tiny=True, notes="The same code on 32 x 32 pixels, for tests; random weights only."),
)


def load(card: Card, settings: ExtractorSettings) -> StillExtractor:
    """Load a CLIP and compute the embeddings of the prompts; see `registry.load` for what may be raised."""
    layers, prompts = [_layer(card, layer) for layer in settings.layers], read_prompts(settings.prompts)
    made = _clip.ready(card, settings, SHAPES, texts=True)
    table = _embedded(made, SHAPES[card.name], prompts, settings)  # (P, embed)
    step = {"step": "similarity-to-prompts", "sha256": prompts.sha256, "prompts": list(prompts.texts)}
    outputs = []
    for layer, what in zip(settings.layers, layers, strict=True):
        count = len(prompts.texts) if what == SIMILARITY else 1
        outputs.append(Output(layer, count, (step,) if what == SIMILARITY else (step, {"step": "most-similar"})))
    return StillExtractor(
        card,
        settings,
        Loaded(
            look=made.look,
            forward=_Compared(_clip.Embedding(made, [None], settings), table, layers),
            outputs=outputs,
            weights=made.located.recipe(),
            tag=f"{made.located.tag}-{prompts.tag}" if prompts.tag else made.located.tag,
            version=VERSION,
            filled=True,
            unhashed={"prompt_groups": list(prompts.groups)},
        ),
    )


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint; see `extractors.imported`."""
    return _clip.imported(card, located, SHAPES)


def _layer(card: Card, layer: str) -> str:
    names = {"last": SIMILARITY, "1": SIMILARITY, "2": CHOSEN, SIMILARITY: SIMILARITY, CHOSEN: CHOSEN}
    if layer not in names:
        raise BadInput(
            f"Layer `{layer}` of {card.name} was asked for.",
            "There is none of that name.",
            f"Use one of: last, {', '.join(LAYERS)}.",
        )
    return names[layer]


def _embedded(made: _clip.Ready, shape: ClipShape, prompts: Prompts, settings: ExtractorSettings) -> np.ndarray:
    """(P, embed) float32; the part of the network that reads texts is given up afterwards."""
    import numpy as np

    from ..networks import clip_image, clip_text

    tokens = clip_text.tokenize(prompts.texts, shape)  # (P, context)
    with inference(settings) as device:
        parts = [clip_text.embed(made.network, some.to(device)).cpu().numpy() for some in tokens.split(TEXTS)]
    clip_image.drop_texts(made.network)
    return np.concatenate(parts)


class _Compared:
    """Pictures through the network, then compared with the prompts.

    Args:
        embedded: the way through the network.
        table: embeddings of the prompts, (P, embed).
        layers: what is asked for.
    """

    def __init__(self, embedded: _clip.Embedding, table: np.ndarray, layers: list[str]) -> None:
        self.embedded = embedded
        self._table = table
        self._layers = layers

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        """(B, H, W, 3) uint8 to (B, P) cosines, or (B, 1) numbers of prompts, float32."""
        import numpy as np

        from ..networks import clip_text

        similar = clip_text.similarities(self.embedded(frames)[0], self._table)  # (B, P)
        chosen = similar.argmax(1)[:, None].astype(np.float32)  # (B, 1); the first of several
        return [similar if layer == SIMILARITY else chosen for layer in self._layers]
