"""LoCoNet whole: from log-mel spectra and the grey faces of several speakers to a verdict on each face.

Source: Wang et al., "LoCoNet", CVPR 2024, written from a description; names of tensors are the original's, so that its
checkpoints load strictly. What differs: speakers of a scene do not see each other before the back end (see
`talknet_visual`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .loconet_audio import AudioEncoder
from .loconet_back import LAYERS, SPEAKERS, LoCoNetBack
from .talknet_visual import embed_faces, visual_modules


class LoCoNet(LoCoNetBack):
    """The whole network: encoders, back end and classifiers. 34,331,845 parameters without the classifiers."""

    def __init__(self, speakers: int = SPEAKERS, layers: int = LAYERS) -> None:
        super().__init__(speakers=speakers, layers=layers)
        self.model.update({**visual_modules(spare=False), "audioEncoder": AudioEncoder()})

    def embed_audio(self, log_mel: Tensor) -> Tensor:
        """Return (B, T, 128) from log-mel spectra (B, 1, 4T, 64)."""
        rows: Tensor = self.model["audioEncoder"](log_mel)
        return rows

    def embed_faces(self, faces: Tensor, joined: bool = False) -> Tensor:
        """Return (B, S, T, 128) from grey faces (B, S, T, 112, 112), 0..255; `joined`: as one film, as published."""
        rows = embed_faces(self.model, faces.flatten(0, 1), joined)
        return rows.view(*faces.shape[:3], -1)


def without_wrapper(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under our names: those of published files begin with `model.module.`.

    Example:
        >>> list(without_wrapper({"model.module.model.convAV.0.ln.bias": Tensor(2)}))
        ['model.convAV.0.ln.bias']
    """
    return {name.removeprefix("model.module."): tensor for name, tensor in tensors.items()}
