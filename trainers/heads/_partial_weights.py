"""Start weights of a backbone's trainable top, out of a safetensors file of the whole backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...store.errors import BadInput, NotFound

TENSORS = "model.safetensors"
PREFIX = "roberta."  # of files that transformers saved with a task's head
COUNTER = ".num_batches_tracked"  # changes no output; old files lack it
SHOWN = 5


def start_weights(source: str, wanted: Mapping[str, Tensor], setting: str) -> dict[str, Tensor]:
    """Read the tensors that a top needs; others in the file are those of the frozen part, and are not looked at.

    Args:
        source: a safetensors file, or a folder with `model.safetensors`.
        wanted: the top's own tensors, by name.
        setting: which named the source, for messages.

    Returns:
        name -> tensor in the shape and type of the top's own.

    Raises:
        NotFound: if there is no such file.
        BadInput: if it is no safetensors file, lacks a tensor, or has one of another shape, or with NaN or infinity.
    """
    from safetensors import SafetensorError, safe_open

    asked = f"A head `partial` was to start from {setting}={source}."
    path = Path(source).expanduser()
    file = path / TENSORS if path.is_dir() else path
    if not file.is_file():
        raise NotFound(
            asked,
            f"There is no {TENSORS} in this folder." if path.is_dir() else "There is no such file or folder.",
            "Give a folder that `cuebank import-weights` wrote (of a SEMPI checkpoint, its folder video or text), or a "
            "safetensors file.",
        )
    try:
        with safe_open(file, "pt") as opened:  # no mapping, though it has keys
            names = {name.removeprefix(PREFIX): name for name in opened.keys()}  # noqa: SIM118
            found = {name: opened.get_tensor(names[name]) for name in wanted if name in names}
    except (SafetensorError, OSError) as error:
        raise BadInput(
            asked, f"It cannot be read as safetensors: {error}.", "Import it with `cuebank import-weights` first."
        ) from error
    wrong = [f"missing: {name}" for name in wanted if name not in found and not name.endswith(COUNTER)]
    wrong += [
        f"shape: {name} is {tuple(tensor.shape)}, the network has {tuple(wanted[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != wanted[name].shape
    ]
    wrong += [
        f"values: {name} is {tensor.dtype}, or has NaN or infinity"
        for name, tensor in found.items()
        if not name.endswith(COUNTER) and not (tensor.is_floating_point() and bool(torch.isfinite(tensor).all()))
    ]
    if wrong:
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise BadInput(
            asked,
            "Its tensors do not fit:\n  " + "\n  ".join(wrong[:SHOWN]) + f"{more}\n",
            "Give weights of the network that the stored features were made with.",
        )
    return {name: tensor.to(wanted[name].dtype) for name, tensor in found.items()}
