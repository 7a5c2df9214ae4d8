"""The trainable tops of two backbones: from stored rows with a mask to one vector for each item.

B is items in a batch, T rows of one item. The networks are those of `extractors.networks`, from the stored place on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...extractors.networks.i3d import I3dNetwork
from ...extractors.networks.i3d_shape import POOLED
from ...extractors.networks.roberta_shape import RobertaShape
from ...extractors.networks.roberta_top import RobertaTop
from ...store.errors import BadInput
from ._layers import masked_mean
from ._partial_config import StoredMap

CHUNK = 64  # maps of one forward in evaluation; bounds memory, changes no result


class I3dTop(I3dNetwork):
    """An I3D behind a stored map: (B, T, D) rows, each a flat map, to (B, W), the mean over an item's rows.

    Args:
        stored: of which map a row is the numbers.
        norm: `batch` or `running`, see `PartialConfig`.
    """

    def __init__(self, stored: StoredMap, norm: str) -> None:
        super().__init__(stored.shape, until=POOLED, after=stored.boundary)
        self.size, self.norm = stored.size, norm

    def train(self, mode: bool = True) -> I3dTop:
        """Set training or evaluation, batch norms as `norm` says."""
        super().train(mode)
        if self.norm == "running":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm3d):
                    module.eval()
        return self

    def per_item(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Return (B, W).

        Args:
            rows: (B, T, D).
            mask: (B, T); other rows do not go through, so that batch norms do not see them.
        """
        maps = rows[mask].unflatten(1, self.size)  # (n, C, T', H, W)
        # Statistics are of a whole batch; without them, and without gradients, any part of it will do.
        parts = maps.split(CHUNK) if not (self.training or torch.is_grad_enabled()) else (maps,)
        vectors = torch.cat([self(part, [POOLED])[POOLED].flatten(1) for part in parts])  # (n, W)
        spread = vectors.new_zeros(*mask.shape, vectors.shape[1])
        spread[mask] = vectors
        return masked_mean(spread, mask)


class RobertaTokens(RobertaTop):
    """The last blocks of a RoBERTa: (B, T, D) rows of tokens to (B, D), the mean over an item's tokens.

    Args:
        name: of the network, for messages.
        shape, count, dropout: see `RobertaTop`.
    """

    def __init__(self, name: str, shape: RobertaShape, count: int, dropout: float) -> None:
        super().__init__(shape, count, dropout)
        self.name, self.most = name, shape.max_tokens

    def per_item(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Return (B, D).

        Raises:
            BadInput: if an item has more rows than the network reads together: they are those of several texts, which
                did not see each other in the blocks below.
        """
        longest = int(mask.sum(1).max())
        if longest > self.most:
            raise BadInput(
                f"The head `partial` was given {longest} rows of a text.",
                f"{self.name} reads {self.most} tokens together: these are several texts in one series.",
                "Extract one text for each clip (--text sempi, or a table column), or use --set trained=video.",
            )
        return masked_mean(self(torch.where(mask.unsqueeze(-1), rows, 0.0), mask), mask)
