"""Committed means durable, without power too: the disk is found in any state that fsync allows, and the laws hold."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).resolve().parent / "programs"


@pytest.fixture(scope="module")
def model():
    spec = importlib.util.spec_from_file_location("disk_model_program", PROGRAMS / "disk_model.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cut_power(run_program, folder, container, seed, count):
    """Cut the power after some of the operations of the scenario, after each one if `count` is 0."""
    process = run_program("power_cut.py", folder, container, seed, count)
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["cuts"] == (count or told["operations"])
    assert told["states"] >= told["cuts"]  # cuts close together may find the disk in the same state, but others differ
    return told


def test_after_a_power_cut_at_any_operation_what_was_promised_is_there(quick_path, container, run_program):
    cut_power(run_program, quick_path, container, seed=1, count=12)


@pytest.mark.slow
def test_after_a_power_cut_at_every_operation_what_was_promised_is_there(quick_path, container, run_program, capsys):
    told = cut_power(run_program, quick_path, container, seed=2, count=0)
    with capsys.disabled():
        print(f"\n{container}: {told['cuts']} power cuts, {told['states']} states of the disk")


def test_the_model_loses_what_was_not_synced(model):
    disk = model.Disk()
    for event in (model.Made(1, False), model.Renamed({(0, "a"): 1}), model.Written(1, b"text")):
        disk.follow(event)
    assert disk.nothing_more() == {}
    assert disk.everything() == {"a": b"text"}
    disk.follow(model.Synced(0))
    assert disk.nothing_more() == {"a": b""}  # the name is there, the content is not
    disk.follow(model.Synced(1))
    assert disk.nothing_more() == disk.mixture(random.Random(0)) == {"a": b"text"}


def test_the_model_keeps_renames_whole_and_later_changes_behind_earlier_ones(model):
    disk = model.Disk()
    for node in (1, 2):
        disk.follow(model.Made(node, True))
        disk.follow(model.Renamed({(0, f"folder {node}"): node}))
    disk.follow(model.Synced(0))
    disk.follow(model.Made(3, False))
    disk.follow(model.Renamed({(1, "new"): 3}))
    disk.follow(model.Renamed({(1, "new"): None, (2, "moved"): 3}))
    folders = {"folder 1": None, "folder 2": None}
    found = [disk.mixture(random.Random(seed)) for seed in range(50)]
    assert folders in found
    assert {**folders, "folder 1/new": b""} in found
    assert {**folders, "folder 2/moved": b""} in found
    assert all(len(tree) <= 3 for tree in found)  # never under both names
    disk.follow(model.Synced(2))
    assert disk.nothing_more() == {**folders, "folder 2/moved": b""}


def test_the_model_tears_what_was_written_but_keeps_what_was_synced(model):
    old, new = b"o" * 200, b"o" * 64 + b"n" * 300
    found = {model.torn([old, new], random.Random(seed)) for seed in range(200)}
    assert {old, new} <= found
    assert len(found) > 20
    assert all(data.startswith(b"o" * 64) and 200 <= len(data) <= 364 for data in found)
    assert any(b"\0" in data for data in found)
