"""Where the trial material and the golden cases are found; the rules are those of DESIGN §7 (see tests/README.md)."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("CUEBANK_SHARED", ROOT.parent / "shared"))
OWN_GOLDEN = ROOT / "tests" / "golden"
FIXED_FOLDERS = (OWN_GOLDEN, SHARED / "golden")


def case_folders() -> list[Path]:
    """Folders that are searched for cases: the one named by CUEBANK_GOLDEN alone, else ours and the shared one."""
    chosen = os.environ.get("CUEBANK_GOLDEN")
    return [Path(chosen)] if chosen else list(FIXED_FOLDERS)


def fixed_file(name: str) -> Path | None:
    """Return a file that is the same for all cases, from tests/golden or the shared folder."""
    return next((folder / name for folder in FIXED_FOLDERS if (folder / name).is_file()), None)


def fill_module() -> ModuleType:
    """Import `fill.py`, the rule that makes stand-in weights from names and shapes."""
    path = fixed_file("fill.py")
    if path is None:
        pytest.skip("fill.py is neither in tests/golden nor in the shared folder")
    spec = importlib.util.spec_from_file_location("golden_fill", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class GoldenCase:
    """One recorded case `NAME_<letter>` and the files that belong to it."""

    name: str
    letter: str
    path: Path
    _json: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays of the case's .npz, read without pickles."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    def json(self, name: str | None = None) -> Any:
        """`NAME_<letter>.json` beside the case, else `NAME.json` from the fixed folders."""
        name = name or self.name
        beside = self.path.parent / f"{name}_{self.letter}.json"
        path = beside if beside.is_file() else fixed_file(f"{name}.json")
        if path is None:
            pytest.skip(f"{name}.json is not here")
        return json.loads(path.read_text(encoding="utf-8"))

    def fixed(self, name: str) -> Path:
        """A file that all cases share; skips where it is absent."""
        path = fixed_file(name)
        if path is None:
            pytest.skip(f"{name} is neither in tests/golden nor in the shared folder")
        return path

    def state_dict(self, shapes: dict[str, list[int]]) -> dict[str, Any]:
        """Stand-in weights as torch tensors for `{state-dict name: shape}`."""
        import torch

        return {k: torch.from_numpy(v) for k, v in fill_module().fill_state_dict(shapes).items()}


def find_cases(names: tuple[str, ...]) -> list[GoldenCase]:
    """All cases `NAME_<letter>` of these names; the first folder that holds a case wins."""
    cases: dict[tuple[str, str], GoldenCase] = {}
    for folder in case_folders():
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            match = re.fullmatch(r"(.+)_([a-z])(?:_\w+)?\.(npz|json|csv)", path.name)
            for name in names:
                if match and match[1] == name and (name, match[2]) not in cases:
                    cases[name, match[2]] = GoldenCase(name, match[2], path)
    return [cases[key] for key in sorted(cases)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the argument `golden_case` on every case of the names in its `golden` marker."""
    if "golden_case" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("golden")
    cases = find_cases(marker.args)
    if not cases:
        reason = f"no golden case {' or '.join(marker.args)} in {', '.join(p.name for p in case_folders())}"
        metafunc.parametrize("golden_case", [pytest.param(None, marks=pytest.mark.skip(reason=reason))])
        return
    metafunc.parametrize("golden_case", cases, ids=[f"{case.name}_{case.letter}" for case in cases])


@pytest.fixture(scope="session")
def shared() -> Callable[..., Path]:
    """Return the path of a file of the trial material, or skip with the reason."""

    def find(*parts: str) -> Path:
        path = SHARED.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"trial material {'/'.join(parts)} is not here (CUEBANK_SHARED)")
        return path

    return find
