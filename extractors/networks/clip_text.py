"""What CLIP makes of texts: their tokens, their embeddings, and how similar pictures are to them.

Source: Radford et al. 2021; tokenizer and network of open_clip (MIT). See `clip_image` for the network itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .clip_image import ClipNetwork, open_clip
from .clip_shape import VOCABULARY, ClipShape


def tokenize(texts: Sequence[str], shape: ClipShape) -> torch.Tensor:
    """Return tokens by open_clip's tokenizer: lower case, a start, an end, zeros; cut if too long (its end kept).

    Args:
        texts: P of them.
        shape: of the network.

    Returns:
        (P, context) int64.

    Raises:
        ValueError: if the network has another vocabulary than the tokenizer.
    """
    if shape.vocabulary != VOCABULARY:
        raise ValueError(f"the network knows {shape.vocabulary} tokens, the tokenizer {VOCABULARY}")
    tokens: torch.Tensor = open_clip().tokenizer.SimpleTokenizer(context_length=shape.context)(list(texts))
    return tokens


def embed(network: ClipNetwork, tokens: torch.Tensor) -> torch.Tensor:
    """Return the embeddings of texts, as the projection gives them.

    Args:
        network: with weights, built with `texts`.
        tokens: (P, context) int64; the largest of each row is its end.

    Returns:
        (P, embed) float32.
    """
    embedding: torch.Tensor = network.encode_text(tokens)  # (P, embed)
    return embedding.float()


def similarities(pictures: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the cosine of each picture with each text.

    In float64, each row by itself: matrix products may round differently with the number of rows.

    Args:
        pictures: (B, embed). texts: (P, embed).

    Returns:
        (B, P) float32.

    Example:
        >>> similarities(np.array([[3.0, 4.0]]), np.array([[-3.0, -4.0], [4.0, -3.0]])).tolist()
        [[-1.0, 0.0]]
    """
    one, other = _unit(pictures), _unit(texts)
    rows = [(other * row).sum(1) for row in one]  # each (P,)
    return np.array(rows, np.float32).reshape(len(one), len(other))


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, np.float64)
    unit: np.ndarray = wide / np.maximum(np.sqrt((wide * wide).sum(1, keepdims=True)), 1e-12)
    return unit
