"""OpenFace tables: the recorded one, stock headers, what OpenFace could not see, and damage of every kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import openface_csv
from cuebank.extractors.errors import MediaError
from cuebank.extractors.openface_csv import GROUPS, read_openface
from cuebank.trainers.openface import columns

LEADING = ("frame", "face_id", "timestamp", "confidence", "success")
HEADER = (*LEADING, *GROUPS["gaze"], *GROUPS["AU_r"])


def cells(row: int, face: int = 0, success: int = 1, names: Sequence[str] = HEADER) -> list[str]:
    lead = {"frame": row + 1, "face_id": face, "timestamp": f"{row / 30:.3f}", "confidence": 0.9, "success": success}
    return [str(lead.get(name, row + i / 100)) for i, name in enumerate(names)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER, comma: str = ",", end: str = "\n") -> Path:
        path = tmp_path / "face.csv"
        path.write_bytes("".join(comma.join(row) + end for row in (header, *rows)).encode())
        return path

    return make


@pytest.mark.golden("sempi_openface")
def test_the_recorded_table_gives_the_329_columns_that_sempi_read(golden_case: Any) -> None:
    table = read_openface(golden_case.path.with_suffix(".csv"))
    assert table.values.shape == golden_case.arrays["rows"].shape
    np.testing.assert_allclose(table.values, golden_case.arrays["rows"], rtol=1e-6, atol=1e-7)
    mean = table.values.mean(0, dtype=np.float64)
    np.testing.assert_allclose(mean, golden_case.arrays["clip_mean"], rtol=0, atol=1e-6)
    assert not table.valid.all()


def test_the_columns_of_all_are_those_that_heads_know() -> None:
    assert list(GROUPS["all"]) == columns()
    sizes = {name: len(group) for name, group in GROUPS.items()}
    assert sizes == {
        "gaze": 8,
        "eyes": 280,
        "pose": 6,
        "landmarks2d": 136,
        "landmarks3d": 204,
        "pdm": 40,
        "AU_r": 17,
        "AU_c": 18,
        "AU": 35,
        "all": 329,
        "full": 709,
    }
    assert all(len(set(group)) == len(group) for group in GROUPS.values())


@pytest.mark.parametrize(("comma", "end"), [(",", "\n"), (", ", "\n"), (" , ", "\r\n"), (",", "\n\n")])
def test_blanks_and_line_ends_do_not_matter(write: Callable[..., Path], comma: str, end: str) -> None:
    table = read_openface(write([cells(0), cells(1)], comma=comma, end=end), GROUPS["AU_r"])
    expected = [[float(cell) for cell in cells(row)[-17:]] for row in (0, 1)]
    np.testing.assert_allclose(table.values, expected, rtol=1e-6)
    assert table.times.tolist() == [0.0, 0.033]
    assert table.faces.tolist() == ["0", "0"]


def test_a_byte_order_mark_and_a_missing_last_line_end_do_not_matter(write: Callable[..., Path]) -> None:
    path = write([cells(0)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().rstrip())
    assert len(read_openface(path, GROUPS["gaze"]).times) == 1


def test_columns_are_found_by_name_in_any_order(write: Callable[..., Path]) -> None:
    names = HEADER[::-1]
    plain = read_openface(write([cells(3)]), GROUPS["gaze"])
    path = write([cells(3)[::-1]], header=names)
    assert read_openface(path, GROUPS["gaze"]).values.tobytes() == plain.values.tobytes()
    assert read_openface(path, GROUPS["gaze"][::-1]).values[0].tolist() == plain.values[0, ::-1].tolist()
    assert plain.values_of(("gaze_1_x",)).tolist() == plain.values[:, 3:4].tolist()


def test_valid_is_success_and_without_it_confidence(write: Callable[..., Path]) -> None:
    path = write([cells(0), cells(1, success=0), cells(2)])
    assert read_openface(path, GROUPS["gaze"]).valid.tolist() == [True, False, True]
    without = tuple(name for name in HEADER if name != "success")
    rows = [cells(i, names=without) for i in range(2)]
    rows[1][3] = "0.49"
    assert read_openface(write(rows, header=without), GROUPS["gaze"]).valid.tolist() == [True, False]


@pytest.mark.parametrize("cell", ["nan", "-nan", "-nan(ind)", "inf", "1e300"])
def test_a_number_that_is_none_makes_its_row_invalid(write: Callable[..., Path], cell: str) -> None:
    rows = [cells(0), cells(1)]
    rows[1][6] = cell
    table = read_openface(write(rows), GROUPS["gaze"])
    assert table.valid.tolist() == table.finite.tolist() == [True, False]
    assert table.values[1, 1] == 0.0
    assert read_openface(write(rows), GROUPS["AU_r"]).valid.all()  # another group is as it was


def test_blocks_do_not_change_anything(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write([cells(i, success=i % 2) for i in range(11)])
    whole = read_openface(path, GROUPS["AU_r"])
    monkeypatch.setattr(openface_csv, "BLOCK_ROWS", 3)
    parts = read_openface(path, GROUPS["AU_r"])
    assert parts.values.tobytes() == whole.values.tobytes()
    assert np.array_equal(parts.valid, whole.valid)


def test_faces_and_clips_are_cut_out(write: Callable[..., Path]) -> None:
    table = read_openface(write([cells(i, face) for i in range(30) for face in (0, 2)]), GROUPS["gaze"])
    assert table.face_ids() == ["0", "2"]
    part = table.between(0.2, 0.4)
    assert (part.times.min(), part.times.max()) == (0.0, pytest.approx(0.167))
    assert len(part.take(part.faces == "2").times) == 6
    assert table.between(None, None) is table


WRONG: list[tuple[str, Callable[[str], str | bytes], str]] = [
    ("empty", lambda _: "", "It is empty"),
    ("blank", lambda _: " \n", "It is empty"),
    ("header only", lambda text: text.splitlines()[0], "no rows"),
    ("no such columns", lambda _: "a,b\n1,2\n", "It lacks 10 of the columns"),
    ("semicolons", lambda text: text.replace(",", ";"), "It lacks"),
    ("no timestamp", lambda text: text.replace("timestamp", "time"), "`timestamp`"),
    ("nothing says valid", lambda text: text.replace("confidence", "a").replace("success", "b"), "`success`"),
    ("ragged, short", lambda text: text.rstrip().rsplit(",", 2)[0], "Line 4 has 28 cells; its header has 30"),
    ("ragged, long", lambda text: text.rstrip() + ",1\n", "Line 4 has 31 cells"),
    ("text", lambda text: text.replace("2,0,0.033", "2,0,tomorrow"), "Row 2 below the header"),
    ("empty cell", lambda text: text.replace("2,0,0.033", "2,0,"), "Row 2 below the header"),
    ("time not finite", lambda text: text.replace("2,0,0.033", "2,0,nan"), "time stamp of row 2"),
    ("half a face", lambda text: text.replace("2,0,0.033", "2,0.5,0.033"), "`face_id`"),
    ("latin", lambda text: text.encode() + b"\xff\xfe", "no text in UTF-8"),
    ("binary", lambda _: bytes(range(256)) * 300, "no text in UTF-8|lacks|empty"),
    ("zeros", lambda _: b"\0" * 100_000, "lacks"),
]


@pytest.mark.parametrize(("change", "found"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_damage_is_told(write: Callable[..., Path], change: Callable[[str], str | bytes], found: str) -> None:
    path = write([cells(i) for i in range(3)])
    changed = change(path.read_text())
    path.write_bytes(changed.encode() if isinstance(changed, str) else changed)
    with pytest.raises(MediaError, match=found) as caught:
        read_openface(path, GROUPS["gaze"])
    assert len(str(caught.value)) < 1000


def test_a_column_that_is_there_twice_is_refused(write: Callable[..., Path]) -> None:
    path = write([[*cells(0), "1"]], header=(*HEADER, "gaze_0_x"))
    with pytest.raises(MediaError, match="there twice"):
        read_openface(path, GROUPS["gaze"])


def test_no_file_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(MediaError, match="cannot be opened"):
            read_openface(path)


def test_random_cuts_end_as_rows_or_as_a_media_error(write: Callable[..., Path]) -> None:
    path = write([cells(i) for i in range(20)])
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole[: rng.integers(1, len(whole))])
        data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(MediaError):
            assert len(read_openface(path, GROUPS["gaze"]).times) > 0
