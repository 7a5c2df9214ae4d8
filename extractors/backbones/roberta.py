"""RoBERTa over what is said in a clip: one row per token, or one per clip; or one per picture, of prompts.

Source: Liu et al. 2019; weights on the Hugging Face hub (MIT). Where texts come from is a setting (`text`, on the
command line `--text`), see `extractors.text_source`. `last` is the model's own output, a number k the output of block
k; pooling `mean` is over all tokens with start and end (SEMPI), `cls` the start's row (ViPER).

Texts of several rows (transcripts) go through together as far as they fit, as one text, and then in further parts with
a start and an end of their own; a single text that is too long loses its end, as in both systems. A token's time is
where it lies in the span of its row, as if letters took equally long; the start has the first moment of its part, the
end the last. Of prompts chosen for pictures there is one row per picture: each prompt is computed once, when loading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...store.clips_table import Clip, ClipsTable
from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ..base import Card, ExtractorSettings, Needs, Rows
from ..text_source import Passage, StoredPassages, TextSource, text_source
from . import _roberta
from ._roberta import CARDS, TextEncoder, pooled
from ._speech import speech_circumstances

if TYPE_CHECKING:
    from ..imported import Imported
    from ..weights import LocatedWeights

__all__ = ["CARDS", "RobertaExtractor", "import_checkpoint", "load", "prompt_table"]

VERSION = 1  # raise it whenever the numbers change


def load(card: Card, settings: ExtractorSettings) -> RobertaExtractor | PromptExtractor:
    """Load a RoBERTa and find the texts; see `registry.load` for what may be raised."""
    source = text_source(settings.text, settings.store)
    if not isinstance(source, StoredPassages) or source.stored.prompts is None:
        return RobertaExtractor(card, settings, _roberta.load_encoder(card, settings), source)
    if settings.pooling == "none":
        raise BadInput(
            f"Rows of each token of the prompts `{source.stored.name}` chose were asked for.",
            "There is one row for each picture, of its whole prompt.",
            "Add --pooling cls (ViPER), or --pooling mean.",
        )
    return PromptExtractor(card, settings, _roberta.load_encoder(card, settings), source)


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint; see `extractors.imported`."""
    from . import _roberta_weights

    return _roberta_weights.import_checkpoint(located, _roberta.SHAPES[card.name], card.name)


def prompt_table(encoder: TextEncoder, prompts: Sequence[str]) -> list[np.ndarray]:
    """Return the embeddings of a list of prompts, each computed alone.

    Args:
        encoder: with pooling `cls` or `mean`.
        prompts: P of them.

    Returns:
        For each layer asked for (P, D) float32.
    """
    made = [encoder.rows(prompt) for prompt in prompts]  # P times, for each layer (1, D)
    return [np.concatenate(rows) for rows in zip(*made, strict=True)]


class RobertaExtractor:
    """A loaded RoBERTa with a source of texts; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: layers, pooling and the rest.
        encoder: the network with its tokenizer.
        source: where the text of a clip is.
    """

    def __init__(self, card: Card, settings: ExtractorSettings, encoder: TextEncoder, source: TextSource) -> None:
        self.card = card
        self.needs = Needs()
        self._pooling = settings.pooling
        self._encoder = encoder
        self._source = source
        tag = f"{encoder.tag}-{source.tag}" if source.tag else encoder.tag
        self.specs: Sequence[FeatureSpec] = [
            FeatureSpec(
                name=feature_set_name(card.name, tag, layer, settings.pooling),
                kind="numeric",
                dim=encoder.dim,
                dtype=settings.dtype,
                recipe=Recipe(
                    backbone=card.name,
                    weights=encoder.weights,
                    layer=layer,
                    pooling=settings.pooling,
                    preprocessing=(*source.steps, *encoder.steps()),
                    precision=settings.precision,
                    extractor_version=VERSION,
                    unhashed=speech_circumstances(settings.device),
                ),
            )
            for layer in settings.layers
        ]

    def check_table(self, table: ClipsTable) -> None:
        """Check that clips of this table can have texts.

        Raises:
            BadInput: if not.
        """
        self._source.check(table)

    def read(self, clip: Clip) -> list[Rows]:
        """Return the rows of a clip's text.

        Raises:
            MediaError: if there is no text.
        """
        parts = list(self._parts(self._source.passages(clip)))
        made = [self._encoder.token_rows(text) for text, _ in parts]  # for each part, for each layer (T, D)
        times = np.concatenate([part for _, part in parts])
        # Rows of a transcript can overlap; the store wants times that never decrease.
        times = np.maximum.accumulate(times)
        layers = [list(of_layer) for of_layer in zip(*made, strict=True)]
        if self._pooling == "none":
            return [Rows(np.concatenate(rows), times, np.ones(len(times), bool)) for rows in layers]
        middle = np.array([(times[0] + times[-1]) / 2])
        return [Rows(self._pooled(rows), middle, np.ones(1, bool)) for rows in layers]

    def _pooled(self, parts: list[np.ndarray]) -> np.ndarray:
        """(1, D) of all parts of a text: the mean over all tokens, or the mean of the parts' starts."""
        if self._pooling == "cls":
            parts = [pooled(rows, "cls") for rows in parts]
        return parts[0] if len(parts) == len(parts[0]) == 1 else pooled(np.concatenate(parts), "mean")

    def _parts(self, passages: list[Passage]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield texts that fit into the network, with the time of each token, (T,) float64."""
        waiting: list[Passage] = []
        room = self._encoder.max_tokens - 2
        for passage in passages:
            # Counted with a blank before it, as it may be written behind others.
            size = len(self._encoder.tokens(f" {passage.text}")) - 2
            if waiting and size > room:
                yield self._joined(waiting)
                waiting, room = [], self._encoder.max_tokens - 2
            waiting.append(passage)
            room -= size
        yield self._joined(waiting)

    def _joined(self, passages: list[Passage]) -> tuple[str, np.ndarray]:
        """Passages as one text, with the time of each token."""
        text, places, moments = "", [], []
        for passage in passages:
            if text and not text[-1].isspace() and not passage.text[:1].isspace():
                text += " "
            places += [len(text), len(text) + len(passage.text)]
            moments += [passage.start_s, passage.end_s]
            text += passage.text
        middles = np.array([(first + last) / 2 for first, last in self._encoder.spans(text)], np.float64)
        times = np.interp(middles, places, moments)
        times[0], times[-1] = moments[0], max(moments[-1], times[1:-1].max(initial=moments[0]))
        return text, times


class PromptExtractor(RobertaExtractor):
    """A loaded RoBERTa for prompts that were chosen for pictures: one row per picture.

    Args:
        card, settings, encoder: as for `RobertaExtractor`.
        source: which prompt was chosen.
    """

    def __init__(self, card: Card, settings: ExtractorSettings, encoder: TextEncoder, source: StoredPassages) -> None:
        super().__init__(card, settings, encoder, source)
        self._stored = source.stored
        self._tables = prompt_table(encoder, source.stored.prompts or ())

    def read(self, clip: Clip) -> list[Rows]:
        """Return the embedding of the prompt that was chosen for each picture of a clip.

        Raises:
            MediaError: if the choices of this clip are not in the store.
        """
        chosen, times, valid = self._stored.read_choices(clip)
        return [Rows(table[chosen], times, valid) for table in self._tables]
