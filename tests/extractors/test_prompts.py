"""Lists of prompts: the one that comes with the package, and those of users."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cuebank.extractors.prompts import MAX_PROMPTS, read_prompts
from cuebank.store import BadInput


def test_the_list_of_the_package_has_vipers_structure() -> None:
    prompts = read_prompts()
    assert list(Counter(prompts.groups).items()) == [
        ("adoration", 7),
        ("amusement", 9),
        ("anxiety", 7),
        ("disgust", 6),
        ("empathic pain", 6),
        ("fear", 6),
        ("surprise", 6),
        ("neutral", 6),
    ]
    assert len(set(prompts.texts)) == 53
    assert prompts.tag == ""


def test_remarks_headings_and_the_form_of_lines_do_not_change_the_list(tmp_path: Path) -> None:
    plain, written = tmp_path / "My list.txt", tmp_path / "other.txt"
    plain.write_bytes(b"one\ntwo\n")
    written.write_bytes("\ufeff# remark\r\n[first]\r\n  one \r\n\r\n[second]\r\ntwo".encode())
    prompts, same = read_prompts(plain), read_prompts(str(written))
    assert prompts.texts == same.texts == ("one", "two")
    assert prompts.sha256 == same.sha256
    assert same.groups == ("first", "second")
    assert prompts.tag == "my-list"
    plain.write_text("two\none\n")
    assert read_prompts(plain).sha256 != prompts.sha256


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 prompts"),
        (b"# only a remark\n[heading]\n", "0 prompts"),
        (b"one\ntwo\none\n", "'one' is there twice"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"fine\nbell \x07\n", "Line 2"),
        (b"x" * 1001, "Line 1"),
        (b"".join(b"%d\n" % i for i in range(MAX_PROMPTS + 1)), "2049 prompts"),
    ],
)
def test_what_is_no_list_is_refused_with_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        read_prompts(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.txt.*No such file"):
        read_prompts(tmp_path / "nowhere.txt")
