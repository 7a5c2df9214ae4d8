"""Read RoBERTa weights: a transformers folder or hub model of any task, or a bare file of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..checkpoint import as_weights, read_file, require_match
from ..errors import WeightsError
from ..imported import Imported, files_of
from ..networks import roberta, speech
from ..networks.roberta import RobertaShape, UnreadableShape
from ..weights import LocatedWeights
from ._roberta_tokens import PARTS, WHOLE

# Parts of published files that other tasks use, and constants that older versions of transformers saved.
_IGNORED = re.compile(r"((pooler|lm_head|classifier|qa_outputs)\..*|cls\..*|embeddings\.(position_ids|token_type_ids))")


def import_checkpoint(located: LocatedWeights, expected: RobertaShape, backbone: str) -> Imported:
    """Read an original checkpoint; arguments and errors as those of `read`."""
    tensors, _ = read(located, expected, backbone)
    found = [str(name).removeprefix("roberta.") for name in (read_file(located.file) if located.file else {})]
    left_out = tuple(name for name in found if _IGNORED.fullmatch(name))
    files = files_of(located, "config.json", WHOLE, *PARTS)
    return Imported(tensors, {name: name for name in tensors}, left_out, files=files)


def read(located: LocatedWeights, expected: RobertaShape, backbone: str) -> tuple[dict[str, Any], RobertaShape]:
    """Read weights from a file or folder, and check them against the network.

    Args:
        located: where they are.
        expected: measures of the network on the card; the numbers of tokens and positions follow the file.
        backbone: name of the card.

    Returns:
        Tensors by the names of `roberta.build(shape)`, float32; the measures.

    Raises:
        WeightsError: if they cannot be read, are of another network, or any name or shape differs.
    """
    content = read_file(located.file) if located.file else {}
    held = content if isinstance(content, Mapping) else {}
    tensors = {str(name).removeprefix("roberta."): tensor for name, tensor in held.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not _IGNORED.fullmatch(name)}
    config = located.config("config.json")
    try:
        shape = expected if config is None else roberta.from_transformers(config)
    except UnreadableShape as error:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            f"Its configuration does not fit: {error}.",
            "Give weights of a RoBERTa.",
        ) from error
    # A vocabulary and a greatest length of its own make no other network.
    if lines := replace(expected, vocab=shape.vocab, positions=shape.positions).differences(shape):
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is another network:\n  " + "\n  ".join(lines) + "\n",
            "Give weights of this network.",
        )
    wanted = speech.shapes(roberta.build(shape))
    found = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in tensors.items()}
    require_match(backbone, located.source, wanted, found)
    return {name: as_weights(located.source, name, tensors[name]) for name in wanted}, shape
