"""Make a head that `predict` takes out of the last layers of a SEMPI fusion checkpoint.

Source: SEMPI engagement baseline (ICMI 2024). A checkpoint has the layers' numbers, but says neither which of its
inputs they were trained on nor with which activation. The inputs follow from the widths, given those of the features;
where several sets of inputs have the same width, the original's option must be said. The activation and whether the
second layer is skipped cannot be told: the original's defaults, which are those of its published command, are taken
unless other ones are said, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..store.errors import BadInput, nearest
from ..store.recipe import FeatureSpec
from . import openface, tasks
from .features import fixed_min_max
from .heads.mlp import MlpConfig, from_sempi_options
from .saved_head import Member, SavedHead

MEMBER = "original"  # name of the only member
OPTIONS = ("ablation", "activation_fn", "expnum", "openfacefeat")  # of the original's command line, that may be said
PROJECTION = "extra_mlp.0"
_ABLATIONS = (0, 1, 2, 3, 4, 5, 7)
_ASKED = "The head of a SEMPI checkpoint was to be imported."


def import_head(
    tensors: Mapping[str, Tensor],
    dims: Mapping[str, int],
    describe: Callable[[str], FeatureSpec],
    *,
    options: Mapping[str, str] | None = None,
    openface_norm: str | Path | None = None,
) -> tuple[SavedHead, list[str]]:
    """Return the head, and sentences on what was assumed.

    Args:
        tensors: by the original's names, `out.*` and, where OpenFace has a layer of its own, `extra_mlp.*`.
        dims: of the features of each role that there may be.
        describe: gives the feature set that the head expects for a role; asked only for those that it looks at.
        options: some of `OPTIONS`, as the original's command line had them.
        openface_norm: the original's two fixed vectors, an .npz file with `min_vec` and `max_vec`.

    Raises:
        BadInput: if names or shapes are not those of such a head, or it cannot be told which inputs it takes.
        NotFound: if there is no such file of vectors.
    """
    said = _numbers(options or {})
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    config, outputs = _fitting(shapes, dims, said)
    roles = config.order or ()
    inputs = {role: describe(role) for role in roles}
    scalings = {}
    if "openface" in roles:
        if openface_norm is None:
            raise BadInput(
                _ASKED,
                "It looks at OpenFace columns that were scaled by two fixed vectors, which are not in the checkpoint.",
                "Give them with --openface-norm FILE (an .npz with min_vec and max_vec), or add --no-head.",
            )
        scalings["openface"] = fixed_min_max(openface_norm, dims["openface"])
    task = tasks.task("engagement" if outputs == 1 else "engagement-class")
    saved = SavedHead(
        task=task.name,
        task_version=task.version,
        target=", ".join(task.targets),
        kind=task.kind,
        classes=() if outputs == 1 else tuple(str(i) for i in range(outputs)),
        head="mlp",
        config=config,
        outputs=outputs,
        inputs=inputs,
        members=(),
        seen=np.empty(0, dtype=np.int64),
    )
    state = _state(saved.new().state_dict(), tensors)
    member = Member(MEMBER, state, scalings)
    left_out = sorted(tensors.keys() - state.keys())
    return SavedHead(**{**vars(saved), "members": (member,)}), _notes(config, said, left_out)


def _numbers(options: Mapping[str, str]) -> dict[str, Any]:
    """The original's options that were said, checked."""
    said: dict[str, Any] = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise BadInput(_ASKED, f"The option {name!r} was said of it.", nearest(name, list(OPTIONS)))
        try:
            said[name] = value if name == "activation_fn" else int(value)
        except ValueError as error:
            raise BadInput(_ASKED, f"{name} is {value!r}.", "Give a whole number, as the original has it.") from error
    if not 0 <= said.get("openfacefeat", 0) < len(openface.COLUMN_SETS):
        raise BadInput(_ASKED, f"openfacefeat is {said['openfacefeat']}.", "The original knows 0 to 5.")
    return said


