"""Labels from CSV: what is stored, class names, order of rows, and every mistake with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuebank.store import BadInput, Clip, ClipsTable, Conflict, CuebankError, FeatureStore, NotFound
from cuebank.store.import_labels import import_labels, parse_classes

GOOD = """clip_id,entity_id,time_s,emotion,level
a,left,0.5,happy,1.5
a,right,0.25,calm,-2
b,,1,,
a,left,0.25,sad,0
b,,0,calm,0.125
"""


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.open(tmp_path / "s.zarr", "a")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(text: str, name: str = "labels.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return make


def test_rows_are_sorted_by_time_into_the_series_of_their_entities(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    found = import_labels(write(GOOD), "toy.labels", store)
    assert (found.series, found.rows, found.unlabelled) == (3, 5, 1)
    spec = store.spec("toy.labels")
    assert (spec.kind, spec.dim, spec.dtype) == ("label", 2, "float32")
    assert spec.recipe.preprocessing == (
        {"step": "labels", "columns": ["emotion", "level"], "classes": {"emotion": ["calm", "happy", "sad"]}},
    )
    left = store.read("toy.labels", "a", "left")
    assert left.times.tolist() == [0.25, 0.5]
    assert left.values.tolist() == [[2, 0], [1, 1.5]]
    whole = store.read("toy.labels", "b")
    assert whole.times.tolist() == [0, 1]
    assert whole.valid.tolist() == [True, False]
    assert whole.values.tolist() == [[0, 0.125], [0, 0]]


def test_classes_may_be_given_and_are_those_of_the_set_where_it_exists(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    given = {"emotion": ["sad", "happy", "calm", "angry"]}
    import_labels(write(GOOD), "toy.labels", store, classes=given)
    assert store.read("toy.labels", "a", "left").values[:, 0].tolist() == [0, 1]
    more = write("clip_id,time_s,emotion,level\nc,0,angry,1\n", "more.csv")
    assert import_labels(more, "toy.labels", store).classes == given
    assert store.read("toy.labels", "c").values.tolist() == [[3, 1]]
    assert len(store.series("toy.labels")) == 4
    unknown = write("clip_id,time_s,emotion,level\nd,0,anger,1\n", "unknown.csv")
    with pytest.raises(BadInput, match=r"line 2: `emotion` is 'anger'. Did you mean `angry`"):
        import_labels(unknown, "toy.labels", store)


def test_columns_may_be_chosen_so_that_one_with_gaps_stands_alone(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    path = write("clip_id,time_s,x,y\na,0,1,\na,1,2,3\n")
    with pytest.raises(BadInput, match=r"line 2: `y` is empty where `x` is not.*--column"):
        import_labels(path, "toy.both", store)
    found = import_labels(path, "toy.y", store, columns=["y"])
    assert found.unlabelled == 1
    assert store.read("toy.y", "a").values.tolist() == [[0], [3]]
    with pytest.raises(NotFound, match="Mend --column"):
        import_labels(path, "toy.z", store, columns=["z"])
    with pytest.raises(NotFound, match="Mend --classes"):
        import_labels(path, "toy.z", store, classes={"z": ["a", "b"]})


def test_the_clips_table_is_kept_and_clips_that_it_does_not_know_are_refused(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    table = ClipsTable([Clip(name, Path(f"/x/{name}.mp4"), group_id="g") for name in ("a", "b")])
    import_labels(write(GOOD), "toy.labels", store, clips=table)
    assert store.clips() == table
    path = write("clip_id,time_s,x\na,0,1\naa,0,1\naa,1,1\n", "other.csv")
    with pytest.raises(BadInput, match=r"1 problem:\n  line 3: the clips table has no clip 'aa'. Did you mean `a`"):
        import_labels(path, "toy.other", store)


def test_series_that_are_there_are_replaced_only_on_purpose(store: FeatureStore, write: Callable[..., Path]) -> None:
    first = write("clip_id,time_s,x\na,0,1\n")
    import_labels(first, "toy.x", store)
    second = write("clip_id,time_s,x\na,0,2\nb,0,3\n", "second.csv")
    with pytest.raises(Conflict, match=r"1 of them already .*--overwrite"):
        import_labels(second, "toy.x", store)
    assert len(store.series("toy.x")) == 1
    import_labels(second, "toy.x", store, overwrite=True)
    assert store.read("toy.x", "a").values.tolist() == [[2]]


def test_other_columns_under_the_name_of_a_set_are_refused_field_by_field(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    import_labels(write("clip_id,time_s,x\na,0,1\n"), "toy.x", store)
    with pytest.raises(Conflict, match=r"columns\[0\]: 'x' -> 'y'"):
        import_labels(write("clip_id,time_s,y\nb,0,1\n", "y.csv"), "toy.x", store)


def test_all_mistakes_are_told_with_their_lines_and_nothing_is_written(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    path = write(
        "clip_id,entity_id,time_s,x\n"
        "a,,0,1\n"
        "a,,zero,1\n"
        "a,,nan,1\n"
        ",,2,1\n"
        "a,,3,one\n"
        "a,,4,1e300\n"
        "a,,5,16777217\n"
        "a,,0,2\n"
        "a,,6\n"
        "a, ,7,1\n"
    )
    with pytest.raises(BadInput) as error:
        import_labels(path, "toy.x", store)
    text = str(error.value)
    for line, said in (
        (3, "`time_s` is 'zero'"),
        (4, "`time_s` is 'nan'"),
        (5, "`clip_id` is empty"),
        (6, "`x` is 'one', which is not a finite number"),
        (7, "`x` is '1e300'"),
        (8, "exact up to 16777216"),
        (10, "3 cells where the header has 4"),
        (11, "`entity_id` is white space"),
    ):
        told = next(part for part in text.splitlines() if part.startswith(f"  line {line}: "))
        assert said in told
    assert store.feature_sets() == []


def test_a_moment_that_is_labelled_twice_is_refused_with_both_lines(
    store: FeatureStore, write: Callable[..., Path]
) -> None:
    path = write("clip_id,entity_id,time_s,x\na,e,0.5,1\na,f,0.5,1\na,e,0.50,2\n")
    with pytest.raises(BadInput, match=r"line 4: clip 'a', entity 'e', has a label at 0.5 s also in line 2"):
        import_labels(path, "toy.x", store)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("", BadInput, "`clip_id` is missing"),
        ("clip_id,x\na,1\n", BadInput, "`time_s` is missing"),
        ("clip_id,time_s\na,1\n", BadInput, "no label column"),
        ("clip_id,time_s,x,x\na,1,1,1\n", BadInput, "`x` is there twice"),
        ("clip_id,time_s,\na,1,1\n", BadInput, "column 3 has no name"),
        ("clip_id,time_s,x\n", BadInput, "no labels below the header"),
        ('clip_id,time_s,x\na,1,"1\n', BadInput, "not CSV"),
    ],
)
def test_a_file_that_is_no_table_of_labels_is_refused(
    store: FeatureStore, write: Callable[..., Path], text: str, error: type[CuebankError], said: str
) -> None:
    with pytest.raises(error, match=said):
        import_labels(write(text), "toy.x", store)


def test_files_that_are_absent_or_no_utf_8_are_said_so(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        import_labels(tmp_path / "absent.csv", "toy.x", store)
    (tmp_path / "latin.csv").write_bytes("clip_id,time_s,x\nä,0,1\n".encode("latin-1"))
    with pytest.raises(BadInput, match="not UTF-8"):
        import_labels(tmp_path / "latin.csv", "toy.x", store)


def test_many_problems_are_counted_and_the_first_are_shown(store: FeatureStore, write: Callable[..., Path]) -> None:
    path = write("clip_id,time_s,x\n" + "a,x,1\n" * 200)
    with pytest.raises(BadInput, match=r"It has 200 problems(.|\n)*and 150 more"):
        import_labels(path, "toy.x", store)


def test_ids_of_any_content_come_back(store: FeatureStore, write: Callable[..., Path]) -> None:
    path = write('clip_id,entity_id,time_s,x\n"../a,""b""\nc",ünï,0,1\n')
    import_labels(path, "toy.x", store)
    assert [(one.clip_id, one.entity_id) for one in store.series("toy.x")] == [('../a,"b"\nc', "ünï")]


def test_a_hundred_thousand_rows_are_read_as_arrays(store: FeatureStore, write: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    levels = rng.standard_normal(100_000).astype(np.float32)
    lines = [f"c{i % 50},e{i % 7},{i / 25!r},{value!r}\n" for i, value in enumerate(levels.tolist())]
    found = import_labels(write("clip_id,entity_id,time_s,x\n" + "".join(lines)), "toy.x", store)
    assert (found.series, found.rows) == (350, 100_000)
    series = store.read("toy.x", "c3", "e4")
    rows = [i for i in range(100_000) if i % 50 == 3 and i % 7 == 4]
    np.testing.assert_array_equal(series.values[:, 0], levels[rows])
    np.testing.assert_array_equal(series.times, np.array(rows) / 25)


def test_words_that_name_classes_are_read_or_refused() -> None:
    assert parse_classes(["emotion=calm, happy", "x=a"]) == {"emotion": ["calm", "happy"], "x": ["a"]}
    for word in ("emotion", "=a,b", "emotion=a,,b", "emotion=a,a"):
        with pytest.raises(BadInput, match="COLUMN=NAME,NAME"):
            parse_classes([word])
