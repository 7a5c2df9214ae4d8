"""Every docstring example runs; every command has help, an example and a place in the README."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import cuebank
from cuebank.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ("store", "extractors", "trainers", "recipes", "commands")


def modules() -> list[str]:
    found = ["cuebank", "cuebank.cli"]
    for name in PACKAGES:
        package = importlib.import_module(f"cuebank.{name}")
        found.append(package.__name__)
        found += [m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return found


def commands(group: click.Group, prefix: str = "cuebank") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


@pytest.mark.parametrize("module", modules())
def test_docstring_examples_of_the_module_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_the_package_has_docstring_examples_to_run() -> None:
    finder = doctest.DocTestFinder()
    examples = [t for m in modules() for t in finder.find(importlib.import_module(m)) if t.examples]
    assert len(examples) >= 5


@pytest.mark.parametrize(("name", "command"), list(commands(main)), ids=lambda v: v if isinstance(v, str) else "")
def test_every_command_has_help_with_a_runnable_example_and_is_in_the_readme(name: str, command: click.Command) -> None:
    assert command.help
    assert f"{name} " in command.help or command.help.rstrip().endswith(name)
    assert name in README
    for option in command.params:
        if isinstance(option, click.Option) and not option.help:
            assert option.show_default, f"{name} {option.opts} says nothing of itself"


def test_readme_names_the_make_targets_and_links_only_to_files_that_exist() -> None:
    for target in ("make demo", "make test", "make test-all"):
        assert target in README
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_the_version_is_the_one_in_the_changelog_or_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {cuebank.__version__}" in changelog or "## Unreleased" in changelog