def _fitting(shapes: Mapping[str, tuple[int, ...]], dims: Mapping[str, int], said: Mapping[str, Any]) -> Any:
    """The settings, and how many outputs, of the one head that has these widths."""
    first, last = shapes.get("out.fc1.weight", ()), shapes.get("out.fc3.weight", ())
    if len(first) != 2 or len(last) != 2:
        raise BadInput(_ASKED, "It lacks out.fc1.weight or out.fc3.weight.", "Give the whole checkpoint, or --no-head.")
    found: dict[tuple[Any, ...], tuple[MlpConfig, int]] = {}
    ways = []
    projection = shapes.get(f"{PROJECTION}.weight")
    for ablation in [said["ablation"]] if "ablation" in said else _ABLATIONS:
        for columns in range(len(openface.COLUMN_SETS)):
            options = {
                "expnum": 8,
                "extra_dropout": 1,
                **said,
                "ablation": ablation,
                "openfacefeat": columns,
                "hidden_size": first[0],
                "num_labels": last[0],
                "openfacefeat_extramlp": int(projection is not None),
                "openfacefeat_extramlp_dim": projection[0] if projection else 0,
            }
            if said.get("openfacefeat", columns) != columns:
                continue
            config, outputs = from_sempi_options(options)
            count = len(openface.subset(config.openface_columns))
            fits = projection is None or (len(projection) == 2 and projection[1] == count)
            if fits and _width(config, dims, count) == first[1]:
                key = (config.order, config.openface_columns if "openface" in (config.order or ()) else "none")
                if key not in found:
                    ways.append(f"ablation={ablation} (looks at {', '.join(config.order or ())})")
                found.setdefault(key, (config, outputs))
    if len(found) == 1:
        return next(iter(found.values()))
    widths = ", ".join(f"{role} {dim}" for role, dim in dims.items())
    if found:
        raise BadInput(
            _ASKED,
            f"Its first layer takes {first[1]} numbers, which fits: {'; '.join(ways)}.",
            "Say which it was trained with: --set ablation=NUMBER.",
        )
    what = f", OpenFace's layer is {projection}" if projection else ""
    raise BadInput(
        _ASKED,
        f"Its first layer takes {first[1]} numbers{what}, which no set of its inputs has ({widths}).",
        "Check --set, or leave the head out with --no-head.",
    )


def _width(config: MlpConfig, dims: Mapping[str, int], columns: int) -> int:
    """Numbers that enter the first layer."""
    own = columns if config.openface_projection_dim is None else config.openface_projection_dim
    return sum(own if role == "openface" else dims[role] for role in config.order or ())


def _state(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the head needs, float32; others than those of layers that it does not use are refused."""
    unused = ("out.fc2.weight", "out.fc2.bias", f"{PROJECTION}.weight", f"{PROJECTION}.bias")
    wrong = [f"missing: {name}" for name in expected if name not in tensors]
    wrong += [f"not wanted: {name}" for name in tensors if name not in expected and name not in unused]
    wrong += [
        f"shape: {name} is {tuple(tensors[name].shape)}, the head has {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    wrong += [
        f"values: {name} is {tensor.dtype}, or has NaN or infinity"
        for name, tensor in tensors.items()
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all())
    ]
    if wrong:
        raise BadInput(
            _ASKED,
            "Its tensors do not fit:\n  " + "\n  ".join(wrong[:12]) + "\n",
            "Check --set, or leave the head out with --no-head.",
        )
    return {name: tensors[name].float().clone().contiguous() for name in expected}


def _notes(config: MlpConfig, said: Mapping[str, Any], left_out: list[str]) -> list[str]:
    notes = []
    assumed = []
    if "activation_fn" not in said:
        assumed.append(f"activation_fn={config.activation}")
    if "expnum" not in said:
        assumed.append("expnum=8 (the second layer is used)")
    if assumed:
        notes.append(
            f"The checkpoint does not say {' and '.join(assumed)}: the original's defaults were assumed. If it was "
            "trained otherwise, say so with --set, or its predictions are wrong."
        )
    if left_out:
        notes.append(f"Not used by the head: {', '.join(left_out)}.")
    if "video" in (config.order or ()):
        notes.append(
            "The head was trained on pictures of aligned faces (256 x 256), one file for each clip: extract its "
            "video features from such, not from the whole picture."
        )
    return notes
