"""Find the tensors in what a file of weights holds: bare, or inside a training program's checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

INSIDE = ("model_state_dict", "state_dict", "model")  # under which checkpoints keep them


def bare_tensors(content: Any, prefixes: Iterable[str] = ()) -> dict[str, Any]:
    """Return tensors by name, without a checkpoint's bookkeeping; empty where there are none.

    Args:
        content: of a file, as `checkpoint.read_file` gives it.
        prefixes: of names, each removed if *all* tensors with it would keep names of their own, e.g. `vit.` of a model
            with a head, or `module.` of one that was trained on several devices.
    """
    import torch

    inner = content if isinstance(content, Mapping) else {}
    for key in INSIDE:
        if isinstance(inner.get(key), Mapping):
            inner = inner[key]
            break
    tensors = {name: item for name, item in inner.items() if isinstance(name, str) and isinstance(item, torch.Tensor)}
    for prefix in prefixes:
        short = {name: name.removeprefix(prefix) for name in tensors}
        if len(set(short.values())) == len(tensors):
            tensors = {short[name]: tensor for name, tensor in tensors.items()}
    return tensors
