"""Keep a torchvision whose compiled operators cannot be loaded from breaking everything that imports it.

A torchvision built for CUDA beside a torch without CUDA raises `operator torchvision::nms does not exist` on import,
and takes every model class of transformers down with it. None of our backbones uses these operators.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

_declared: list[Any] = []  # keeps the library of declarations alive: torch drops them with the object


def ensure_torchvision() -> None:
    """Make torchvision's Python code importable; call it before importing transformers, timm or open_clip.

    Does nothing where torchvision is absent, already imported, or able to load its operators; may be called twice.
    """
    if _declared or "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    import torch

    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))
        except OSError:  # linked to a CUDA that this torch does not have: declare the operators instead
            continue
        return
    declarations = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        declarations.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(declarations)
