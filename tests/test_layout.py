"""The layout of DESIGN §1: who may import what, which packages there are, and that imports stay light."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("store", "extractors", "trainers", "recipes", "commands")
# What each package may never import, wherever the import stands (inside functions too).
FORBIDDEN = {
    "store": {"torch", "click", "transformers", "sklearn", "av", "extractors", "trainers", "recipes", "commands"},
    "extractors": {"click", "trainers", "recipes", "commands"},
    "trainers": {"av", "mediapipe", "librosa", "soundfile", "cv2", "click", "extractors", "recipes", "commands"},
    "recipes": {"click", "commands"},
    "commands": {"torch", "av", "transformers", "sklearn"},
}


def product_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported_roots(path: Path) -> set[str]:
    """Top-level names that a file imports; relative imports are resolved to cuebank's own packages."""
    roots = set()
    folder = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".") if node.module else []
            if node.level:
                base = folder[: len(folder) - node.level + 1]
                names = [[*base, *module]] if module else [[*base, alias.name] for alias in node.names]
                # networks are torch modules without any I/O: trainers may build on them
                roots |= {n[0] for n in names if n and n[:2] != ["extractors", "networks"]}
            else:
                roots |= {module[0]}
    return roots


@pytest.mark.parametrize("path", product_files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_module_imports_what_its_package_must_not(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert not (imported_roots(path) - {package}) & FORBIDDEN[package]
    assert "cuebank" not in imported_roots(path), "packages import each other relatively"


def test_setup_cfg_lists_exactly_the_packages_on_disk() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    on_disk = {"cuebank"} | {
        ".".join(("cuebank", *init.parent.relative_to(ROOT).parts))
        for package in PACKAGES
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert listed == on_disk
    for path in product_files():
        assert (path.parent / "__init__.py").is_file(), f"{path} is in no package"


def test_the_root_holds_no_other_python_file_and_its_init_imports_nothing() -> None:
    assert {p.name for p in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "cli.py"}
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "cuebank.cli",
            {"numpy", "zarr", "h5py", "torch", "av", "tqdm", "transformers", "sklearn", "matplotlib"},
        ),
        ("cuebank.store", {"zarr", "h5py", "torch", "av", "cuebank.extractors", "cuebank.trainers"}),
        ("cuebank.extractors", {"torch", "av", "transformers", "cuebank.trainers"}),
        ("cuebank.trainers", {"torch", "av", "sklearn", "matplotlib", "cuebank.extractors"}),
        ("cuebank.extractors.media.worker", {"torch", "transformers", "zarr", "h5py"}),
    ],
)
def test_importing_a_module_loads_nothing_heavy(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert module in loaded
    assert not loaded & absent


def test_trainers_never_load_extractors_or_media_libraries() -> None:
    modules = [
        ".".join(("cuebank", *path.relative_to(ROOT).with_suffix("").parts))
        for path in product_files()
        if path.relative_to(ROOT).parts[0] == "trainers" and path.name != "__init__.py"
    ]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "torch" in loaded
    assert not loaded & {
        "av",
        "mediapipe",
        "librosa",
        "cv2",
        "click",
        "cuebank.extractors.runner",
        "cuebank.cli",
    }


def test_the_checkout_is_not_imported_a_second_time_as_top_level_packages() -> None:
    assert not {"store", "extractors", "trainers", "cli"} & sys.modules.keys()
