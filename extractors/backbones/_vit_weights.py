"""Read the weights of vision transformers: transformers folders, hub models, and bare files of tensors.

With or without a head for classification or for masked pictures; names of transformers 4 and 5. Names and shapes of
what the network needs must match exactly.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..checkpoint import as_weights, read_file, require_match
from ..errors import WeightsError
from ..media.demand import PictureShape
from ..networks import vit
from ..networks.vit_shape import UnreadableShape, VitShape, from_transformers
from ..weights import LocatedWeights
from ._look import Look, from_processor
from ._state_dict import bare_tensors

# Parts of published files that only training, or another task, uses.
_IGNORED = re.compile(r"(pooler|classifier|decoder)\..*|embeddings\.mask_token|.*\.position_ids")


class VitWeights(NamedTuple):
    """What a file says.

    tensors: float32, by published names. shape: of their network. look: at pictures. names: published -> the file's.
    left_out: the file's names of what is not used.
    """

    tensors: dict[str, Any]
    shape: VitShape
    look: Look
    names: dict[str, str]
    left_out: tuple[str, ...]


def usual_look(shape: VitShape) -> Look:
    """Return how published vision transformers look at pictures: squashed to a square, bilinear, -1 to 1."""
    return Look(PictureShape("exact", shape.side, shape.side))


def read(located: LocatedWeights, expected: VitShape | None, backbone: str, known: dict[str, VitShape]) -> VitWeights:
    """Read weights from a file or folder, and check them against the network.

    Args:
        located: where they are.
        expected: measures of the network; None: whatever the folder's `config.json` says.
        backbone: name of the card that is wanted.
        known: measures of the networks on all cards, for the message where they are others.

    Raises:
        WeightsError: if they cannot be read, are of another network, or any name or shape differs.
    """
    config = located.config("config.json")
    try:
        shape = expected if config is None else from_transformers(config)
    except UnreadableShape as error:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            f"Its configuration does not fit: {error}.",
            "Give weights of a vision transformer (transformers' model type `vit`).",
        ) from error
    if shape is None:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "A bare file does not say what network it belongs to.",
            "Give the folder with its config.json, or name the card of the network.",
        )
    lines = [] if expected is None else expected.differences(shape)
    if lines:
        fitting = [name for name, measures in known.items() if measures == shape] or ["vit-any"]
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is another network:\n  " + "\n  ".join(lines) + "\n",
            f"Use --backbone {' or '.join(fitting)}.",
        )
    there = bare_tensors(read_file(located.file) if located.file else {}, ("module.", "vit."))
    names = {vit.published_name(name): name for name in there}
    left_out = tuple(sorted(name for name in there if _IGNORED.fullmatch(name)))
    wanted = {name: there[theirs] for name, theirs in names.items() if theirs not in left_out}
    needed = vit.shapes(vit.build(shape))
    require_match(backbone, located.source, needed, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    look = from_processor(located.config("preprocessor_config.json"), shape.side, usual_look(shape), located.source)
    tensors = {name: as_weights(located.source, name, wanted[name]) for name in needed}
    return VitWeights(tensors, shape, look, {name: names[name] for name in needed}, left_out)
