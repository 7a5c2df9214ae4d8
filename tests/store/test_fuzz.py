"""Thousands of damaged and hostile stores give what was written or typed errors, and never a byte from outside."""

from __future__ import annotations

import json

import pytest


def fuzz(run_program, folder, container, seed, first, count):
    """Look at damaged stores `first` to `first + count`, in few processes."""
    folder.mkdir()
    process = run_program("fuzz.py", folder, container, seed, first, count)
    out, err = process.communicate(timeout=7200)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["stores"] == count
    return told


def tell(capsys, container, told):
    with capsys.disabled():
        print(
            f"\n{container}: {told['stores']} damaged stores, {told['sealed']} of them with new checksums; "
            f"{told['read']} reads gave rows, {told['errors']} typed errors"
        )


def test_damaged_stores_give_what_was_written_or_typed_errors(quick_path, container, run_program, capsys):
    told = fuzz(run_program, quick_path / "fuzz", container, "default", 0, 200)
    assert min(told["read"], told["errors"]) > 200  # neither all is lost, nor is all well
    tell(capsys, container, told)


@pytest.mark.slow
def test_twenty_thousand_damaged_stores_give_what_was_written_or_typed_errors(
    quick_path, container, run_program, capsys
):
    tell(capsys, container, fuzz(run_program, quick_path / "fuzz", container, "slow", 0, 20_000))


@pytest.mark.slow
def test_no_damaged_store_ends_a_fresh_process_by_a_signal(quick_path, container, run_program, capsys):
    for number in range(200):
        fuzz(run_program, quick_path / str(number), container, "fresh", number, 1)
    with capsys.disabled():
        print(f"\n{container}: 200 damaged stores, each looked at by a fresh process")
