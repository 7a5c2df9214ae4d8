"""Clips tables: what they hold, how they are kept in the store, and how all problems of a CSV file are told."""

from __future__ import annotations

import math
import re
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuebank.store import BadInput, Clip, ClipsTable, Corrupt, FeatureStore, Key, NotFound


@pytest.fixture
def table_at(tmp_path):
    """Return a function that writes a table beside some media and returns its path."""
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).touch()

    def write(content, encoding="utf-8"):
        path = tmp_path / "clips.csv"
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    return write


def problems(path, **options):
    """Return [(line, text)] of all problems that reading a table tells."""
    with pytest.raises(BadInput) as caught:
        ClipsTable.read_csv(path, **options)
    return [(int(line), text) for line, text in re.findall(r"^  line (\d+): (.*)$", str(caught.value), re.MULTILINE)]


def test_a_full_table_is_read(table_at, tmp_path):
    path = table_at(
        "path,clip_id,entity_id,start,end,group_id,split,fold,arousal,mood\n"
        "a.wav,a,,0,1.5,g1,train,0,.5,happy\n"
        f"{tmp_path}/b.wav,b,left,,2e0,g2,,1,,\n"
        "./sub/../c.wav,b,right,1,,,test,,-3,3 of 4\n"
    )
    (tmp_path / "sub").mkdir()
    table = ClipsTable.read_csv(path)
    assert table.label_columns == {"arousal": "number", "mood": "text"}
    assert table.clips == (
        Clip("a", tmp_path / "a.wav", None, 0, 1.5, "g1", "train", 0, {"arousal": 0.5, "mood": "happy"}),
        Clip("b", tmp_path / "b.wav", "left", None, 2, "g2", None, 1, {"arousal": None, "mood": None}),
        Clip("b", tmp_path / "c.wav", "right", 1, None, None, "test", None, {"arousal": -3, "mood": "3 of 4"}),
    )
    assert [clip.key for clip in table] == [Key("a"), Key("b", "left"), Key("b", "right")]
    assert table.get(("b", "left")) is table.clips[1]
    with pytest.raises(NotFound, match="Did you mean"):
        table.get(("bb", None))


def test_ten_different_mistakes_are_told_at_once_with_their_lines(table_at):
    path = table_at(
        "clip_id,path,entity_id,start,end,group_id,fold,arousal,Clip ID\n"  # 1: a column like a known one
        "a,a.wav,,0,1,g1,1,0.5,\n"
        "a,a.wav,,2,3,g1,1,0.5,\n"  # 3: the key of line 2
        "b,b.wav,,5,4,g2,1,0.5,\n"  # 4: start after end
        '"c\nc",c.wav,,x,4,g2,1,0.5,\n'  # 5 and 6: text for a number
        "d,absent.wav,,,,g2,1,0.5,\n"  # 7: no file
        ",a.wav,,,,,,0.5,\n"  # 8: no clip_id
        "e,a.wav, ,,,,,0.5,\n"  # 9: entity_id of white space
        "f,a.wav,,-1,,,,0.5,\n"  # 10: negative start
        "g,a.wav,,,,g1,2,0.5,\n"  # 11: the group of line 2 in another fold
        "h,a.wav,,,,,,nan,\n"  # 12: NaN label
        "i,a.wav,,,,,,high,\n"  # 13: text label in a numeric column
        "j,a.wav,,,inf,,,0.5,\n"  # 14: infinite end
        "k,a.wav\n"  # 15: too few cells
        "l,a.wav,,,,,,0.5,,,\n"  # 16: too many
        "m,,,,,,,0.5,\n"  # 17: no path
    )
    told = problems(path)
    assert [line for line, _ in told] == [1, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    expected = {
        1: "did you mean `clip_id`",
        3: "clip_id 'a' is also in line 2",
        4: "`start` 5 is not before `end` 4",
        5: "`start` is 'x', which is not a finite number",
        7: "no file 'absent.wav'",
        8: "`clip_id` is empty",
        9: "`entity_id` is nothing but white space",
        10: "`start` is -1",
        11: "group 'g1' is in fold '2' here, in fold '1' in line 2",
        12: "`arousal` is 'nan'",
        13: "`arousal` is 'high'",
        14: "`end` is 'inf'",
        15: "2 cells where the header has 9",
        16: "11 cells where the header has 9",
        17: "`path` is empty",
    }
    for line, text in told:
        assert expected[line] in text


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("clip_id,arousal", ["`path` is missing"]),
        ("clipid,path", ["`clip_id` is missing", "did you mean `clip_id`"]),
        ("clip_id,path,Start", ["did you mean `start`"]),
        ("clip_id,path,entity", ["did you mean `entity_id`"]),
        ("clip_id,path,end_s", ["did you mean `end`"]),
        ("clip_id,path,splits", ["did you mean `split`"]),
        ("clip_id,path, fold", ["did you mean `fold`"]),
        ("clip_id,path,x,x", ["the column `x` is there twice"]),
        ("clip_id,path,", ["column 3 has no name"]),
        ("clip_id,path, ", ["column 3 has no name"]),
    ],
)
def test_a_wrong_header_is_told(table_at, header, expected):
    told = problems(table_at(f"{header}\na,a.wav{',1' * (header.count(',') - 1)}\n"))
    assert [line for line, _ in told] == [1] * len(expected)
    assert all(part in text for part, (_, text) in zip(expected, told, strict=True))


