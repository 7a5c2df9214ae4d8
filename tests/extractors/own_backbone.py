"""A backbone in a file of its own: the mean colour of each picture, through a small random layer."""

from fractions import Fraction

import numpy as np

from cuebank.extractors import AtRate, Card, MediaError, Needs, PictureDemand, PictureShape, Rows
from cuebank.store import FeatureSpec, Recipe, Timebase, feature_set_name

CARDS = (Card("colour", "colour", "pictures", 25, dim=8, layers=1, row_rate_hz="25", licence="MIT", tiny=True),)


def load(card, settings):
    return Colour(card, settings)


class Colour:
    def __init__(self, card, settings):
        rate = Fraction(settings.rate_hz or card.rate_hz)
        self.card, self.pooling = card, settings.pooling
        self.needs = Needs(pictures=PictureDemand(AtRate(rate), PictureShape("exact", 32, 32)))
        self.matrix = np.random.default_rng(settings.seed).standard_normal((3, card.dim)).astype(np.float32)
        weights = {"source": "random", "seed": settings.seed, "sha256": None}
        steps = ({"step": "pictures", **self.needs.pictures.to_json()},)
        tag = f"random-{settings.seed}"
        self.specs = [
            FeatureSpec(
                name=feature_set_name(card.name, tag, layer, settings.pooling),
                kind="numeric",
                dim=card.dim,
                dtype=settings.dtype,
                timebase=Timebase(rate, Fraction(0), 1 / rate) if settings.pooling == "none" else None,
                recipe=Recipe(card.name, weights, layer, settings.pooling, steps, settings.precision),
            )
            for layer in settings.layers
        ]

    def begin(self):
        return Work(self)


class Work:
    def __init__(self, owner):
        self.owner, self.blocks = owner, []

    def add(self, pictures):
        colours = pictures.frames.mean((1, 2), dtype=np.float64).astype(np.float32)  # (N, 3)
        self.blocks.append((colours @ self.owner.matrix, pictures.times, pictures.valid))

    def finish(self):
        values, times, valid = (np.concatenate(parts) for parts in zip(*self.blocks, strict=True))
        if self.owner.pooling == "mean":
            if not valid.any():
                raise MediaError("A mean was asked for.", "No picture is valid.", "Leave the clip out.")
            values, times, valid = values[valid].mean(0)[None], times[valid].mean()[None], np.ones(1, bool)
        return [Rows(values, times, valid)] * len(self.owner.specs)
