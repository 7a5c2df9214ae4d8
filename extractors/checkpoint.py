"""Read weights without ever running what is read: safetensors, or torch files with `weights_only`.

Pickles may hold only tensors, plain containers and the fixed list of harmless things below; the classes of fairseq and
omegaconf are replaced by stand-ins that keep their contents and do nothing. Everything else is refused, by name.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import pickle
import re
import typing
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import WeightsError

MAX_DIFFERENCES = 12  # shown of a mismatch; the rest is counted
MAX_NODES = 10_000  # of configuration; published files have some hundred

_STAND_IN_NAMES = (
    "fairseq.data.dictionary.Dictionary",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")),
)
# How files begin that are often taken for weights.
_NOT_WEIGHTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned"),
    (b"<", "a web page or XML: the download went wrong"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
)


class StandIn:
    """In place of a class that is not here, and shall not be: keeps what the pickle says of it."""

    def __init__(self, *args: Any) -> None:
        del args

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _harmless() -> list[Any]:
    """What a pickle may name besides tensors: the argument of `torch.serialization.safe_globals`."""
    return [
        argparse.Namespace,
        collections.defaultdict,
        np.dtype,
        *(getattr(np.dtypes, name) for name in ("Float64DType", "Float32DType", "Int64DType", "BoolDType")),
        _numpy_scalar("numpy.core.multiarray"),
        _numpy_scalar("numpy._core.multiarray"),
        typing.Any,
        dict,
        list,
        int,
        *(_stand_in(*name.rsplit(".", 1)) for name in _STAND_IN_NAMES),
    ]


def _stand_in(module: str, name: str) -> type[StandIn]:
    """A stand-in that pickles find under the name of an absent class."""
    return type(name, (StandIn,), {"__module__": module})


def _numpy_scalar(module: str) -> Any:
    """The function that unpickles numpy's scalars, under the module name of numpy 1 or 2, whichever is installed."""
    unpickle: Any = np.float64(0).__reduce__()[0]

    def scalar(dtype: Any, data: bytes) -> Any:
        return unpickle(dtype, data)

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    return scalar


def read_file(path: Path) -> Any:
    """Return what a file of weights holds: a dict of tensors, or the dict of a checkpoint that has them inside.

    The kind of file is told by its first bytes, not by its name. Tensors are on the CPU, and may be views of the file.

    Raises:
        WeightsError: if it is missing, damaged, no weights, or a pickle that wants to run something.
    """
    asked = f"Weights were to be read from `{path}`."
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        raise WeightsError(asked, f"That failed: {error.strerror}.", "Give a file that can be read.") from error
    for start, what in _NOT_WEIGHTS:
        if head.startswith(start):
            raise WeightsError(asked, f"It is {what}.", "Give the file of weights.")
    if len(head) > 9 and head[8:9] == b"{":  # a length of 8 bytes, then JSON
        return _read_safetensors(path, asked)
    return _read_torch(path, asked, zipped=head.startswith(b"PK\x03\x04"))


def _read_safetensors(path: Path, asked: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Any] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(asked, f"It is a damaged safetensors file: {error}.", "Fetch it again.") from error
    return tensors


def _read_torch(path: Path, asked: str, zipped: bool) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            # About newer pickle protocols: what cannot be read is refused below, and said in our words.
            warnings.simplefilter("ignore", UserWarning)
            # Mapped, the optimiser's state (two thirds of a published file) is never read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        wanted = re.findall(r"GLOBAL (\S+) (?:was not|whose module)", str(error))
        if not wanted and "nsupported" not in str(error):
            raise _damaged(asked, error) from error
        named = f"It asks for `{wanted[0]}`" if wanted else "It has instructions that plain weights do not need"
        raise WeightsError(
            asked,
            f"{named}, which could run a program. It was refused, and nothing was run.",
            "Use a safetensors file, or a checkpoint from a source that you trust.",
        ) from error
    # A damaged pickle can fail in any way that Python has.
    except Exception as error:
        raise _damaged(asked, error) from error


def _damaged(asked: str, error: Exception) -> WeightsError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return WeightsError(asked, f"It is damaged, or no file of weights: {said}", "Fetch it again.")


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes.

    Raises:
        WeightsError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"Weights were to be read from `{path}`.", f"That failed: {error.strerror}.", "Give a readable file."
        ) from error


def plain(value: Any, _seen: dict[int, Any] | None = None) -> Any:
    """Return configuration as plain dicts, lists and scalars: namespaces, stand-ins and omegaconf's nodes unwrapped.

    What refers to itself becomes None at that place, and each object is walked once: no file can make this slow.

    Example:
        >>> plain(argparse.Namespace(a=1, b={"c": (2, 3)}))
        {'a': 1, 'b': {'c': [2, 3]}}
    """
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    seen = {} if _seen is None else _seen
    if id(value) in seen or len(seen) > MAX_NODES:
        return seen.get(id(value))
    seen[id(value)] = None
    result: Any = None
    if isinstance(value, StandIn):
        inside = value.__dict__
        result = plain(inside.get("_content", inside.get("_val")), seen)
    elif isinstance(value, argparse.Namespace):
        result = plain(vars(value), seen)
    elif isinstance(value, Mapping):
        result = {str(key): plain(item, seen) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        result = [plain(item, seen) for item in value]
    seen[id(value)] = result
    return result


def differences(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return one line for each tensor that is missing, not wanted, or of another shape; at most 13 lines.

    Example:
        >>> differences({"a": (2,), "b": (1,)}, {"a": (3,), "c": (1,)})
        ['missing: b (1,)', 'not wanted: c (1,)', 'shape: a is (3,), the network has (2,)']
    """
    lines = [f"missing: {name} {tuple(shape)}" for name, shape in expected.items() if name not in found]
    lines += [f"not wanted: {name} {tuple(shape)}" for name, shape in found.items() if name not in expected]
    lines += [
        f"shape: {name} is {tuple(found[name])}, the network has {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    rest = len(lines) - MAX_DIFFERENCES
    return lines if rest <= 0 else [*lines[:MAX_DIFFERENCES], f"and {rest} more"]


def require_match(
    what: str, source: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Check that weights and network agree in every name and shape.

    Args:
        what: name of the network, for the message.
        source: where the weights are from, for the message.
        expected, found: shapes by name.

    Raises:
        WeightsError: with the difference, line by line.
    """
    lines = differences(expected, found)
    if lines:
        raise WeightsError(
            f"`{source}` was to be loaded into {what}.",
            "They do not fit:\n  " + "\n  ".join(lines) + "\n",
            "Give weights of this network, or name the network that these belong to with --backbone.",
        )


def as_weights(source: str, name: str, tensor: Any) -> Any:
    """Return a float32 copy of a tensor, in memory of its own.

    A copy, because a view of a mapped file dies with the file, and may lie where vector instructions round differently.

    Raises:
        WeightsError: if it is no floating-point tensor, or holds NaN or infinity.
    """
    import torch

    asked = f"`{source}` was to be loaded."
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
        kind = str(tensor.dtype) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise WeightsError(asked, f"`{name}` is {kind}, not dense floats.", "Give an unquantised checkpoint.")
    copy = torch.empty(tensor.shape, dtype=torch.float32)
    copy.copy_(tensor)
    if not torch.isfinite(copy).all():
        raise WeightsError(asked, f"`{name}` holds NaN or infinity.", "Fetch it again, or use another checkpoint.")
    return copy