def test_columns_that_only_resemble_known_ones_are_labels(table_at):
    table = ClipsTable.read_csv(table_at("clip_id,path,end,trend,age,filename\na,a.wav,1,2,3,x.mp4\n"))
    assert table.label_columns == {"trend": "number", "age": "number", "filename": "text"}


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_table_is_told(table_at, content):
    assert "empty" in problems(table_at(content))[0][1]


def test_a_header_without_clips_is_told(table_at):
    assert "no clips" in problems(table_at("clip_id,path\n"))[0][1]


def test_bytes_that_are_not_utf8_are_told_with_their_lines(table_at):
    told = problems(table_at(b"clip_id,path\na,a.wav\n\xe9,b.wav\n\xfc,c.wav\n"))
    assert [line for line, _ in told] == [3, 4]
    assert "0xe9 is not UTF-8" in told[0][1]


def test_a_quote_that_never_ends_is_told(table_at):
    assert problems(table_at('clip_id,path\na,a.wav\n"b,b.wav\nc,c.wav\n'))[0][0] == 3


def test_the_mark_that_spreadsheets_write_is_accepted(table_at):
    assert ClipsTable.read_csv(table_at("clip_id,path\r\na,a.wav\r\n", "utf-8-sig")).clips[0].clip_id == "a"


def test_many_problems_are_counted_beyond_the_first_fifty(table_at):
    with pytest.raises(BadInput, match=r"80 problems:(?s:.*)and 30 more"):
        ClipsTable.read_csv(table_at("clip_id,path\n" + "".join(f"{i},no.wav\n" for i in range(80))))


def test_media_need_not_exist_if_they_are_not_wanted(table_at):
    path = table_at("clip_id,path\na,no.wav\nb," + "x" * 5000 + "\n")
    assert len(ClipsTable.read_csv(path, check_media=False)) == 2
    assert [line for line, _ in problems(path)] == [2, 3]


@pytest.mark.parametrize("text", ["1_000", "0x10", "1,5", "١", "1e999", "--1", "1 2", "NaN", "-Infinity"])
def test_only_plain_finite_numbers_are_numbers(table_at, text):
    assert problems(table_at(f'clip_id,path,start\na,a.wav,"{text}"\n'))[0][0] == 2


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(["0", "1"], [0, 1]), (["0", "", "12"], [0, None, 12]), (["1", "a"], ["1", "a"]), (["01", "2"], ["01", "2"])],
)
def test_folds_are_whole_numbers_or_names(table_at, cells, expected):
    rows = "".join(f"{i},a.wav,{cell}\n" for i, cell in enumerate(cells))
    assert [clip.fold for clip in ClipsTable.read_csv(table_at("clip_id,path,fold\n" + rows))] == expected


def test_a_column_of_names_with_one_number_is_text(table_at):
    table = ClipsTable.read_csv(table_at("clip_id,path,mood\na,a.wav,good\nb,a.wav,3\nc,a.wav,\nd,a.wav,bad\n"))
    assert [clip.labels["mood"] for clip in table] == ["good", "3", None, "bad"]


