"""Late fusion of any inputs by a Perceiver: ViPER's head exactly, and small ones.

Source: Jaegle et al., "Perceiver IO", 2021, as transformers has it (Apache-2.0); ViPER (MuSe 2022), written from a
description and checked against recorded outputs. With `size=viper` the state dict has the original's names and nothing
else. What differs: inputs that an item lacks are masked (there: stored as zeros), and the sizes `small` and
`medium` exist, which know the time and the input of a token.

Rows -> slots -> tokens -> latents attend to them -> self-attention -> one query attends to the latents -> linear.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...extractors.networks.speech import import_transformers
from ...store.errors import BadInput
from ._base import Head, HeadCard
from ._inputs import ordered
from ._perceiver_config import PerceiverHeadConfig, Shape
from ._perceiver_slots import Placed, place
from ._perceiver_tokens import JoinedTokens, PresentNorm, SeparateTokens

ROLES = ("video", "audio", "text", "fau")  # ViPER's order on the feature axis; other roles follow, by name
SITE = "modality"
FILLED_TO = 8


class Perceiver(Head):
    """The network of `PerceiverHeadConfig`.

    Raises:
        MissingExtra: if transformers is not installed.
        BadInput: if the order does not name each input once.
    """

    takes: ClassVar[str] = "rows"

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: PerceiverHeadConfig) -> None:
        super().__init__()
        self.config, shape = config, config.shape()
        self.by_time = shape.place == "time"
        self.roles = ordered("perceiver", input_dims, config.order, ROLES)
        dims = {role: input_dims[role] for role in self.roles}
        self.tokens: SeparateTokens | JoinedTokens
        if shape.tokens == "joined":
            # Where heads share the token's width, it must be a multiple of their number; ViPER fills up to 8.
            multiple = 1 if shape.attention_dim else math.lcm(FILLED_TO, shape.heads)
            self.tokens = JoinedTokens(dims, multiple, config.slots, shape.time_encoding)
        else:
            self.tokens = SeparateTokens(
                dims, shape.latent_dim, config.slots, shape.time_encoding, shape.modality_encoding
            )
        model = _transformers_model(shape, self.tokens.width, outputs, config.dropout)
        self.embeddings, self.encoder, self.decoder = model.embeddings, model.encoder, model.decoder
        self.encoder.cross_attention.attention.self.layernorm2 = PresentNorm(self.tokens.width)

    def dropout_sites(self) -> dict[str, tuple[int, float]]:
        """Return the inputs, of which an item may lose some; attention weights are dropped by torch's generator."""
        p = self.config.modality_dropout
        return {SITE: (len(self.roles), p)} if p else {}

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); see `Head.forward`. nan for an item without any valid row."""
        if entities is not None:
            raise BadInput(
                "The head `perceiver` was given rows that have a label each.",
                "It predicts one thing for all rows of an item.",
                "Use a head for rows, e.g. --head temporal-gnn, or a task of unit `clip`.",
            )
        inputs = {role: features[role] for role in self.roles}
        placed = self._kept(place(inputs, masks, times, self.config.slots, self.by_time), dropout)
        tokens, there = self.tokens(placed)  # (B, N, W), (B, N)
        attended = tokens.new_zeros(there.shape).masked_fill(~there, torch.finfo(tokens.dtype).min)[:, None, None]
        latents = self.embeddings(batch_size=tokens.shape[0])
        latents = self.encoder(latents, inputs=tokens, inputs_mask=attended).last_hidden_state
        logits: Tensor = self.decoder(self.decoder.decoder_query(tokens), z=latents).logits  # (B, outputs)
        return torch.where(there.any(1, keepdim=True), logits, torch.nan)

    def _kept(self, placed: dict[str, Placed], dropout: Mapping[str, Tensor] | None) -> dict[str, Placed]:
        """Take inputs away from items in training; an item that would lose all that it has keeps them all."""
        p = self.config.modality_dropout
        if not (self.training and p):
            return placed
        present = torch.stack([one.there.any(1) for one in placed.values()], 1)  # (B, inputs)
        drawn = (dropout or {}).get(SITE)
        kept = torch.rand(present.shape, device=present.device) >= p if drawn is None else drawn > 0
        kept = kept | ~(kept & present).any(1, keepdim=True)
        return {
            role: dataclasses.replace(one, there=one.there & kept[:, i : i + 1])
            for i, (role, one) in enumerate(placed.items())
        }


def _transformers_model(shape: Shape, width: int, outputs: int, dropout: float) -> Any:
    """Return transformers' Perceiver with a decoder of one query, freshly initialised."""
    transformers = import_transformers("The head `perceiver`")
    from transformers.models.perceiver.modeling_perceiver import PerceiverClassificationDecoder

    config = transformers.PerceiverConfig(
        num_latents=shape.latents,
        d_latents=shape.latent_dim,
        d_model=width,
        num_blocks=1,
        num_self_attends_per_block=shape.layers,
        num_self_attention_heads=shape.heads,
        num_cross_attention_heads=shape.heads,
        qk_channels=shape.attention_dim or None,
        v_channels=shape.latent_dim if shape.attention_dim else None,
        attention_probs_dropout_prob=dropout,
        num_labels=outputs,
    )
    query = {"num_channels": shape.latent_dim, "index_dims": 1}
    decoder = PerceiverClassificationDecoder(
        config, num_channels=shape.latent_dim, trainable_position_encoding_kwargs=query, use_query_residual=True
    )
    return transformers.PerceiverModel(config, decoder=decoder)


CARD = HeadCard(
    name="perceiver",
    title="Perceiver over inputs on a grid of slots (small by default; size=viper is ViPER's)",
    config=PerceiverHeadConfig,
    build=Perceiver,
)
