"""Result files are old or new, never half."""

from __future__ import annotations

import pytest

from cuebank.store.errors import BadInput
from cuebank.trainers.atomic import make_folder, write_atomic


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "report.md"
    write_atomic(path, "old\n")
    write_atomic(path, "new ü\r\n")
    assert path.read_bytes() == "new ü\r\n".encode()
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "report.md"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "lone surrogate \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_its_parents_and_a_file_in_the_way_is_said(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match="in the way"):
            make_folder(folder)
