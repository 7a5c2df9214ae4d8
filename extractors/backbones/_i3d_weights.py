"""Read I3D weights: the published files of bare tensors by their original names, or random ones for dry runs.

The published files were written by a very old PyTorch, before batch norms counted their training steps; these counters
(`num_batches_tracked`), which change no output, are all that may be missing or left over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..checkpoint import as_weights, read_file, require_match
from ..errors import WeightsError
from ..imported import Imported
from ..networks import i3d
from ..networks.i3d_shape import I3dShape
from ..random_weights import RULE, fill_all
from ..weights import LocatedWeights

CLASSIFIER = "logits.conv3d.weight"
RANDOM_RULE = f"{RULE}, convolutions x sqrt(2), running means - 1"


def import_checkpoint(located: LocatedWeights, expected: I3dShape, backbone: str) -> Imported:
    """Read an original checkpoint, whose names are ours; arguments and errors as those of `read`."""
    tensors, _ = read(located, expected, backbone)
    counters = [name for name in map(str, _content(located, backbone)) if i3d.is_counter(name)]
    return Imported(tensors, {name: name for name in tensors}, tuple(counters))


def read(located: LocatedWeights, expected: I3dShape, backbone: str) -> tuple[dict[str, Any], I3dShape]:
    """Read weights from a file, and check them against the network.

    Args:
        located: where they are.
        expected: measures of the network; the number of classes is taken from the file.
        backbone: name of the card, for messages.

    Returns:
        Tensors by the names of `i3d.shapes`, float32; the measures.

    Raises:
        WeightsError: if they cannot be read, or any name or shape differs.
    """
    content = _content(located, backbone)
    found = {str(name): tensor for name, tensor in content.items() if not i3d.is_counter(str(name))}
    sizes = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in found.items()}
    classes = (*sizes.get(CLASSIFIER, ()), 0)[0]
    shape = replace(expected, classes=classes or expected.classes)
    require_match(backbone, located.source, i3d.shapes(i3d.build(shape)), sizes)
    return {name: as_weights(located.source, name, tensor) for name, tensor in found.items()}, shape


def _content(located: LocatedWeights, backbone: str) -> Mapping[Any, Any]:
    content = read_file(located.file) if located.file else None
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"`{located.source}` was to be loaded into {backbone}.",
            f"It holds a {type(content).__name__}, not tensors by name.",
            "Give a file such as rgb_imagenet.pt.",
        )
    return content


def random(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Any]:
    """Return stand-in weights with which rows differ from each other.

    The general rule is made for networks that add: here each ReLU halves the signal (so convolutions are larger by the
    root of two), and a running mean of 1 would leave nothing for it to let through (so they are around 0).

    Args:
        shapes: by name.
        seed: 0 or more.
    """
    tensors = fill_all(shapes, seed)
    for name, tensor in tensors.items():
        if name.endswith(".running_mean"):
            tensor -= 1
        elif name.endswith(".conv3d.weight") and name != CLASSIFIER:
            tensor *= 2**0.5
    return tensors
