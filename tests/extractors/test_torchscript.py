"""Tensors come out of TorchScript archives, and no program does."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cuebank.extractors.checkpoint import read_file
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.torchscript import is_torchscript, read_torchscript


class _Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
        self.small = nn.Parameter(torch.ones(2, dtype=torch.float16))
        self.register_buffer("count", torch.tensor(77))
        self.register_buffer("empty", torch.empty(0, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


class _Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_Part(), _Part())
        self.scale = nn.Parameter(torch.tensor(4.6))
        self.sizes = [1, 2, 3]
        self.note = "a text"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + len(self.sizes)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(_Whole().eval()), str(path))
    return path


def test_all_tensors_come_by_the_names_of_a_state_dict(archive: Path) -> None:
    assert is_torchscript(archive)
    found, expected = read_torchscript(archive), _Whole().state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pt")
    (tmp_path / "text.pt").write_bytes(b"PK\x03\x04 no zip")
    for name in ("plain.pt", "text.pt", "absent.pt"):
        assert not is_torchscript(tmp_path / name)
    assert set(read_file(tmp_path / "plain.pt")) == {"a"}


class _Runs:
    def __reduce__(self) -> Any:
        return (open, ("ran", "w"))


def rewritten(archive: Path, path: Path, changed: dict[str, bytes], compress: int = zipfile.ZIP_STORED) -> Path:
    """The archive with other members."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w", compress) as new:
        for info in old.infolist():
            short = info.filename.split("/", 1)[1]
            new.writestr(info.filename, changed.get(short, old.read(info)))
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data.pkl": pickle.dumps(_Runs())}, r"io\.open"),
        ({"data.pkl": pickle.dumps(eval, 2)}, r"(builtins|__builtin__)\.eval"),
        ({"data.pkl": pickle.dumps([1, 2])}, "holds a list"),
        ({"data.pkl": b""}, "cannot be read"),
        ({"data/0": b"12"}, "2 bytes instead of 4"),
        ({"data.pkl": b"\x80\x02" + b"(" * 50_000 + b"t" * 50_000 + b"."}, "cannot be read"),
    ],
)
def test_programs_and_damage_are_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, bytes], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=said):
        read_torchscript(rewritten(archive, tmp_path / "bad.pt", changed))
    assert not (tmp_path / "ran").exists()


def test_compressed_members_are_refused(archive: Path, tmp_path: Path) -> None:
    path = rewritten(archive, tmp_path / "bomb.pt", {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        read_torchscript(path)


def test_tensors_that_reach_beyond_their_numbers_are_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as old:
        name = next(item for item in old.namelist() if item.endswith("/data.pkl"))
        content = old.read(name)
    size, larger = b"(K\x03K\x02t", b"(K\x09K\x02t"  # 3 x 2 and 9 x 2 in the pickle
    assert size in content
    changed = content.replace(size, larger)
    with pytest.raises(WeightsError, match="out of bounds"):
        read_torchscript(rewritten(archive, tmp_path / "far.pt", {"data.pkl": changed}))
