"""Writers are killed again and again while others write, compact and read the same store; nobody is ever misled."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).resolve().parent / "programs"


def rage(run_program, folder, container, rounds, seed):
    """Let four writers and two readers loose on a store for some rounds."""
    process = run_program("storm.py", folder, container, rounds, seed)
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["kills"] == 4 * rounds
    assert min(told["promises"], told["looks"], told["series"]) >= rounds
    return told


def test_a_storm_of_killed_writers_takes_nothing_that_was_promised(quick_path, container, run_program):
    rage(run_program, quick_path, container, rounds=6, seed=1)


@pytest.mark.slow
def test_a_long_storm_of_killed_writers_takes_nothing_that_was_promised(quick_path, container, run_program, capsys):
    told = rage(run_program, quick_path, container, rounds=200, seed=2)
    with capsys.disabled():
        print(f"\n{container}: {told}")


@pytest.fixture
def ledger(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("storm_ledger_program", PROGRAMS / "storm_ledger.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_ledger_allows_what_commits_of_killed_writers_may_have_left(ledger, tmp_path):
    log = tmp_path / "log"
    own, shared = ("storm.a", ledger.ALL_KEYS[0]), ("storm.a", ledger.ALL_KEYS[-1])
    number = len(ledger.ALL_KEYS) - 1
    lines = ["begin 0 4 storm.a:0", "done 0", "begin 0 8 storm.a:0", "dead 0"]
    lines += [f"begin 1 5 storm.a:{number}", f"begin 2 6 storm.a:{number}", "done 1", "done 2"]
    log.write_text("\n".join(lines) + "\nbegin 3 7 storm.b:0")  # the last line is not all there yet
    book = ledger.Ledger(log)
    book.read_on()
    assert book.promised() == {own, shared}
    assert book.allowed(own) == {4, 8}  # the killed commit may have taken place
    assert book.allowed(shared) == {5, 6}  # two at once: either may have been the later one
    assert book.promises == 3
    with log.open("a") as file:
        file.write("\nbegin 0 12 storm.a:0\ndone 0\n")
    book.read_on()
    assert book.allowed(own) == {12}
    assert book.has_begun(("storm.b", ledger.ALL_KEYS[0]), 7)
    assert ("storm.b", ledger.ALL_KEYS[0]) not in book.promised()
