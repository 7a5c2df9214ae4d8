"""Read CLIP's weights in every form they are published in, into OpenAI's names.

Understood: OpenAI's own archives (`ViT-B-32.pt`), state dicts by its names, bare or in a training program's checkpoint
(ViPER's `model_state_dict`), open_clip's files, and transformers' folders. Names and shapes must match exactly.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ..checkpoint import as_weights, read_file, require_match
from ..errors import WeightsError
from ..media.demand import PictureShape
from ..networks import clip_image
from ..networks.clip_shape import ClipShape, UnreadableShape, from_open_clip, from_transformers
from ..torchscript import is_torchscript, read_torchscript
from ..weights import LocatedWeights
from . import _clip_names
from ._look import Look, from_processor
from ._state_dict import bare_tensors

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# What files hold beside weights: OpenAI's remarks about the network, transformers' positions.
_REMARKS = re.compile(r"input_resolution|context_length|vocab_size|(.+\.)?position_ids|attn_mask")
_TEXTS = re.compile(
    r"(transformer|token_embedding|ln_final|text_model)\..+|positional_embedding|text_projection(\.weight)?|logit_scale"
)


class ClipWeights(NamedTuple):
    """tensors: float32, by OpenAI's names. look: at pictures. names: OpenAI's -> the file's. left_out: not used."""

    tensors: dict[str, Any]
    look: Look
    names: dict[str, str]
    left_out: tuple[str, ...]


def usual_look(shape: ClipShape) -> Look:
    """Return how all published CLIPs look at pictures: the shorter side scaled (bicubic), the centre kept."""
    side = (shape.side, shape.side)
    return Look(PictureShape("short-side", shape.side, filter="bicubic", crop=side), MEAN, STD)


def read(
    located: LocatedWeights, expected: ClipShape, backbone: str, known: dict[str, ClipShape], texts: bool
) -> ClipWeights:
    """Read weights from a file or folder, and check them against the network.

    Args:
        located: where they are.
        expected: measures of the network.
        backbone: name of the card that is wanted.
        known: measures of the networks on all cards, for the message where they are others.
        texts: whether the part that reads texts is needed.

    Raises:
        WeightsError: if they cannot be read, are of another network, or any name or shape differs.
    """
    _check_shape(located, expected, backbone, known)
    file = located.file
    content: Any = {}
    if file is not None:
        content = read_torchscript(file) if is_torchscript(file) else read_file(file)
    # `text.` is how open_clip names the part for texts of its later models.
    found = bare_tensors(content, ("module.", "model.", "clip.", "text."))
    original = _clip_names.is_transformers(found)
    needed = clip_image.shapes(clip_image.build(expected, texts))
    names = {name: ", ".join(_clip_names.transformers_names(name)) if original else name for name in needed}
    if original:
        found = _clip_names.from_transformers(found, needed)
    left_out = [name for name in found if _REMARKS.fullmatch(name) or (not texts and _TEXTS.fullmatch(name))]
    wanted = {name: tensor for name, tensor in found.items() if name not in left_out}
    require_match(backbone, located.source, needed, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    config = located.config("preprocessor_config.json")
    look = from_processor(config, expected.side, usual_look(expected), located.source)
    tensors = {name: as_weights(located.source, name, wanted[name]) for name in needed}
    return ClipWeights(tensors, look, names, tuple(sorted(left_out)))


def _check_shape(located: LocatedWeights, expected: ClipShape, backbone: str, known: dict[str, ClipShape]) -> None:
    """Compare the measures in the folder's configuration, if it has one."""
    config, open_clip = located.config("config.json"), located.config("open_clip_config.json")
    try:
        if config is not None and "model_type" in config:
            shape = from_transformers(config)
        elif open_clip is not None:
            shape = from_open_clip(open_clip.get("model_cfg", {}))
        else:
            return
    except UnreadableShape as error:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            f"Its configuration does not fit: {error}.",
            "Give weights of a plain CLIP with a vision transformer.",
        ) from error
    lines = expected.differences(shape)
    if lines:
        fitting = [name for name, measures in known.items() if measures == shape]
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is another network:\n  " + "\n  ".join(lines) + "\n",
            f"Use --backbone {' or '.join(fitting)}." if fitting else "No backbone of cuebank has these measures.",
        )
