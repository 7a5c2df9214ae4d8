"""CSV tables from anywhere: cells as they stand, and whatever is wrong with its line."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers.csv_table import number, read_header, read_table


@pytest.fixture
def file(tmp_path):
    def write(text: str, encoding: str = "utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_columns_are_read_by_name_and_cells_are_kept_as_they_stand(file):
    table = read_table(file('a, b ,c\n" x","1,5",\n\n"y\nz",2.5,é\n'), ["a", "b"])
    assert table.header == ("a", "b", "c")
    assert table.columns == {"a": [" x", "y\nz"], "b": ["1,5", "2.5"]}
    assert list(table.lines) == [2, 5]
    assert len(table) == 2


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(file):
    assert read_table(file("a,b\r\n1,2\r\n", "utf-8-sig")).columns == {"a": ["1"], "b": ["2"]}


def test_numbers_are_finite_and_of_the_rows_asked_for(file):
    table = read_table(file("a\n 1.5 \n1e3\nnan\n1_0\n\n-inf\n1e101\n"))
    np.testing.assert_array_equal(table.numbers("a", [1, 0]), [1000.0, 1.5])
    said = r"`a` must be a finite number. line 4: 'nan'; line 5: '1_0'; line 7: '-inf'; line 8: '1e101'\. Mend"
    with pytest.raises(BadInput, match=said):
        table.numbers("a")
    assert number("") is None


def test_many_problems_are_counted_and_the_first_ones_shown(file):
    with pytest.raises(BadInput, match=r"line 2: 'x'; .*line 6: 'x' … and 15 more"):
        read_table(file("a\n" + "x\n" * 20)).numbers("a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "a header and no rows"),
        ("a,b,a\n1,2,3\n", "names a twice"),
        ("a,b\n1,2\n3\n4,5,6\n", "must have 2 cells.*line 3: 1; line 4: 3"),
        ('a,b\n1,2\n"3,4\n', "no CSV in UTF-8"),
    ],
)
def test_files_that_are_no_tables_are_refused(file, text, said):
    with pytest.raises(BadInput, match=said):
        read_table(file(text))


def test_other_encodings_and_missing_files_are_typed_errors(file, tmp_path):
    with pytest.raises(BadInput, match="no CSV in UTF-8"):
        read_table(file("a\né\n", "latin-1"))
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "table.csv" / "x"):
        with pytest.raises(NotFound, match="no such file"):
            read_header(path)


def test_a_column_that_is_not_there_answers_with_the_nearest(file):
    with pytest.raises(NotFound, match=r"read from the column `labell`.*Did you mean `label`"):
        read_table(file("label,x\n1,2\n")).need("labell", "What is true")
