"""Settings of the head `perceiver`, and the sizes that they start from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ...store.errors import BadInput, nearest

TOKENS = ("separate", "joined")
PLACES = ("time", "rows")
TIME_ENCODINGS = ("none", "slots", "seconds")
_ASKED = "A head `perceiver` was described."


@dataclass(frozen=True)
class Shape:
    """What a size decides; every number can be changed by the setting of the same name.

    Args:
        latents: learned vectors that attend to the tokens, 1 or more.
        latent_dim: their width, a multiple of `heads`.
        layers: self-attention layers among the latents, 0 or more.
        heads: of the first attention and of the self-attention.
        attention_dim: width of queries and keys, a multiple of `heads`; values have `latent_dim` then. 0: all three
            have the tokens' width in the first attention and the latents' width in the others, as transformers has it.
        tokens: `separate`: one token for each slot of each input, of width `latent_dim`. `joined`: one token for each
            slot, the columns of all inputs side by side.
        place: `time`: a row goes to the slot of its time. `rows`: row k is slot k.
        time_encoding: `none`, `slots` (which slot) or `seconds` (mean time of the slot's rows).
        modality_encoding: add a learned vector that says which input a token is of; `separate` tokens only.
    """

    latents: int
    latent_dim: int
    layers: int
    heads: int
    attention_dim: int
    tokens: str
    place: str
    time_encoding: str
    modality_encoding: bool


SIZES = {
    # One layer: with 256 planted items, two fit the noise sooner than they follow what changes within an item.
    "small": Shape(16, 64, 1, 4, 64, "separate", "time", "slots", True),
    # About 3 million parameters: the small variant that ViPER's specification names.
    "medium": Shape(32, 256, 4, 8, 256, "separate", "time", "slots", True),
    # transformers' default configuration, 283.4 million parameters with ViPER's four inputs.
    "viper": Shape(256, 1280, 26, 8, 0, "joined", "rows", "none", False),
}


@dataclass(frozen=True)
class PerceiverHeadConfig:
    """Settings of the head; None means what the size says (see `Shape`).

    Args:
        size: `small`, `medium` or `viper`.
        latents, latent_dim, layers, heads, attention_dim, tokens, place, time_encoding, modality_encoding: see
            `Shape`.
        slots: of the grid that rows are put on, 1 or more.
        dropout: probability, on the attention weights; 0 <= p < 1.
        modality_dropout: probability that an item is trained on without an input; at least one input stays.
        order: of the inputs; default: video, audio, text, fau, then others by name.

    Raises:
        BadInput: for a word that is not known, and for numbers out of range or that do not fit together.
    """

    size: str = "small"
    latents: int | None = None
    latent_dim: int | None = None
    layers: int | None = None
    heads: int | None = None
    attention_dim: int | None = None
    tokens: str | None = None
    place: str | None = None
    time_encoding: str | None = None
    modality_encoding: bool | None = None
    slots: int = 32
    dropout: float = 0.1
    modality_dropout: float = 0.0
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise BadInput(_ASKED, f"Its size is {self.size!r}.", nearest(self.size, list(SIZES)))
        shape = self.shape()
        for name, value, known in (
            ("tokens", shape.tokens, TOKENS),
            ("place", shape.place, PLACES),
            ("time_encoding", shape.time_encoding, TIME_ENCODINGS),
        ):
            if value not in known:
                raise BadInput(_ASKED, f"Its {name} is {value!r}.", f"Use one of {', '.join(known)}.")
        counts = (shape.latents, shape.latent_dim, shape.heads, self.slots)
        if not (min(counts) >= 1 and min(shape.layers, shape.attention_dim) >= 0):
            raise BadInput(
                _ASKED,
                f"Found latents={shape.latents}, latent_dim={shape.latent_dim}, layers={shape.layers}, "
                f"heads={shape.heads}, attention_dim={shape.attention_dim}, slots={self.slots}.",
                "Layers and attention_dim are 0 or more, the others 1 or more.",
            )
        if shape.latent_dim % shape.heads or shape.attention_dim % shape.heads:
            raise BadInput(
                _ASKED,
                f"latent_dim={shape.latent_dim} or attention_dim={shape.attention_dim} is no multiple of "
                f"heads={shape.heads}.",
                "Each head takes an equal share of them: make both multiples of it.",
            )
        if not (0 <= self.dropout < 1 and 0 <= self.modality_dropout < 1):
            raise BadInput(
                _ASKED,
                f"Found dropout={self.dropout}, modality_dropout={self.modality_dropout}.",
                "Both are at least 0 and below 1.",
            )
        if shape.tokens == "joined" and shape.modality_encoding:
            raise BadInput(
                _ASKED,
                "It was to have modality encodings, and tokens that hold all inputs.",
                "Use --set tokens=separate, or leave modality_encoding out.",
            )

    def shape(self) -> Shape:
        """Return the size, with the settings that were given in place of its own.

        Example:
            >>> PerceiverHeadConfig(latents=8).shape().latents, PerceiverHeadConfig().shape().latents
            (8, 16)
        """
        base = SIZES[self.size]
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Shape)}
        if given["tokens"] == "joined" and given["modality_encoding"] is None:
            given["modality_encoding"] = False  # which input a column is of, its place says
        return Shape(**{name: getattr(base, name) if value is None else value for name, value in given.items()})