def test_an_absent_table_is_not_found(tmp_path):
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(NotFound):
            ClipsTable.read_csv(path)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
number = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw):
    """Tables with any ids, paths, folds and labels."""
    keys = draw(st.lists(st.tuples(text, st.none() | text), min_size=1, max_size=5, unique=True))
    whole = draw(st.booleans())
    clips = []
    for clip_id, entity_id in keys:
        start = draw(st.none() | st.floats(0, 1e6))
        end = draw(st.none() | st.floats(1e-3, 1e6).map(lambda length, start=start: (start or 0) + length))
        fold = draw(st.none() | (st.integers(-5, 99) if whole else text.filter(lambda name: not name.isdigit())))
        labels = {"x": draw(st.none() | number), "größe": draw(st.none() | text.filter(lambda t: not t[0].isdigit()))}
        clips.append(
            Clip(
                clip_id,
                Path("/m") / f"{len(clips)}.wav",
                entity_id,
                start,
                end,
                None,
                draw(st.none() | text),
                fold,
                labels,
            )
        )
    return ClipsTable(clips, {"x": "number", "größe": "text"})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_any_table_comes_back_from_the_store(quick_path, table):
    with FeatureStore.open(quick_path / f"{secrets.token_hex(8)}.zarr", "a") as store:
        version = store.write_clips(table)
        assert store.write_clips(table) == version
        assert store.clips() == store.clips(version) == table


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(text, st.none() | text), min_size=1, max_size=5, unique=True), st.none() | number)
def test_any_ids_come_back_from_a_csv_file(tmp_path_factory, keys, x):
    path = tmp_path_factory.mktemp("clips") / "clips.csv"
    table = ClipsTable([Clip(a, Path("/m/a.wav"), b, labels={"x": x}) for a, b in keys], {"x": "number"})
    table.write_csv(path)
    found = ClipsTable.read_csv(path, check_media=False)
    assert [clip.key for clip in found] == keys
    assert [clip.labels["x"] for clip in found] == [x] * len(keys)
    assert [path.name for path in path.parent.iterdir()] == ["clips.csv"]


def test_versions_are_immutable_and_the_newest_is_read(store_path):
    one, two = (ClipsTable([Clip(name, Path("/m/a.wav"))]) for name in ("one", "two"))
    with FeatureStore.open(store_path, "a") as store:
        with pytest.raises(NotFound, match="has none"):
            store.clips()
        versions = [store.write_clips(table) for table in (one, two, two, one)]
    assert len(set(versions)) == 3
    assert versions[1] == versions[2]
    store = FeatureStore.open(store_path)
    assert store.clips() == one
    assert [store.clips(version) for version in versions] == [one, two, two, one]
    assert store.info()["clips_version"] == versions[3]
    with pytest.raises(NotFound, match="absent"):
        store.clips("absent")
    with pytest.raises(BadInput, match="reading"):
        store.write_clips(one)


def test_a_damaged_version_is_corrupt(store_path, layout):
    with FeatureStore.open(store_path, "a") as store:
        version = store.write_clips(ClipsTable([Clip("qqx", Path("/m/a.wav"))]))
        (column,) = (path for path, data in layout(store_path).contents().items() if b"qqx" in data)
        column.write_bytes(column.read_bytes().replace(b"qqx", b"xqq"))
        with pytest.raises(Corrupt, match=version):
            store.clips()


@pytest.mark.parametrize(
    ("clips", "columns"),
    [
        ([Clip("a", Path()), Clip("a", Path())], {}),
        ([Clip("", Path())], {}),
        ([Clip("a", Path(), "")], {}),
        ([Clip("a", Path(), labels={"x": 1.0})], {}),
        ([Clip("a", Path(), labels={"x": "1"})], {"x": "number"}),
        ([Clip("a", Path(), labels={"x": math.nan})], {"x": "number"}),
        ([Clip("a", Path(), labels={"x": ""})], {"x": "text"}),
        ([Clip("a", Path(), start=2, end=1)], {}),
        ([Clip("a", Path(), start=-1)], {}),
        ([Clip("a", Path(), end=math.inf)], {}),
    ],
)
def test_a_table_that_cannot_be_is_refused(clips, columns):
    with pytest.raises(BadInput):
        ClipsTable(clips, columns)
