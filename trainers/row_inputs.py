"""The row features of one run on a device: padded batches with the run's scalings, and a head's outputs for items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .features import Scaling
from .heads._base import Head
from .row_features import RowFeatures, clear

# Padded rows per forward of an evaluation; bounds memory, changes no result. An item is never cut.
EVALUATION_ROWS = 4096


class RowInputs:
    """What a head gets of a run's items.

    Args:
        features: of all items.
        scalings: of the run, by role.
        device: torch's name of where to compute; the features are brought there, batch by batch if they are too large.
    """

    def __init__(
        self, features: RowFeatures, scalings: Mapping[str, Scaling], device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self._home = self.device if _fits(features, self.device) else torch.device("cpu")
        self.features = features.to(self._home)
        self.scalings = {role: one.to(self._home) for role, one in scalings.items()}

    def arguments(self, items: Tensor) -> dict[str, Any]:
        """Return the arguments of `Head.forward` for some items (B,)."""
        items = items.cpu()
        batches = {role: self.features.batch(role, items, self._home) for role in self.features.dims}
        for role, scaling in self.scalings.items():
            values, mask, _ = batches[role]
            clear(scaling.apply_(values), mask)
        entities = self.features.entity_batch(items, self._home)
        return {
            "features": {role: batch.values.to(self.device) for role, batch in batches.items()},
            "masks": {role: batch.mask.to(self.device) for role, batch in batches.items()},
            "times": {role: batch.times.to(self.device) for role, batch in batches.items()},
            "entities": None if entities is None else entities.to(self.device),
        }

    def outputs(self, head: Head, items: npt.NDArray[np.int64]) -> Tensor:
        """Return the head's outputs: (items, C); where it gives outputs for rows, those of all rows of the items, one
        item after the other, (rows, C).
        """
        wanted = torch.from_numpy(items)
        lengths = self.features.longest[wanted]
        begins = lengths.cumsum(0) - lengths
        result: Tensor | None = None
        for places in _batches(lengths):
            outputs = head(**self.arguments(wanted[places]))
            into = places
            if outputs.ndim == 3:
                inside = torch.arange(outputs.shape[1]) < lengths[places][:, None]
                into = (begins[places][:, None] + torch.arange(outputs.shape[1]))[inside]
                outputs = outputs[inside.to(outputs.device)]
            if result is None:
                total = int(lengths.sum()) if into is not places else len(items)
                result = outputs.new_empty(total, outputs.shape[-1])
            result[into.to(result.device)] = outputs
        if result is None:
            return torch.empty(0, 0)
        return result


def _batches(lengths: Tensor) -> Iterator[Tensor]:
    """Yield the places of items of about equal length, so that little is padded."""
    order = lengths.argsort(descending=True, stable=True)
    start = 0
    while start < len(order):
        stop = start + max(1, EVALUATION_ROWS // max(1, int(lengths[order[start]])))
        yield order[start:stop]
        start = stop


def _fits(features: RowFeatures, device: torch.device) -> bool:
    """Whether the values may lie on the device: on a GPU they may take half of what is free there."""
    if device.type != "cuda":
        return True
    return features.nbytes * 2 <= torch.cuda.mem_get_info(device)[0]
