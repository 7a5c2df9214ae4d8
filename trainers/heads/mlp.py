"""Multi-layer perceptron over the concatenated means of any inputs: SEMPI's fusion head.

Source: SEMPI engagement baseline (ICMI 2024), written independently from a description and checked against
recorded outputs. State-dict names are the original's (`extra_mlp.0.*`, `out.fc1.*`, …), without the entries of
layers that are not used. What differs: coded integers became words, and missing inputs are simply not in the inputs.

Features, OpenFace through a projection -> fc1 -> dropout -> activation -> fc2 -> dropout -> activation -> fc3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...store.errors import BadInput
from .. import openface
from ._base import Head, HeadCard
from ._layers import Affine, drop, masked_mean

ROLES = ("video", "audio", "text", "openface")  # order of concatenation; other roles follow, by name
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
}
# expnum values for which the original leaves out fc2 but still applies the activation twice.
_ONE_LAYER = (1, 3, 4, 10)
# The original's `openfacefeat` and `ablation` as words.
_OPENFACE = ("none", "all", "AU", "pose", "pose+AU", "gaze")
_ABLATIONS = {
    0: ROLES,
    1: ("audio", "text", "openface"),
    2: ("video", "text", "openface"),
    3: ("video", "audio", "openface"),
    4: ("video", "audio", "text"),
    5: ("openface", "video"),
    7: ("audio", "text"),
}


@dataclass(frozen=True)
class MlpConfig:
    """Settings of the head; the defaults are those of SEMPI's published command.

    Args:
        hidden_size: width of the hidden layers.
        activation: `tanh`, `relu` or `leaky_relu` (slope 0.01).
        dropout: probability, before each activation; 0 <= p < 1.
        dropout_on_output: drop the outputs too (while training).
        second_layer: False leaves out fc2; the activation is applied twice all the same, as in the original.
        openface_projection_dim: width of a layer of its own for OpenFace; None concatenates its columns as they
            are. Its activation is tanh with `tanh`, leaky ReLU with any other.
        openface_columns: `none`, `all`, `AU`, `pose`, `pose+AU` or `gaze`; all but `none` and `all` need the
            329 columns.
        order: order of concatenation; default: video, audio, text, openface, then others by name.
    """

    hidden_size: int = 32
    activation: str = "tanh"
    dropout: float = 0.1
    dropout_on_output: bool = True
    second_layer: bool = True
    openface_projection_dim: int | None = 64
    openface_columns: str = "all"
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("openface_columns", self.openface_columns, openface.COLUMN_SETS),
        ):
            if value not in known:
                raise BadInput(
                    "A head `mlp` was described.", f"Its {name} is {value!r}.", f"Use one of {', '.join(known)}."
                )
        sizes = (self.hidden_size, 1 if self.openface_projection_dim is None else self.openface_projection_dim)
        if not (min(sizes) >= 1 and 0 <= self.dropout < 1):
            raise BadInput(
                "A head `mlp` was described.",
                f"Found hidden_size={self.hidden_size}, openface_projection_dim={self.openface_projection_dim}, "
                f"dropout={self.dropout}.",
                "Sizes are 1 or more, and 0 <= dropout < 1.",
            )


class Mlp(Head):
    """The network of `MlpConfig`."""

    stackable: ClassVar[bool] = True
    columns: Tensor | None

    def __init__(self, input_dims: Mapping[str, int], outputs: int, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        self.roles = _roles(input_dims, config)
        self.activation = ACTIVATIONS[config.activation]
        dims = {role: input_dims[role] for role in self.roles}
        self.extra_mlp: nn.Sequential | None = None
        positions = None
        if "openface" in dims:
            positions = _selected(dims["openface"], config.openface_columns)
            dims["openface"] = dims["openface"] if positions is None else len(positions)
            if config.openface_projection_dim is not None:
                projection = Affine(dims["openface"], config.openface_projection_dim)
                self.extra_mlp = nn.Sequential(projection)
                dims["openface"] = config.openface_projection_dim
        self.register_buffer("columns", positions, persistent=False)
        layers = {"fc1": Affine(sum(dims.values()), config.hidden_size)}
        if config.second_layer:
            layers["fc2"] = Affine(config.hidden_size, config.hidden_size)
        layers["fc3"] = Affine(config.hidden_size, outputs)
        self.out = nn.ModuleDict(layers)
        self.outputs = outputs

    def dropout_sites(self) -> dict[str, tuple[int, float]]:
        """Return the two hidden layers, and the outputs if they are dropped too."""
        config = self.config
        sites = {"hidden1": config.hidden_size, "hidden2": config.hidden_size}
        if config.dropout_on_output:
            sites["output"] = self.outputs
        return {name: (width, config.dropout) for name, width in sites.items()} if config.dropout else {}

    def forward(
        self,
        features: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None = None,
        times: Mapping[str, Tensor] | None = None,
        entities: Tensor | None = None,
        dropout: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return (B, outputs); see `Head.forward`. Rows are averaged under their mask; times have no effect."""
        p, drawn = self.config.dropout, dropout or {}
        hidden = self.out["fc1"](*(self._input(role, features[role], masks) for role in self.roles))  # (B, hidden)
        hidden = self.activation(drop(hidden, drawn.get("hidden1"), p, self.training))
        if self.config.second_layer:
            hidden = self.out["fc2"](hidden)
        hidden = self.activation(drop(hidden, drawn.get("hidden2"), p, self.training))
        result: Tensor = self.out["fc3"](hidden)  # (B, outputs)
        if self.config.dropout_on_output:
            result = drop(result, drawn.get("output"), p, self.training)
        return result

    def _input(self, role: str, values: Tensor, masks: Mapping[str, Tensor] | None) -> Tensor:
        """Return what enters fc1 for one role, (B, D)."""
        if masks is not None and role in masks:
            values = masked_mean(values, masks[role])
        if role != "openface":
            return values
        if self.columns is not None:
            values = values.index_select(-1, self.columns)
        if self.extra_mlp is None:
            return values
        projected: Tensor = self.extra_mlp(values)
        return torch.tanh(projected) if self.config.activation == "tanh" else functional.leaky_relu(projected)


