"""Loading weights runs nothing: pickles are refused by what they ask for, damaged files by what is wrong."""

from __future__ import annotations

import argparse
import collections
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cuebank.extractors import checkpoint
from cuebank.extractors.errors import WeightsError


class Payload:
    """Pickles as a call that writes a file when it is loaded."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def attacks(target: Path) -> dict[str, Any]:
    import builtins
    import os
    import shutil
    import subprocess

    return {
        "os.system": Payload(os.system, f"touch '{target}'"),
        "exec": Payload(builtins.exec, f"open({str(target)!r}, 'w').close()"),
        "copy": Payload(shutil.copy, __file__, str(target)),
        "subprocess": Payload(subprocess.call, ["touch", str(target)]),
        "Path.touch": Payload(Path.touch, target),
    }


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("attack", ["os.system", "exec", "copy", "subprocess", "Path.touch"])
def test_a_pickle_that_would_write_a_file_is_refused_and_writes_none(tmp_path: Path, attack: str, legacy: bool) -> None:
    target, path = tmp_path / "owned", tmp_path / "model.pt"
    content = {"model": {"w": torch.zeros(2)}, "cfg": attacks(target)[attack]}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="nothing was run") as caught:
        checkpoint.read_file(path)
    assert not target.exists()
    assert "safetensors" in caught.value.todo
    # The payload does work: without this, the test could not fail.
    torch.load(path, weights_only=False)
    assert target.exists()


def test_a_bare_pickle_with_a_payload_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin", "model.pt"):
        target, path = tmp_path / "owned", tmp_path / name
        path.write_bytes(pickle.dumps(attacks(target)["os.system"]))
        with pytest.raises(WeightsError):
            checkpoint.read_file(path)
        assert not target.exists()


def test_the_refusal_names_what_the_file_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": Payload(sys.exit, 3)}, path)
    with pytest.raises(WeightsError, match=r"It asks for `sys\.exit`"):
        checkpoint.read_file(path)


@pytest.fixture
def absent_classes(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Classes with the names of fairseq's and omegaconf's, in modules that exist only while the file is written."""
    made: dict[str, type] = {}
    for name in (*checkpoint._STAND_IN_NAMES, "elsewhere.Unknown"):
        module_name, _, class_name = name.rpartition(".")
        for depth in range(1, module_name.count(".") + 2):
            part = ".".join(module_name.split(".")[:depth])
            monkeypatch.setitem(sys.modules, part, sys.modules.get(part) or types.ModuleType(part))
        made[name] = type(class_name, (), {"__module__": module_name})
        monkeypatch.setattr(sys.modules[module_name], class_name, made[name], raising=False)
    return made


def instance(cls: type, **state: Any) -> Any:
    made = cls()
    made.__dict__.update(state)
    return made


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_fairseq_and_omegaconf_leave_in_a_checkpoint_is_read_without_them(
    tmp_path: Path, absent_classes: dict[str, type], legacy: bool
) -> None:
    node = lambda value: instance(absent_classes["omegaconf.nodes.AnyNode"], _val=value)  # noqa: E731
    config = instance(
        absent_classes["omegaconf.dictconfig.DictConfig"],
        _metadata=instance(absent_classes["omegaconf.base.ContainerMetadata"], key_type=Any),
        _parent=None,
        _content={
            "encoder_layers": node(12),
            "labels": instance(absent_classes["omegaconf.listconfig.ListConfig"], _content=[node("km")]),
        },
    )
    content = {
        "cfg": {"model": config},
        "args": argparse.Namespace(normalize=True),
        "task_state": {"dictionaries": [instance(absent_classes["fairseq.data.dictionary.Dictionary"], symbols=["a"])]},
        "optimizer_history": [{"loss": np.float64(1.5), "steps": collections.defaultdict(list)}],
        "model": {"w": torch.arange(3.0)},
    }
    path = tmp_path / "model.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    for name in list(sys.modules):
        if name.split(".")[0] in ("fairseq", "omegaconf") and isinstance(sys.modules[name], types.ModuleType):
            sys.modules.pop(name)
    read = checkpoint.read_file(path)
    assert torch.equal(read["model"]["w"], torch.arange(3.0))
    assert checkpoint.plain(read["cfg"]) == {"model": {"encoder_layers": 12, "labels": ["km"]}}
    assert checkpoint.plain(read["args"]) == {"normalize": True}
    assert checkpoint.plain(read["optimizer_history"])[0]["loss"] == 1.5


