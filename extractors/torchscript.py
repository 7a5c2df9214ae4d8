"""Read the tensors of a TorchScript archive without running, or even loading, the program in it.

OpenAI published CLIP as such archives: programs that are saved with their weights. torch itself will not read one with
`weights_only`. Here, only the pickle of its modules is walked, with every class replaced by a stand-in that does
nothing; any other name in it is refused, and the code is never looked at.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from .checkpoint import StandIn
from .errors import WeightsError

MAX_PICKLE = 64 << 20
MAX_DEPTH = 64  # of modules in modules
_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class _Refused(Exception):
    """The archive is not what it should be; the text says why."""


def is_torchscript(path: Path) -> bool:
    """Tell whether a file is a TorchScript archive: a zip with a program's constants beside its data."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with zipfile.ZipFile(path) as archive:
            names = {name.split("/", 1)[-1] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return {"constants.pkl", "data.pkl"} <= names


def read_torchscript(path: Path) -> dict[str, Any]:
    """Return the tensors of all modules in an archive, by the names they would have in a state dict.

    Raises:
        WeightsError: if it is damaged, or its data name anything but modules and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = _Data(archive).load()
            tensors: dict[str, Any] = {}
            _collect(root, "", tensors, 0)
    # A damaged pickle can fail in any way that Python has.
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(
            f"Weights were to be read from the TorchScript archive `{path}`.",
            f"It cannot be read: {said}. Nothing was run.",
            "Fetch it again, or use a safetensors file of the same weights.",
        ) from error
    return tensors


def _collect(module: Any, prefix: str, tensors: dict[str, Any], depth: int) -> None:
    import torch

    if depth > MAX_DEPTH:
        raise _Refused("modules lie too deep in each other")
    for name, item in vars(module).items():
        if isinstance(item, torch.Tensor):
            tensors[prefix + name] = item
        elif isinstance(item, StandIn):
            _collect(item, f"{prefix}{name}.", tensors, depth + 1)


class _Data(pickle.Unpickler):
    """Reads `data.pkl` of an archive; knows modules (as stand-ins), tensors, and nothing else."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        name = next(name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        self._folder = name.removesuffix("data.pkl")
        self._storages: dict[str, Any] = {}
        super().__init__(io.BytesIO(self._member("data.pkl", MAX_PICKLE)))

    def _member(self, name: str, most: int) -> bytes:
        info = self._archive.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
            raise _Refused(f"`{name}` is compressed, or larger than it should be")
        return self._archive.read(info)

    def load(self) -> Any:
        """Return the root module."""
        root = super().load()
        if not isinstance(root, StandIn):
            raise _Refused(f"it holds a {type(root).__name__}, not a module")
        return root

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name of the pickle."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (StandIn,), {})
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known and module != "torch.jit._pickle":
            raise _Refused(f"it asks for `{module}.{name}`, which could run a program")
        return known.get((module, name), _plain)

    def persistent_load(self, pid: Any) -> Any:
        """Return the numbers that a tensor lies in, (N,)."""
        import torch

        _, kind, key, _, count = pid
        if not isinstance(key, str) or not isinstance(count, int) or kind not in _STORAGES.values():
            raise _Refused("a tensor's numbers are described wrongly")
        if key not in self._storages:
            dtype = getattr(torch, kind)
            size = count * torch.empty(0, dtype=dtype).element_size()
            content = bytearray(self._member(f"data/{key}", size))
            if len(content) != size:
                raise _Refused(f"`data/{key}` has {len(content)} bytes instead of {size}")
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if count else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _rebuild(numbers: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    """The tensor of these measures; torch checks that it lies within its numbers."""
    return numbers.as_strided(tuple(size), tuple(stride), offset)


def _plain(value: Any = None, *_: Any) -> Any:
    """A list of numbers, or whatever else torch wraps: of no use here."""
    return value
