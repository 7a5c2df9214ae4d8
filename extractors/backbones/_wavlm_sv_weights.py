"""Read weights of WavLM with an x-vector head: a transformers folder or hub model, or a bare file of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..checkpoint import as_weights, read_file, require_match
from ..errors import WeightsError
from ..imported import Imported, files_of
from ..networks import speech, wavlm_xvector
from ..networks.speech_shape import UnreadableShape, from_transformers
from ..networks.wavlm_xvector import BODY, XVectorShape
from ..weights import LocatedWeights
from ._speech_weights import older_name

_IGNORED = re.compile(r"(wavlm\.masked_spec_embed|objective\.weight|classifier\..*)")  # of training only
_POSITIONAL = BODY + speech.POSITIONAL


class XVectorWeights(NamedTuple):
    """Tensors by the names of `wavlm_xvector.build(shape)`; measures; whether each window is to be normalised."""

    tensors: dict[str, Any]
    shape: XVectorShape
    normalise: bool


def import_checkpoint(located: LocatedWeights, expected: XVectorShape, backbone: str) -> Imported:
    """Read an original checkpoint; arguments and errors as those of `read`."""
    tensors = read(located, expected, backbone).tensors
    found = [older_name(str(name)) for name in (read_file(located.file) if located.file else {})]
    names = {name: name for name in tensors}
    if _POSITIONAL not in found:
        names[_POSITIONAL] = f"{_POSITIONAL}_g, {_POSITIONAL}_v"
    left_out = tuple(name for name in found if _IGNORED.fullmatch(name))
    return Imported(tensors, names, left_out, files=files_of(located, "config.json", "preprocessor_config.json"))


def read(located: LocatedWeights, expected: XVectorShape, backbone: str) -> XVectorWeights:
    """Read weights from a file or folder, and check them against the network.

    Args:
        located: where they are.
        expected: measures of the network on the card; whether it averages its layers follows the file.
        backbone: name of the card.

    Raises:
        WeightsError: if they cannot be read, are of another network, or any name or shape differs.
    """
    content = read_file(located.file) if located.file else {}
    held = content if isinstance(content, Mapping) else {}
    tensors = {older_name(str(name)): tensor for name, tensor in held.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not _IGNORED.fullmatch(name)}
    config = located.config("config.json") or {}
    try:
        shape = replace(_shape(config, expected) if config else expected, weighted="layer_weights" in tensors)
    except UnreadableShape as error:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            f"Its configuration does not fit: {error}.",
            "Give weights of a WavLM with an x-vector head.",
        ) from error
    if lines := _differences(expected, shape):
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            "It is another network:\n  " + "\n  ".join(lines) + "\n",
            "Give weights of this network.",
        )
    told = located.config("preprocessor_config.json") or {}
    # Base models were trained on the plain waveform, large ones on a normalised one; a model of its own may say else.
    normalise = bool(told.get("do_normalize", shape.speech.conv_norm == "layer"))
    return XVectorWeights(_joined(tensors, shape, located.source, backbone), shape, normalise)


def _shape(config: Mapping[str, Any], expected: XVectorShape) -> XVectorShape:
    names = {"tdnn_dims": "tdnn_dim", "tdnn_kernels": "tdnn_kernel", "tdnn_dilations": "tdnn_dilation"}
    try:
        head: dict[str, Any] = {
            ours: tuple(int(n) for n in config[theirs]) for ours, theirs in names.items() if theirs in config
        }
        dim = int(config.get("xvector_output_dim", XVectorShape().dim))
    except (TypeError, ValueError) as error:
        raise UnreadableShape(f"its head cannot be read: {error}") from error
    return replace(XVectorShape(from_transformers(config, expected.speech.kind), dim=dim), **head)


def _differences(expected: XVectorShape, found: XVectorShape) -> list[str]:
    lines = expected.speech.differences(found.speech)
    for name in ("tdnn_dims", "tdnn_kernels", "tdnn_dilations", "dim"):
        mine, theirs = getattr(expected, name), getattr(found, name)
        if mine != theirs:
            lines.append(f"{name}: expected {mine}, found {theirs}")
    return lines


def _joined(tensors: Mapping[str, Any], shape: XVectorShape, source: str, backbone: str) -> dict[str, Any]:
    """Tensors by our names, after a comparison in the file's own names."""
    ours = speech.shapes(wavlm_xvector.build(shape))
    wanted = dict(ours)
    scale, direction = f"{_POSITIONAL}_g", f"{_POSITIONAL}_v"
    if _POSITIONAL not in tensors:
        wanted[direction] = wanted.pop(_POSITIONAL)
        wanted[scale] = (1, 1, shape.speech.pos_kernel)
    require_match(backbone, source, wanted, {name: tuple(getattr(t, "shape", ())) for name, t in tensors.items()})
    ready = {name: as_weights(source, name, tensor) for name, tensor in tensors.items()}
    if _POSITIONAL not in ready:
        ready[_POSITIONAL] = speech.join_weight_norm(ready.pop(scale), ready.pop(direction))
    return {name: ready[name] for name in ours}