def from_sempi_options(options: Mapping[str, Any]) -> tuple[MlpConfig, int]:
    """Translate the original program's options into ours.

    Args:
        options: its command line as a mapping (`hidden_size`, `expnum`, `openfacefeat`, `ablation`, …).

    Returns:
        The settings, whose `order` lists the inputs that the original would use; and the number of outputs.

    Raises:
        BadInput: for an ablation that does not exist.

    Example:
        >>> config, outputs = from_sempi_options({"hidden_size": 32.0, "expnum": 4, "num_labels": 1})
        >>> config.second_layer, config.order, outputs
        (False, ('video', 'audio', 'text'), 1)
    """
    ablation, columns = int(options.get("ablation", 0)), _OPENFACE[int(options.get("openfacefeat", 0))]
    if ablation not in _ABLATIONS:
        raise BadInput("SEMPI's options were read.", f"There is no ablation {ablation}.", "Use 0-5 or 7.")
    roles = tuple(role for role in _ABLATIONS[ablation] if role != "openface" or columns != "none")
    config = MlpConfig(
        hidden_size=int(options.get("hidden_size", 128)),
        activation=str(options.get("activation_fn", "tanh")),
        dropout=float(options.get("dropout", 0.1)),
        dropout_on_output=bool(options.get("extra_dropout", 0)),
        second_layer=int(options.get("expnum", 0)) not in _ONE_LAYER,
        openface_projection_dim=int(options["openfacefeat_extramlp_dim"])
        if options.get("openfacefeat_extramlp")
        else None,
        openface_columns=columns,
        order=roles,
    )
    return config, int(options.get("num_labels", 3))


def _roles(input_dims: Mapping[str, int], config: MlpConfig) -> tuple[str, ...]:
    """Return the roles in the order of concatenation."""
    known = [role for role in ROLES if role in input_dims]
    usual = (*known, *sorted(input_dims.keys() - set(ROLES)))
    if config.openface_columns == "none":
        usual = tuple(role for role in usual if role != "openface")
    roles = usual if config.order is None else config.order
    if sorted(roles) != sorted(usual) or not roles:
        raise BadInput(
            "A head `mlp` was built.",
            f"Its inputs are {', '.join(usual) or 'none'}, and its order is {', '.join(roles) or 'empty'}.",
            "The order names each input once (openface only if its columns are not `none`).",
        )
    return roles


def _selected(dim: int, name: str) -> Tensor | None:
    """Return the positions of a subset of OpenFace's columns; None for all of them."""
    if name == "all":
        return None
    if dim != len(openface.columns()):
        raise BadInput(
            f"The OpenFace columns `{name}` were to be chosen.",
            f"The feature set has {dim} columns, not the {len(openface.columns())} of OpenFace's CSV.",
            "Use --set openface_columns=all with it.",
        )
    return torch.tensor(openface.subset(name))


CARD = HeadCard(
    name="mlp",
    title="Multi-layer perceptron over pooled inputs (SEMPI's fusion head)",
    config=MlpConfig,
    build=Mlp,
)
