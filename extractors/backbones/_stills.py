"""What all backbones that look at one picture at a time do alike: which pictures, batches, times, and what is recorded.

Pictures of one clip go through the network together; batches never cross clips, so a clip's rows depend on nothing but
the clip. More than that: a picture's row shall not depend on its place among the others, nor on how many they are. It
was tried on a CPU (AMD EPYC with AVX-512, one and two threads, fp32 and bf16, batches of 1 to 32, all places): in ViT
not a bit changed. In CLIP the last bits did in batches of fewer than 4 (2e-6; with bf16, 2e-2): matrix products of few
rows are rounded otherwise. So families can ask for batches of one fixed size on CPUs, the last of a clip filled up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ...store.timebase import Timebase
from ..base import Card, ExtractorSettings, Needs, Pictures, Rows
from ..errors import MediaError
from ..media.demand import AtRate, PictureDemand, Slots, picture_rate
from ._circumstances import circumstances
from ._look import Look

# Neighbouring pictures of a video look alike to a network that knows no movement, and each costs 4 to 80 GFLOP: one a
# second keeps what changes in a scene or a face's bearing, and is 25 times cheaper than all. `rate_hz` asks for more.
RATE_HZ = 1
# Eight are fastest on a CPU (ViT-B/16: 13 % less time than one or 32: the blocks' inner values still fit into its
# caches), a GPU wants more. Four where the last batch is filled up: less is wasted on short clips.
BATCH = {"cpu": 8}
BATCH_FILLED = {"cpu": 4}
BATCH_ELSEWHERE = 32
MAX_BYTES = 1 << 30  # of one clip's rows
PACKAGES = ("torch", "transformers", "open_clip_torch", "av", "pillow", "numpy")
MOMENT_S = Fraction(1, 1000)  # a picture's support on the clock: a moment, which a timebase gives some length

Forward = Callable[[np.ndarray], list[np.ndarray]]  # (B, H, W, 3) uint8 to one (B, D) float32 for each output


class Output(NamedTuple):
    """One feature set of a network.

    layer: as it was asked for. dim: columns. steps: of the recipe, after those of the input.
    """

    layer: str
    dim: int
    steps: tuple[dict[str, Any], ...] = ()


class Loaded(NamedTuple):
    """What the extractor has of a loaded network.

    look: at pictures. forward: through the network. outputs: one for each layer asked for. weights: what the recipe
    says of them. tag: what they are called in names. version: of the family's code. pooling: what is done with a
    picture's tokens, `none` for the family's own. unhashed: what else is recorded. filled: whether batches on CPUs
    must be of one size.
    """

    look: Look
    forward: Forward
    outputs: Sequence[Output]
    weights: dict[str, Any]
    tag: str
    version: int
    pooling: str = "none"
    unhashed: Mapping[str, Any] = {}
    filled: bool = False


class StillExtractor:
    """A loaded backbone over single pictures; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: pictures, layers, precision and the rest.
        loaded: the network and what is known of it.
    """

    def __init__(self, card: Card, settings: ExtractorSettings, loaded: Loaded) -> None:
        self.card = card
        self.settings = settings
        self.loaded = loaded
        rate = picture_rate(settings.rate_hz or str(card.rate_hz))
        self._sampling = AtRate(rate) if settings.slots is None else Slots(settings.slots, settings.slot_rule)
        self.demand = PictureDemand(self._sampling, loaded.look.shape)
        self.needs = Needs(pictures=self.demand)
        self.specs: Sequence[FeatureSpec] = [self._spec(output) for output in loaded.outputs]

    def _spec(self, output: Output) -> FeatureSpec:
        settings, loaded, sampling = self.settings, self.loaded, self._sampling
        pooling, timebase = loaded.pooling, None
        if isinstance(sampling, AtRate):
            timebase = Timebase(sampling.rate_hz, Fraction(0), MOMENT_S)
        else:  # another name than that of pictures at a rate: both can lie in one store
            slots = f"{sampling.rule}{sampling.count}"
            pooling = slots if pooling == "none" else f"{pooling}-{slots}"
        return FeatureSpec(
            name=feature_set_name(self.card.name, loaded.tag, output.layer, pooling),
            kind="numeric",
            dim=output.dim,
            dtype=settings.dtype,
            timebase=timebase,
            recipe=Recipe(
                backbone=self.card.name,
                weights=loaded.weights,
                layer=output.layer,
                pooling=pooling,
                preprocessing=(
                    {"step": "pictures", **self.demand.to_json()},
                    *loaded.look.steps(),
                    *output.steps,
                ),
                precision=settings.precision,
                extractor_version=loaded.version,
                unhashed={**circumstances(*PACKAGES, device=settings.device), **loaded.unhashed},
            ),
        )

    def begin(self) -> StillWork:
        """Begin a clip."""
        return StillWork(self)


class StillWork:
    """The way of one clip's pictures through the network; follows the `PictureWork` protocol.

    Args:
        extractor: whose network and outputs these are.
    """

    def __init__(self, extractor: StillExtractor) -> None:
        self._extractor = extractor
        kind, filled = extractor.settings.device.split(":")[0], extractor.loaded.filled
        self._filled = filled and kind in BATCH_FILLED
        batch = (BATCH_FILLED if filled else BATCH).get(kind, BATCH_ELSEWHERE)
        width, height = extractor.loaded.look.shape.final or (0, 0)
        self._waiting = np.empty((batch, height, width, 3), np.uint8)
        self._count = 0  # of those that wait
        self._rows: list[list[np.ndarray]] = [[] for _ in extractor.specs]
        self._times: list[np.ndarray] = []
        self._valid: list[np.ndarray] = []

    def add(self, pictures: Pictures) -> None:
        """Take the next block of pictures; see `PictureWork.add`."""
        wanted = self._waiting.shape[1:]
        if pictures.frames.shape[1:] != wanted:
            raise BadInput(
                f"Pictures of shape {pictures.frames.shape[1:]} were given to {self._extractor.card.name}.",
                f"It wants {wanted[1]} x {wanted[0]} pixels of three colours.",
                "Decode what the backbone's `needs` state.",
            )
        self._times.append(np.array(pictures.times, np.float64))
        self._valid.append(np.array(pictures.valid, bool))
        at = 0
        while at < len(pictures.frames):
            taken = pictures.frames[at : at + len(self._waiting) - self._count]
            self._waiting[self._count : self._count + len(taken)] = taken  # the block is not ours to keep
            self._count += len(taken)
            at += len(taken)
            if self._count == len(self._waiting):
                self._run()

    def _run(self) -> None:
        """Put the pictures that wait through the network."""
        count, self._count = self._count, 0
        self._waiting[count:] = 0
        made = self._extractor.loaded.forward(self._waiting if self._filled else self._waiting[:count])
        for rows, values in zip(self._rows, made, strict=True):
            rows.append(values[:count])
        held = sum(part.nbytes for rows in self._rows for part in rows)
        if held > MAX_BYTES:
            raise MediaError(
                f"Layers {', '.join(self._extractor.settings.layers)} of {self._extractor.card.name} were asked for "
                "over a long clip.",
                f"After {sum(len(part) for part in self._rows[0])} pictures they fill {held / 2**30:.1f} GiB, the most "
                "that is kept of one clip.",
                "Cut the clip with the columns start and end, or ask for fewer pictures, fewer layers or less of each.",
            )

    def finish(self) -> list[Rows]:
        """Return the rows of each output; see `PictureWork.finish`."""
        if self._count:
            self._run()
        if not self._rows[0] or not any(part.any() for part in self._valid):
            raise MediaError(
                f"A clip was to go through {self._extractor.card.name}.",
                "It has no picture at any of the moments that were chosen.",
                "Leave the clip out, give it a longer span, or choose more pictures.",
            )
        times, valid = np.concatenate(self._times), np.concatenate(self._valid)
        return [Rows(np.concatenate(rows), times, valid) for rows in self._rows]
