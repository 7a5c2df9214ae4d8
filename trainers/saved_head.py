"""A trained head on disk: `head.safetensors` with all numbers, `head.json` with what they mean.

One training run makes several heads, one per fold and seed; all are kept, each with the scalings fitted on its
own training rows, and `predict` averages them. Tensors are called `<member>/<state-dict name>` and
`<member>/scaling.<role>.shift|scale|offset`; the int64 tensor `seen` holds a hash of every clip that any member
was trained on or selected by. Nothing is ever unpickled, and loading is strict: every tensor that the head needs,
in its shape, and no other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..store import BadInput, Corrupt, CuebankError, FeatureSpec, Key, NotFound
from . import heads
from .atomic import make_folder, write_atomic
from .features import Scaling
from .heads._base import Head
from .options import configure

# 2: heads for rows with a label each, and heads with several outputs, which a reader of 1 would apply wrongly.
FORMATS = (1, 2)
TENSORS, SETTINGS = "head.safetensors", "head.json"
SHOWN = 5  # wrong tensors named in a message


@dataclass(frozen=True, eq=False)
class Member:
    """One of the heads that were trained together.

    Args:
        name: of its run, e.g. `seed0.fold1`.
        state: state dict.
        scalings: by role, fitted on its training rows.
    """

    name: str
    state: Mapping[str, Tensor]
    scalings: Mapping[str, Scaling]


@dataclass(frozen=True, eq=False)
class SavedHead:
    """Everything that is needed to apply a head.

    Args:
        task, task_version, target, kind: what it predicts.
        classes: names by class id; empty for regression.
        head: name of its card. config: its settings. outputs: how many.
        inputs: role -> description of the feature set that it was trained on.
        members: at least one.
        seen: hashes of the clips that members were trained on or selected by, (N,) int64, sorted.
        names: of several outputs.
        clock: for heads that predict rows: `labels`, the label set whose rows they were trained on, `align` and `rate`,
            how inputs are put on them, and `scope`, whose rows belong together. None for heads that predict clips.
    """

    task: str
    task_version: int
    target: str
    kind: str
    classes: tuple[str, ...]
    head: str
    config: Any
    outputs: int
    inputs: Mapping[str, FeatureSpec]
    members: tuple[Member, ...]
    seen: npt.NDArray[np.int64]
    names: tuple[str, ...] = ()
    clock: Mapping[str, Any] | None = None

    @property
    def format(self) -> int:
        """The lowest format that says all of this."""
        return 2 if self.names or self.clock is not None else 1

    def new(self) -> Head:
        """Build a head of this kind, with whatever weights; torch's global generator is left as it was."""
        dims = {role: spec.dim for role, spec in self.inputs.items()}
        with torch.random.fork_rng(devices=[]):
            return heads.head(self.head).build(dims, self.outputs, self.config)

    def saw(self, keys: Iterable[Key]) -> npt.NDArray[np.bool_]:
        """Return for each clip whether a member was trained on it or selected by it."""
        return np.isin(hashes(keys), self.seen)

    def write(self, folder: Path) -> None:
        """Write both files; each appears whole or not at all, and `load` tells if they are not of one run."""
        from safetensors.torch import save

        tensors = {"seen": torch.from_numpy(self.seen)}
        for member in self.members:
            tensors |= {f"{member.name}/{name}": value.contiguous() for name, value in member.state.items()}
            for role, scaling in member.scalings.items():
                tensors |= {f"{member.name}/{name}": value for name, value in _scaling_tensors(role, scaling).items()}
        content = save(tensors)
        settings = {
            "format": self.format,
            "task": self.task,
            "task_version": self.task_version,
            "target": self.target,
            "kind": self.kind,
            "classes": list(self.classes),
            "head": self.head,
            "head_config": dataclasses.asdict(self.config),
            "outputs": self.outputs,
            "inputs": {role: spec.to_json() for role, spec in self.inputs.items()},
            "members": [{"name": one.name, "scalings": list(one.scalings)} for one in self.members],
            "sha256": hashlib.sha256(content).hexdigest(),
            **({"names": list(self.names), "clock": self.clock} if self.format > 1 else {}),
        }
        make_folder(folder)
        write_atomic(folder / TENSORS, content)
        write_atomic(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")


def hashes(keys: Iterable[Key]) -> npt.NDArray[np.int64]:
    """Return 64 bits of a hash of each key: enough to recognise a clip, without its name."""
    digests = [hashlib.sha256(json.dumps([key.clip_id, key.entity_id]).encode()).digest()[:8] for key in keys]
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def load(folder: str | Path) -> SavedHead:
    """Read a head.

    Args:
        folder: that `train-head` wrote.

    Raises:
        NotFound: if there is no head, or it is of a kind that this version does not know.
        BadInput: if `head.json` is not what cuebank writes.
        Corrupt: if the tensors do not belong to it, or are not those that the head needs.
    """
    folder = Path(folder)
    asked = f"The head in `{folder}` was loaded."
    for name in (SETTINGS, TENSORS):
        if not (folder / name).is_file():
            raise NotFound(asked, f"There is no {name}.", "Give the folder that `cuebank train-head` wrote.")
    content = (folder / TENSORS).read_bytes()
    try:
        settings = json.loads((folder / SETTINGS).read_bytes())
        found, digest = settings["format"], settings["sha256"]
        if found not in FORMATS:
            known = " and ".join(map(str, FORMATS))
            raise BadInput(asked, f"Its format is {found!r}, and this version reads {known}.", "Update cuebank.")
        if hashlib.sha256(content).hexdigest() != digest:
            raise Corrupt(asked, f"{TENSORS} is not the file that {SETTINGS} speaks of.", "Train the head again.")
        return _read(settings, content, asked)
    except CuebankError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(asked, f"{SETTINGS} is damaged: {error!r}.", "Train the head again.") from error


def _read(settings: Mapping[str, Any], content: bytes, asked: str) -> SavedHead:
    """Put a head together from the two files."""
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise Corrupt(asked, f"{TENSORS} is damaged: {error}.", "Train the head again.") from error
    config: Any = configure(heads.head(settings["head"]).config, settings["head_config"], f"Head `{settings['head']}`")
    saved = SavedHead(
        task=str(settings["task"]),
        task_version=int(settings["task_version"]),
        target=str(settings["target"]),
        kind=str(settings["kind"]),
        classes=tuple(map(str, settings["classes"])),
        head=str(settings["head"]),
        config=config,
        outputs=int(settings["outputs"]),
        inputs={role: FeatureSpec.from_json(spec) for role, spec in settings["inputs"].items()},
        members=(),
        seen=tensors["seen"].numpy() if "seen" in tensors else np.empty(0, dtype=np.int64),
        names=tuple(map(str, settings.get("names", ()))),
        clock=_clock(settings.get("clock")),
    )
    named = {str(one["name"]): [str(role) for role in one["scalings"]] for one in settings["members"]}
    _check(tensors, _expected(saved, named), asked)
    members = []
    for name, roles in named.items():
        own = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        scalings = {
            role: Scaling(
                own.pop(f"scaling.{role}.shift"),
                own.pop(f"scaling.{role}.scale"),
                float(own.pop(f"scaling.{role}.offset")),
            )
            for role in roles
        }
        members.append(Member(name, own, scalings))
    return dataclasses.replace(saved, members=tuple(members))


def _clock(found: Any) -> dict[str, Any] | None:
    """Return how rows are put on a clock, as it was written; raises KeyError or TypeError if it is not all there."""
    if found is None:
        return None
    return {name: found[name] for name in ("labels", "fingerprint", "align", "rate", "scope")}


def _scaling_tensors(role: str, scaling: Scaling) -> dict[str, Tensor]:
    return {
        f"scaling.{role}.shift": scaling.shift,
        f"scaling.{role}.scale": scaling.scale,
        f"scaling.{role}.offset": torch.tensor(scaling.offset),
    }


def _expected(saved: SavedHead, members: Mapping[str, list[str]]) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of all tensors that there must be."""
    state = {name: tuple(value.shape) for name, value in saved.new().state_dict().items()}
    shapes: dict[str, tuple[int, ...]] = {"seen": tuple(saved.seen.shape)}
    for member, roles in members.items():
        shapes |= {f"{member}/{name}": shape for name, shape in state.items()}
        for role in roles:
            dim = (saved.inputs[role].dim,)
            shapes |= {f"{member}/scaling.{role}.{part}": dim for part in ("shift", "scale")}
            shapes[f"{member}/scaling.{role}.offset"] = ()
    return shapes


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], asked: str) -> None:
    """Refuse tensors that are missing, superfluous or of another shape."""
    wrong = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    wrong += [f"{name} is not part of the head" for name in tensors.keys() - expected.keys()]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if wrong or not any("/" in name for name in expected):
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        found = "; ".join(sorted(wrong)[:SHOWN]) or "there is no member"
        raise Corrupt(asked, f"Its tensors do not fit: {found}{more}.", "Train the head again.")
