"""Settings of the head `partial`, and which network a stored input is the inside of.

A feature set's columns alone say which backbone they belong to: the maps of the known networks have different sizes at
the places where SEMPI's backbones are cut, and so have the rows of their texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ...extractors.networks.i3d_shape import POOLED, I3dShape
from ...extractors.networks.roberta_shape import RobertaShape
from ...store.errors import BadInput, NotFound, nearest
from .mlp import MlpConfig

AUTO = "auto"
TRAINABLE = ("video", "text")  # roles whose backbone has a part that can be trained
I3DS = {"i3d": I3dShape(), "i3d-tiny": I3dShape(divide=8, side=64)}
ROBERTAS = {
    "roberta-base": RobertaShape(),
    "roberta-large": RobertaShape(dim=1024, layers=24, heads=16, ffn=4096),
    "roberta-tiny": RobertaShape(dim=48, layers=2, heads=4, ffn=96),
}
# Both lie below Mixed_5b; between them is a pool, which has no parameters.
USUAL = ("MaxPool3d_5a_2x2", "Mixed_4f")
TOP = "Mixed_5c"
NORMS = ("batch", "running")
MAX_PICTURES = 256  # of one window, as the extractors allow; for finding out what a wrong width would fit


@dataclass(frozen=True)
class PartialConfig(MlpConfig):
    """Settings of the head; the defaults are those of SEMPI's published command (`expnum` 8).

    Args:
        trained: roles whose backbone's top is trained, of `video` and `text`; None: both, as far as they are inputs.
            Other inputs enter the fusion as they do in `mlp`.
        frozen: beginnings of names of parameters that stay as they are, e.g. `video_enc.Mixed_5c`; None: none.
        video_network: `i3d` or `i3d-tiny`; `auto`: the one that the columns fit.
        video_boundary: the end point that is stored, e.g. `Mixed_5b`; what lies behind it is trained. `auto`:
            `MaxPool3d_5a_2x2` or `Mixed_4f`, below Mixed_5b, whichever the columns fit.
        video_pictures: that went through the network together.
        video_norm: in training, batch norms take the statistics of the batch and keep running ones (`batch`, as
            SEMPI's run), or take the running ones and leave them alone (`running`, as in evaluation).
        video_weights: safetensors file, or folder with `model.safetensors`, of the whole network or its top, as
            `import-weights` writes it; None: start from random weights.
        text_network: `roberta-base`, `roberta-large` or `roberta-tiny`; `auto`: the one that the columns fit.
        text_layers: how many of the last blocks are trained; stored are the rows of the block below.
        text_dropout: in these blocks, while training; 0 <= p < 1.
        text_weights: as `video_weights`; a folder that transformers saved will do.

    Raises:
        NotFound: for a name that does not exist.
        BadInput: for a number out of range.
    """

    trained: tuple[str, ...] | None = None
    frozen: tuple[str, ...] | None = None
    video_network: str = AUTO
    video_boundary: str = AUTO
    video_pictures: int = 16
    video_norm: str = "batch"
    video_weights: str | None = None
    text_network: str = AUTO
    text_layers: int = 2
    text_dropout: float = 0.1
    text_weights: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = "A head `partial` was described."
        choices = [
            ("video_network", self.video_network, (AUTO, *I3DS)),
            ("video_boundary", self.video_boundary, (AUTO, *boundaries())),
            ("video_norm", self.video_norm, NORMS),
            ("text_network", self.text_network, (AUTO, *ROBERTAS)),
            *(("trained", role, TRAINABLE) for role in self.trained or ()),
        ]
        for name, value, known in choices:
            if value not in known:
                raise NotFound(asked, f"Its {name} is {value!r}.", nearest(value, list(known)))
        if not (1 <= self.video_pictures <= MAX_PICTURES and self.text_layers >= 1 and 0 <= self.text_dropout < 1):
            raise BadInput(
                asked,
                f"Found video_pictures={self.video_pictures}, text_layers={self.text_layers}, "
                f"text_dropout={self.text_dropout}.",
                f"There are 1 to {MAX_PICTURES} pictures, 1 or more layers, and 0 <= text_dropout < 1.",
            )


class StoredMap(NamedTuple):
    """What a row of video is.

    network: name. shape: its measures. boundary: the end point that is stored. size: of its map, (C, T, H, W).
    width: of what the average behind Mixed_5c gives, flat.
    """

    network: str
    shape: I3dShape
    boundary: str
    size: tuple[int, int, int, int]
    width: int


def boundaries() -> list[str]:
    """Return the end points of an I3D behind which there is something to train."""
    names = [point.name for point in I3dShape().end_points()]
    return names[: names.index(TOP)]


def stored_map(dim: int, config: PartialConfig) -> StoredMap:
    """Find out of which map a row of video is the numbers.

    Args:
        dim: columns of the feature set.
        config: says what is known.

    Raises:
        BadInput: if the columns are no such map.

    Example:
        >>> stored_map(832 * 2 * 7 * 7, PartialConfig())[2:]
        ('MaxPool3d_5a_2x2', (832, 2, 7, 7), 1024)
    """
    points = list(USUAL) if config.video_boundary == AUTO else [config.video_boundary]
    networks = list(I3DS) if config.video_network == AUTO else [config.video_network]
    for network in networks:
        for found in _maps(network, config.video_pictures):
            if found.boundary in points and math.prod(found.size) == dim:
                return found
    raise BadInput(
        f"The head `partial` was to train the top of an I3D ({' or '.join(networks)}) behind "
        f"{' or '.join(points)}, over {config.video_pictures} pictures.",
        f"The feature set has {dim} columns{_expected(networks, points, config.video_pictures)}.",
        f"{_advice(dim)} Or leave video as it is: --set trained=text.",
    )


def stored_tokens(dim: int, config: PartialConfig) -> tuple[str, RobertaShape]:
    """Find out whose tokens' rows these are: the name of the network, and its measures.

    Raises:
        BadInput: if no known network has so many columns, or so many layers below.

    Example:
        >>> stored_tokens(768, PartialConfig())[0]
        'roberta-base'
    """
    asked = f"The head `partial` was to train the last {config.text_layers} layers of a RoBERTa."
    for name in list(ROBERTAS) if config.text_network == AUTO else [config.text_network]:
        shape = ROBERTAS[name]
        if shape.dim == dim:
            break
    else:
        known = ", ".join(f"{name} {shape.dim}" for name, shape in ROBERTAS.items())
        raise BadInput(
            asked,
            f"The feature set of the text has {dim} columns, the networks have other widths ({known}).",
            "Extract rows of tokens of such a network; or leave the text as it is: --set trained=video.",
        )
    if config.text_layers >= shape.layers:
        raise BadInput(
            asked,
            f"{name} has {shape.layers}, and what is stored are the rows of a layer below.",
            f"Use --set text_layers=1 to {shape.layers - 1}.",
        )
    return name, shape


def _maps(network: str, pictures: int) -> Iterator[StoredMap]:
    """Yield all maps of a network over so many pictures, the usual ones first."""
    shape = I3DS[network]
    sizes = shape.outputs((pictures, shape.side, shape.side))
    if POOLED in sizes:
        for name in (*USUAL, *(name for name in boundaries() if name not in USUAL)):
            yield StoredMap(network, shape, name, sizes[name], math.prod(sizes[POOLED]))


def _expected(networks: list[str], points: list[str], pictures: int) -> str:
    """Say which columns there should be."""
    found = [one for network in networks for one in _maps(network, pictures) if one.boundary in points]
    if not found:
        return ", and so few pictures do not get through the network"
    words = [f"{math.prod(one.size)} ({one.network}, {' x '.join(map(str, one.size))})" for one in found]
    return f", not {' or '.join(words)}"


def _advice(dim: int) -> str:
    """Say what so many columns would be, if they are any map; the usual number of pictures first."""
    counts = sorted(range(1, MAX_PICTURES + 1), key=lambda count: count != PartialConfig.video_pictures)
    for count in counts:
        for network in I3DS:
            for one in _maps(network, count):
                if math.prod(one.size) == dim:
                    return (
                        f"They fit {one.boundary} of {network} over {count} pictures: if they are that, use --set "
                        f"video_boundary={one.boundary} --set video_pictures={count}."
                    )
    return f"Extract it: cuebank extract --backbone i3d --layer {USUAL[0]} --slots 16 --slot-rule sempi."
