"""`cuebank import-weights`, through the installed command: exit codes, what is printed, nothing left by a refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cuebank.cli import main
from tests.conftest import fixed_file

CUEBANK = Path(sys.executable).with_name("cuebank")


def cuebank(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([CUEBANK, *map(str, words)], capture_output=True, text=True, timeout=120, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = fixed_file("hubert_tiny_fairseq_base.pt")
    if path is None:
        pytest.skip("hubert_tiny_fairseq_base.pt is neither in tests/golden nor in the shared folder")
    copy = tmp_path / "Tiny HuBERT.pt"
    copy.write_bytes(path.read_bytes())
    return copy


def test_a_checkpoint_becomes_a_folder_in_the_working_folder(checkpoint: Path, tmp_path: Path) -> None:
    done = cuebank("import-weights", checkpoint, "--as", "hubert-tiny", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "49 tensors" in done.stdout
    assert "cuebank extract --backbone hubert-tiny --weights tiny-hubert-imported" in done.stdout
    assert (tmp_path / "tiny-hubert-imported" / "model.safetensors").is_file()
    again = cuebank("import-weights", checkpoint, "--as", "hubert-tiny", cwd=tmp_path)
    assert (again.returncode, "--overwrite" in again.stderr) == (1, True)
    words = ("--as", "hubert-tiny", "--overwrite", "--json", "--licence", "MIT")
    result = json.loads(cuebank("import-weights", checkpoint, *words, cwd=tmp_path).stdout)
    assert (result["licence"], result["folder"]) == ("MIT", "tiny-hubert-imported")
    assert result["left_out"] == ["mask_emb", "label_embs_concat", "final_proj.weight", "final_proj.bias"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("FILE",), 2, "--as"),
        (("FILE", "--as", "hubert-tiny", "--no-head"), 2, "--no-head"),
        (("FILE", "--as", "hubert-tiny", "--set", "ablation=1"), 2, "--set"),
        (("FILE", "--as", "sempi", "--set", "ablation"), 2, "NAME=VALUE"),
        (("FILE", "--as", "sempi", "--no-head", "--set", "ablation=1"), 2, "--no-head"),
        (("absent.pt", "--as", "hubert-tiny"), 1, "absent.pt"),
        (("FILE", "--as", "hubrt"), 1, "hubert"),
        (("FILE", "--as", "mfcc"), 1, "hubert-base"),
        (("FILE", "--as", "hubert-base"), 1, "--backbone hubert-tiny"),
        (("FILE", "--as", "i3d"), 1, "missing: "),
        (("FILE", "--as", "sempi"), 1, "missing: video_enc."),
        (("FILE", "--as", "hubert-tiny", "--out", "FILE"), 1, "not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_gets_a_clear_message_the_right_exit_code_and_writes_nothing(
    words: tuple[str, ...],
    code: int,
    expected: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(checkpoint) if word == "FILE" else word for word in words]
    done = CliRunner().invoke(main, ["import-weights", *given])  # in this process: torch is loaded only once
    assert (done.exit_code, expected in done.stderr) == (code, True), done.stderr
    assert len(done.stderr.splitlines()) < 25
    assert list(tmp_path.iterdir()) == [checkpoint]
