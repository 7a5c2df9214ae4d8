"""The context head of Active Speakers in Context: attention over a grid of moments and speakers, then an LSTM.

Source: Alcázar et al., "Active Speakers in Context", CVPR 2020, written from a description; names of tensors are the
original's.

B is faces in question, L moments around each, S speakers (the one in question first), C columns.
"""

from __future__ import annotations

from torch import Tensor, nn

MOMENTS, SPEAKERS, HIDDEN, COLUMNS = 11, 3, 128, 1024


class GridAttention(nn.Module):
    """Attention of all cells of the grid to all cells.

    Args:
        columns: C.
        hidden: columns in which cells are compared.
    """

    def __init__(self, columns: int, hidden: int) -> None:
        super().__init__()
        for name in ("theta", "phi", "gamma"):
            self.add_module(name, nn.Conv2d(columns, hidden, 1))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(hidden))
        self.omega, self.omega_bn = nn.Conv2d(hidden, columns, 1), nn.BatchNorm2d(columns)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L, S) to the same."""
        theta, phi, gamma = (
            self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)).flatten(2)  # (B, hidden, L * S)
            for name in ("theta", "phi", "gamma")
        )
        likeness = theta.transpose(1, 2) @ phi  # (B, L * S, L * S)
        # One softmax over all pairs of cells, as published, not one for each cell.
        weights = likeness.flatten(1).softmax(1).view_as(likeness)
        seen = gamma @ weights.transpose(1, 2)  # (B, hidden, L * S)
        result: Tensor = self.omega_bn(self.omega(seen.view(*seen.shape[:2], *x.shape[2:]))) + x
        return result


class AscContext(nn.Module):
    """From a grid of embeddings to logits of the face in its middle.

    Args:
        columns: of audio and visual embedding together, audio first, C.
        outputs: logits of each face.
        moments, speakers: of the grid, L and S.
        hidden: columns of attention and LSTM.
    """

    def __init__(
        self,
        columns: int = COLUMNS,
        outputs: int = 2,
        moments: int = MOMENTS,
        speakers: int = SPEAKERS,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        self.sat = GridAttention(columns, hidden)
        self.lstm = nn.LSTM(columns, hidden, batch_first=True)
        self.fc_final = nn.Linear(moments * speakers * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) from embeddings (B, C, L, S)."""
        cells = self.sat(x).flatten(2).transpose(1, 2)  # (B, L * S, C): moment after moment
        rows, _ = self.lstm(cells)  # (B, L * S, hidden)
        logits: Tensor = self.fc_final(rows.flatten(1))
        return logits
