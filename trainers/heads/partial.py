"""SEMPI's fusion head with the trainable tops of its backbones, on what a store keeps of the frozen parts below.

Source: SEMPI engagement baseline (ICMI 2024), its published run: I3D's Mixed_5b and 5c and the last two layers of
RoBERTa are trained together with the head, HuBERT is frozen. Written independently; the networks are those that
extraction uses. State-dict names are the original's (`video_enc.Mixed_5b.…`, `text_enc.encoder.layer.10.…`, `out.…`).
What differs: the frozen parts are in evaluation mode, without dropout and with their published batch statistics, and a
clip's pictures are cut and flipped in one way only, as they are stored (there: anew in each epoch).

The store holds the activations at the boundary, in float16 if that will do. FOLDER holds the backbones' weights:

    cuebank extract --backbone i3d --weights FOLDER/video --layer MaxPool3d_5a_2x2 --slots 16 --slot-rule sempi …
    cuebank extract --backbone roberta --weights FOLDER/text --layer 10 --text sempi …
    cuebank train-head --task engagement --protocol sempi --head partial --set video_weights=FOLDER/video
        --set text_weights=FOLDER/text …

Of the original's numbers `expnum`, 8 (published) is the default, 10 is `second_layer=false`, 2 is `trained=video` with
`frozen=video_enc.Mixed_5c`, and 4 and 5 are the head `mlp`; the others train the top of HuBERT too, which is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...store.errors import BadInput, NotFound, nearest
from ._base import HeadCard
from ._partial_config import TRAINABLE, PartialConfig, stored_map, stored_tokens
from ._partial_tops import I3dTop, RobertaTokens
from ._partial_weights import start_weights
from .mlp import Mlp


class Partial(Mlp):
    """The network of `PartialConfig`.

    Raises:
        MissingExtra: if transformers is not installed, and a text's top is wanted.
        NotFound: for `frozen` that fits no parameter.
        BadInput: if an input is no such inside of a backbone.
    """

    takes: ClassVar[str] = "rows"
    stackable: ClassVar[bool] = False
    config: PartialConfig

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: PartialConfig) -> None:
        trained = _trained(input_dims, config)
        tops: dict[str, I3dTop | RobertaTokens] = {}
        dims = dict(input_dims)
        if "video" in trained:
            stored = stored_map(dims["video"], config)
            tops["video"], dims["video"] = I3dTop(stored, config.video_norm), stored.width
        if "text" in trained:
            name, shape = stored_tokens(dims["text"], config)
            tops["text"] = RobertaTokens(name, shape, config.text_layers, config.text_dropout)
        super().__init__(dims, outputs, config)
        for role, top in tops.items():
            self.add_module(f"{role}_enc", top)
        self.trained = tuple(tops)
        self._start(tops)
        _freeze(self, config.frozen or ())

    def _start(self, tops: Mapping[str, I3dTop | RobertaTokens]) -> None:
        """Put the start weights in.

        A trained head is built anew from its settings wherever it is applied, and the weights that its training started
        from need not be there: it gets its own. So a file that is absent, or another one, is an error as soon as the
        head is used without having got weights of its own.
        """
        self._refused: NotFound | BadInput | None = None
        for role, top in tops.items():
            setting = f"{role}_weights"
            source = getattr(self.config, setting)
            if source is None:
                continue
            try:
                found = start_weights(source, top.state_dict(), setting)
            except (NotFound, BadInput) as error:
                self._refused = error
            else:
                top.load_state_dict(found, strict=False)  # counters may be absent; `start_weights` allows nothing else
        self.register_load_state_dict_post_hook(_whole)

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); see `Head.forward`. Times have no effect.

        Raises:
            NotFound, BadInput: if the start weights are absent or do not fit, and the head has no others.
            BadInput: for rows that have a label each, an item that lacks an input, or a text that is too long.
        """
        if self._refused is not None:
            raise self._refused
        if entities is not None:
            raise BadInput(
                "The head `partial` was given rows that have a label each.",
                "It predicts one thing for all rows of an item.",
                "Use a head for rows, e.g. --head temporal-gnn, or a task of unit `clip`.",
            )
        given = dict(masks or {})
        for role in self.roles:
            if role in given:
                _check_there(role, given[role])
        values = dict(features)
        for role in self.trained:
            rows, mask = values[role], given.pop(role, None)
            if mask is None:  # a single row of each item
                rows, mask = rows.unsqueeze(1), torch.ones(len(rows), 1, dtype=torch.bool, device=rows.device)
            top: Any = self.get_submodule(f"{role}_enc")
            values[role] = top.per_item(rows, mask)
        return super().forward(values, given, dropout=dropout)


def _trained(input_dims: Mapping[str, int], config: PartialConfig) -> tuple[str, ...]:
    """Return the roles whose tops are to be trained."""
    wanted = TRAINABLE if config.trained is None else config.trained
    found = tuple(role for role in wanted if role in input_dims)
    if not found or (config.trained is not None and found != config.trained):
        raise BadInput(
            f"A head `partial` was to train the tops of {' and '.join(wanted) or 'nothing'}.",
            f"Its inputs are {', '.join(input_dims) or 'none'}.",
            "Name those that are inputs (--set trained=video,text), or use --head mlp, which trains no backbone.",
        )
    return found


def _freeze(head: Partial, beginnings: tuple[str, ...]) -> None:
    parameters = dict(head.named_parameters())
    for beginning in beginnings:
        found = [p for name, p in parameters.items() if name == beginning or name.startswith(f"{beginning}.")]
        if not found:
            parts = {name.rsplit(".", cut)[0] for name in parameters for cut in range(name.count(".") + 1)}
            raise NotFound(
                f"`{beginning}` of a head `partial` was to be frozen.",
                "None of its parameters is called so, or begins so.",
                nearest(beginning, sorted(parts)),
            )
        for parameter in found:
            parameter.requires_grad_(False)


def _check_there(role: str, mask: Tensor) -> None:
    """Refuse items without any valid row."""
    there = mask.any(1)
    if not bool(there.all()):
        raise BadInput(
            f"The head `partial` was given {len(there)} items.",
            f"{int((~there).sum())} of them have no valid row of the input `{role}`, without which it has no output.",
            "Leave these clips out of the table (--clips), the input away (--input), or use --head perceiver.",
        )


def _whole(head: Any, keys: Any) -> None:
    """Note that a head has got all its weights."""
    if not keys.missing_keys:
        head._refused = None


CARD = HeadCard(
    name="partial",
    title="SEMPI's fusion head with trainable tops of I3D and RoBERTa, on stored activations below them",
    config=PartialConfig,
    build=Partial,
)
