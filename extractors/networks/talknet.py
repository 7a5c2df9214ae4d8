"""TalkNet whole: from MFCCs and grey faces to a verdict on each video frame.

Source: Tao et al., "Is Someone Speaking?" (TalkNet), ACM MM 2021 (MIT licence), written from a description; names of
tensors are the original's, so that its checkpoints load strictly. What differs: tracks of a batch do not see each other
(see `talknet_visual`).
"""

from __future__ import annotations

from torch import Tensor

from .talknet_audio import AudioEncoder
from .talknet_back import TalkNetBack
from .talknet_visual import embed_faces, visual_modules


class TalkNet(TalkNetBack):
    """The whole network: encoders, back end and three classifiers. 15,743,451 parameters without the classifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.model.update({**visual_modules(spare=True), "audioEncoder": AudioEncoder()})

    def embed_audio(self, mfcc: Tensor) -> Tensor:
        """Return (B, T, 128) from MFCCs (B, 4T, 13)."""
        rows: Tensor = self.model["audioEncoder"](mfcc)
        return rows

    def embed_faces(self, faces: Tensor, joined: bool = False) -> Tensor:
        """Return (B, T, 128) from grey faces (B, T, 112, 112), 0..255; `joined`: as one film, as the original does."""
        return embed_faces(self.model, faces, joined)