def test_a_class_that_is_not_on_the_list_is_refused_even_if_it_looks_harmless(
    tmp_path: Path, absent_classes: dict[str, type]
) -> None:
    path = tmp_path / "model.pt"
    torch.save({"x": instance(absent_classes["elsewhere.Unknown"])}, path)
    with pytest.raises(WeightsError, match=r"elsewhere\.Unknown"):
        checkpoint.read_file(path)


def test_configuration_that_contains_itself_is_walked_once() -> None:
    bomb: Any = "x"
    for _ in range(200):
        bomb = [bomb, bomb]
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = loop
    assert checkpoint.plain(bomb) is not None
    assert checkpoint.plain(loop) == {"a": 1, "self": None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04 and then nothing of an archive", "damaged"),
        (b"just some text\n", "damaged"),
        (b"\x80\x02}q\x00.", "damaged"),
        (b"\xff" * 8 + b'{"a":1}', "damaged safetensors"),
        (b"\x10" + b"\x00" * 7 + b'{"w":{"dtype":"F32"}', "damaged safetensors"),
    ],
)
def test_what_is_no_file_of_weights_is_told_apart(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        checkpoint.read_file(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_truncated_checkpoint_is_a_weights_error_at_any_length(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.arange(1000.0)}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            checkpoint.read_file(path)


def test_missing_files_and_folders_are_weights_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(WeightsError, match="Weights were to be read from"):
            checkpoint.read_file(path)
        with pytest.raises(WeightsError):
            checkpoint.sha256_file(path)


def test_safetensors_are_known_by_their_first_bytes_not_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    save_file({"w": torch.arange(4.0)}, path)
    assert torch.equal(checkpoint.read_file(path)["w"], torch.arange(4.0))


def test_a_mismatch_is_shown_tensor_by_tensor_and_long_ones_are_counted() -> None:
    with pytest.raises(WeightsError) as caught:
        checkpoint.require_match("net", "file.pt", {"a": (2, 3), "b": (1,)}, {"a": (3, 2), "c": (1,)})
    for line in ("missing: b (1,)", "not wanted: c (1,)", "shape: a is (3, 2), the network has (2, 3)"):
        assert line in caught.value.found
    many = checkpoint.differences({}, {f"t{i}": (1,) for i in range(100)})
    assert len(many) == 13
    assert many[-1] == "and 88 more"
    checkpoint.require_match("net", "file.pt", {"a": (1,)}, {"a": (1,)})


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.tensor([1, 2]), "not dense floats"),
        (torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([float("inf")]), "infinity"),
        (torch.eye(2).to_sparse(), "not dense floats"),
        ("text", "not dense floats"),
    ],
)
def test_weights_that_cannot_be_computed_with_are_refused_by_name(tensor: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        checkpoint.as_weights("file.pt", "layer.weight", tensor)
    assert "layer.weight" in str(caught.value)


def test_half_precision_weights_become_float32_in_memory_of_their_own() -> None:
    half = torch.tensor([1.5, -2.0], dtype=torch.float16)
    whole = checkpoint.as_weights("file.pt", "w", half)
    assert whole.dtype == torch.float32
    assert whole.tolist() == [1.5, -2.0]
    same = torch.ones(3)
    assert checkpoint.as_weights("file.pt", "w", same).data_ptr() != same.data_ptr()


def test_numpy_scalars_written_with_numpy_1_and_with_numpy_2_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"loss": np.float64(2.5)}, path, _use_new_zipfile_serialization=False)
    written = path.read_bytes()
    old, new = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
    assert (old in written) != (new in written)
    for there, instead in ((old, new), (new, old)):
        for content in (written, written.replace(there, instead)):
            path.write_bytes(content)
            assert checkpoint.read_file(path)["loss"] == 2.5
