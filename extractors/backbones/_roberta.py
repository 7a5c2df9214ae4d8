"""RoBERTa: one row per token of a text, from any layer; or one row per text.

Source: Liu et al. 2019; weights on the Hugging Face hub (MIT). One text at a time without padding, so that its rows
depend on nothing else. `mean` is over all tokens with start and end (SEMPI), `cls` the start's row (ViPER).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...store.errors import BadInput
from ..base import Card, ExtractorSettings, check_device
from ..errors import WeightsError
from ..networks.roberta_shape import RobertaShape
from ..random_weights import fill_all
from ..weights import locate
from ._layers import block_of
from ._roberta_tokens import ByteTokenizer, FileTokenizer, Tokenizer
from ._speech import inference

if TYPE_CHECKING:
    from ..networks.roberta import RobertaNetwork

SHAPES = {
    "roberta-base": RobertaShape(),
    "roberta-large": RobertaShape(dim=1024, layers=24, heads=16, ffn=4096),
    "roberta-tiny": RobertaShape(vocab=ByteTokenizer.vocab, dim=48, layers=2, heads=4, ffn=96, positions=514),
}
POOLINGS = ("none", "mean", "cls")


def _card(name: str, **published: Any) -> Card:
    shape = SHAPES[name]
    return Card(
        name=name,
        family="roberta",
        input="text",
        rate_hz=0,
        dim=shape.dim,
        layers=shape.layers,
        row_rate_hz="",
        poolings=POOLINGS,
        **published,
    )


CARDS = (
    _card(
        "roberta-base",
        weights="FacebookAI/roberta-base",
        revision="e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        tag="web160g",
        licence="MIT",
        default=True,
        notes="Trained on 160 GB of English text.",
    ),
    _card(
        "roberta-large",
        weights="FacebookAI/roberta-large",
        revision="722cf37b1afa9454edce342e7895e588b6ff1d59",
        tag="web160g",
        licence="MIT",
        notes="The same data, 24 layers.",
    ),
    _card("roberta-tiny", tiny=True, notes="The base model's code at 48 wide, tokens are bytes; random weights only."),
)


def load_encoder(card: Card, settings: ExtractorSettings, max_tokens: int | None = None) -> TextEncoder:
    """Load a RoBERTa with its tokenizer; see `registry.load` for what may be raised.

    Args:
        card: which one.
        settings: weights, layers, pooling and the rest.
        max_tokens: of one text, start and end included; None: as many as the network can take.
    """
    shape, layers = SHAPES[card.name], [block_of(card, layer) for layer in settings.layers]
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import roberta, speech
    from . import _roberta_weights

    device = check_device(settings.device)
    tensors = None
    if located.file is not None:
        tensors, shape = _roberta_weights.read(located, shape, card.name)
    most = shape.max_tokens if max_tokens is None else max_tokens
    if not 2 <= most <= shape.max_tokens:
        raise BadInput(
            f"{most} tokens of each text were asked for.",
            f"{card.name} can take 2 to {shape.max_tokens}, start and end included.",
            "Ask for as many.",
        )
    tokenizer: Tokenizer
    if located.folder is not None:
        tokenizer = FileTokenizer(located.folder, located.source, shape.vocab)
    elif card.tiny or located.file is None:  # random weights know no words
        tokenizer = ByteTokenizer()
    else:
        raise WeightsError(
            f"`{located.source}` was to be loaded into {card.name}.",
            "It has no tokenizer, without which the network cannot read.",
            "Give the folder of transformers' files that the weights belong to, with tokenizer.json.",
        )
    network = roberta.build(shape)
    if None not in layers:
        roberta.keep_layers(network, max(layer for layer in layers if layer is not None))
    needed = speech.shapes(network)
    if tensors is None:
        tensors = fill_all(needed, settings.seed)
    speech.install(network, {name: tensors[name] for name in needed}, device)
    return TextEncoder(card, settings, network, tokenizer, most, located.recipe(), located.tag)


class TextEncoder:
    """A loaded RoBERTa. Pure: text in, rows out.

    Args:
        card: which one.
        settings: layers, pooling, precision, device.
        network: with weights, on its device.
        tokenizer: text to numbers.
        max_tokens: of one text; what is longer loses its end.
        weights: what a recipe says of the weights.
        tag: what the weights are called in names.
    """

    def __init__(
        self,
        card: Card,
        settings: ExtractorSettings,
        network: RobertaNetwork,
        tokenizer: Tokenizer,
        max_tokens: int,
        weights: dict[str, Any],
        tag: str,
    ) -> None:
        self.card = card
        self.weights = weights
        self.tag = tag
        self.dim = int(network.config.hidden_size)
        self.max_tokens = max_tokens
        self._settings = settings
        self._network = network
        self._tokenizer = tokenizer
        self._layers = [block_of(card, layer) for layer in settings.layers]

    def steps(self) -> list[dict[str, Any]]:
        """Return what a recipe says of the way from text to numbers."""
        return [{"step": "tokenise", **self._tokenizer.recipe(), "max_tokens": self.max_tokens}]

    def tokens(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens, start and end included."""
        return self._tokenizer.encode(text, self.max_tokens)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return which letters of a text each token is; the start and the end are none, (0, 0)."""
        return self._tokenizer.spans(text, self.max_tokens)

    def rows(self, text: str) -> list[np.ndarray]:
        """Return the rows of a text; an empty one has a start and an end too.

        Returns:
            For each layer asked for (T, D) float32, T tokens; (1, D) where rows are pooled.
        """
        return [pooled(rows, self._settings.pooling) for rows in self.token_rows(text)]

    def token_rows(self, text: str) -> list[np.ndarray]:
        """Return (T, D) float32 of each layer, whatever pooling was asked for."""
        import torch

        from ..networks import roberta

        ids = torch.tensor([self.tokens(text)])  # (1, T)
        with inference(self._settings) as device:
            outputs = roberta.hidden(self._network, ids.to(device), None, self._layers)  # each (1, T, D)
            return [output[0].float().cpu().numpy() for output in outputs]  # each (T, D)


def pooled(rows: np.ndarray, pooling: str) -> np.ndarray:
    """Return (1, D) of (T, D) rows: their `mean`, or the start's row (`cls`); or the rows as they are (`none`)."""
    if pooling == "cls":
        return rows[:1]
    if pooling == "mean":
        # Summed in float64: the result then depends on no summation order.
        mean: np.ndarray = rows.mean(0, keepdims=True, dtype=np.float64).astype(np.float32)
        return mean
    return rows
