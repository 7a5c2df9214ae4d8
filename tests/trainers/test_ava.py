"""Active-speaker files by the official protocol: recorded values and errors, and both ways of reading."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers import ava_match
from cuebank.trainers.ava import SUB_CATEGORIES, match_ava

BOX = [f"entity_box_{corner}" for corner in ("x1", "y1", "x2", "y2")]
HEADER = ["video_id", "frame_timestamp", *BOX, "label", "entity_id"]
WAYS = ["arrow", "csv"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """With pyarrow, and as if it were not installed."""
    if request.param == "arrow":
        pytest.importorskip("pyarrow")
    else:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return request.param


def official(predictions: Path, truth: Path) -> float:
    """The protocol as the specification has it, row by row; equal scores in the order of the truth; percent."""
    read = [rows_of(path) for path in (truth, predictions)]
    known, found = ({f"{float(r['frame_timestamp'])}:{r['entity_id']}": r for r in rows} for rows in read)
    joined = [
        (float(found[uid]["score"]), row["label"] == "SPEAKING_AUDIBLE") for uid, row in known.items() if uid in found
    ]
    hits = list(itertools.accumulate(y for _, y in sorted(joined, key=lambda row: -row[0])))
    recall = [0.0, *(hit / hits[-1] for hit in hits), 1.0]
    precision = [0.0, *(hit / (i + 1) for i, hit in enumerate(hits)), 0.0]
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return 100 * sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]], columns: list[str] | None = None, header: bool = True) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), extrasaction="ignore")
        if header:
            writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path):
    """Return a function that writes made-up truth and predictions, after changing them; (predictions, truth)."""

    def make(change=lambda known, found: None, n: int = 24, header: bool = True):
        rng = np.random.default_rng(n)
        known, found = [], []
        for i in range(n):
            row = dict.fromkeys(HEADER, "")
            row.update(video_id=f"v{i % 3}", frame_timestamp=f"{i // 6 * 0.04 + 1:.2f}", entity_id=f"v{i % 3}:{i % 6}")
            row.update({name: f"{value:.6f}" for name, value in zip(BOX, rng.random(4), strict=True)})
            row["label"] = "SPEAKING_AUDIBLE" if rng.random() < 0.5 else "NOT_SPEAKING"
            known.append(row)
            found.append({**row, "label": "SPEAKING_AUDIBLE", "score": f"{rng.random():.2f}"})
        found = [found[i] for i in rng.permutation(n)]
        change(known, found)
        truth = write(tmp_path / "truth.csv", known, HEADER, header)
        return write(tmp_path / "predictions.csv", found, [*HEADER, "score"], header), truth

    return make


@pytest.mark.golden("asd_map")
def test_the_recorded_cases_have_their_values_and_bounds(golden_case, way):
    for name, expected in golden_case.json()["cases"].items():
        stem = f"{golden_case.name}_{name}_{golden_case.letter}"
        predictions, truth = (golden_case.path.parent / f"{stem}_{part}.csv" for part in ("pred", "gt"))
        found = match_ava(predictions, truth).score()
        assert (found.rows, found.positives) == (expected["rows"], expected["positives"]), name
        assert 100 * found.score == pytest.approx(expected["stable_order_value"], abs=1e-9), name
        assert 100 * found.low == pytest.approx(expected["lower_bound_over_tie_orders"], abs=1e-9), name
        assert 100 * found.high == pytest.approx(expected["upper_bound_over_tie_orders"], abs=1e-9), name
        assert 100 * found.low - 1e-9 <= expected["value_percent"] <= 100 * found.high + 1e-9, name
        assert official(predictions, truth) == pytest.approx(expected["stable_order_value"], abs=1e-9), name


def change_of(case: str, known: list, found: list) -> None:
    """Make the malformed input that a recorded case of the official tool's behaviour names."""
    if case == "one_prediction_row_missing":
        found.pop()
    elif case == "same_count_but_one_uid_unmatched":
        found[3]["frame_timestamp"] = "99.99"
    elif case == "duplicate_uid":
        found[3].update(frame_timestamp=found[5]["frame_timestamp"], entity_id=found[5]["entity_id"])
    elif case.startswith("box_differs_"):
        found[3]["entity_box_x2"] = repr(float(found[3]["entity_box_x2"]) + float(case.removeprefix("box_differs_")))
    elif case == "second_label_in_predictions":
        found[3]["label"] = "NOT_SPEAKING"
    elif case == "only_wrong_label_in_predictions":
        for row in found:
            row["label"] = "NOT_SPEAKING"
    elif case == "score_missing":
        found[3]["score"] = ""
    elif case == "no_positive":
        for row in known:
            row["label"] = "NOT_SPEAKING"
    elif case == "third_label_counts_as_negative":
        next(row for row in known if row["label"] == "NOT_SPEAKING")["label"] = "SPEAKING_NOT_AUDIBLE"
    else:
        pytest.fail(f"The recorded case {case} is not known to this test.")


SAID = {
    "one_prediction_row_missing": r"same number of unique rows.*1 of its rows have no prediction",
    "duplicate_uid": r"1 rows are there twice.*unique",
    "box_differs_1e-6": r"bounding boxes differ by more than 1e-9 at [\d.]+:\S+ \(lines",
    "second_label_in_predictions": r"line \d+: the label is 'NOT_SPEAKING'",
    "only_wrong_label_in_predictions": r"line 2: the label is 'NOT_SPEAKING'.*no label but SPEAKING_AUDIBLE",
    "score_missing": r"line \d+: score is '', no finite number",
    "no_positive": r"None of the \d+ matched rows .* is SPEAKING_AUDIBLE",
}


@pytest.mark.golden("asd_map")
def test_the_recorded_errors_are_typed_errors_and_what_was_scored_is_scored(golden_case, way, files, tmp_path):
    stem = f"{golden_case.name}_noties_{golden_case.letter}"
    truth, predictions = (golden_case.path.parent / f"{stem}_{part}.csv" for part in ("gt", "pred"))
    plain = match_ava(predictions, truth).score().score
    for case, recorded in golden_case.json()["error_behaviour"].items():
        known, found = rows_of(truth), rows_of(predictions)
        change_of(case, known, found)
        changed = write(tmp_path / "p.csv", found), write(tmp_path / "t.csv", known)
        if recorded["error"]:
            with pytest.raises(BadInput) as caught:
                match_ava(*changed).score()
            said = f"{caught.value.todo} {caught.value.found} {caught.value.todo}"
            assert re.search(SAID[case], said), (case, said)
        else:
            rows = match_ava(*changed)
            assert 100 * rows.score().score == pytest.approx(official(*changed), abs=1e-9), case
            unmatched = case == "same_count_but_one_uid_unmatched"
            assert rows.unmatched == int(unmatched)
            assert unmatched or rows.score().score == plain


def test_made_up_rows_score_as_the_official_steps_whatever_their_order_and_columns(files, way):
    def more_columns(known, found):
        for row in found:
            row["entity_box_x1"] += "000"  # the same number in other letters

    predictions, truth = files(more_columns, n=60)
    found = match_ava(predictions, truth)
    assert 100 * found.score().score == pytest.approx(official(predictions, truth), abs=1e-9)
    columns = ["score", "extra", *reversed(HEADER)]
    rows = [{**row, "extra": 'a,"b\n'} for row in rows_of(predictions)]
    again = match_ava(write(predictions.with_name("other.csv"), rows, columns), truth)
    assert again.score() == found.score()


def test_both_ways_of_reading_give_the_same_rows(files, monkeypatch):
    pytest.importorskip("pyarrow")
    predictions, truth = files(n=48)
    fast = match_ava(predictions, truth)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    slow = match_ava(predictions, truth)
    for name in ("scores", "speaking", "videos", "keys"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))
    assert fast.video_names == slow.video_names == ("v0", "v1", "v2")


def test_files_without_header_are_avas_own(files, way):
    with_header = match_ava(*files()).score()
    assert match_ava(*files(header=False)).score() == with_header


def test_times_match_by_number_and_not_by_spelling(files, way):
    def spell(known, found):
        for row in found:
            row["frame_timestamp"] = f"{float(row['frame_timestamp']):.6e}"

    assert match_ava(*files(spell)).score() == match_ava(*files()).score()


def test_times_with_many_decimals_and_far_apart_match_too(files, way, monkeypatch):
    def spread(known, found):
        for row in (*known, *found):
            row["frame_timestamp"] = repr(float(row["frame_timestamp"]) ** 9 / 7)

    expected = match_ava(*files(n=60)).score()
    assert match_ava(*files(spread, n=60)).score() == expected
    monkeypatch.setattr(ava_match, "SPARSE", 0)
    assert match_ava(*files(n=60)).score() == expected
    with pytest.raises(BadInput, match="there twice"):
        match_ava(*files(lambda known, found: known.append(known[0]), n=60))


def test_a_column_of_integers_in_one_file_only_is_told_by_name(files, way):
    def integers(known, found):
        for i, row in enumerate(known):
            row.update(frame_timestamp=f"{i + 1}.0", entity_id="v0:0")
        by_box = {row["entity_box_x1"]: row for row in known}
        for row in found:
            row.update(frame_timestamp=by_box[row["entity_box_x1"]]["frame_timestamp"][:-2], entity_id="v0:0")

    with pytest.raises(BadInput, match=r"written as integers.*would match no row.*by number 24 rows match"):
        match_ava(*files(integers))


def test_integers_in_both_files_match(files, way):
    def integers(known, found):
        for row in (*known, *found):
            row["frame_timestamp"] = f"{round(float(row['frame_timestamp']) * 100)}"

    assert match_ava(*files(integers)).score() == match_ava(*files()).score()


def test_nothing_in_common_is_an_error_where_the_official_tool_says_zero(files, way):
    def rename(known, found):
        for row in found:
            row["entity_id"] = "w" + row["entity_id"]

    with pytest.raises(BadInput, match=r"No row has a partner: the truth has 1\.0:v0:0, the predictions"):
        match_ava(*files(rename))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("score", "nan", "line 7: score is 'nan'"),
        ("score", "inf", "line 7: score is 'inf'"),
        ("score", "1_0", "line 7: score is '1_0'"),
        ("frame_timestamp", "soon", "line 7: frame_timestamp is 'soon'"),
        ("entity_box_y2", "", "line 7: entity_box_y2 is ''"),
        ("entity_id", "", "line 7: entity_id is empty"),
        ("video_id", "", "line 7: video_id is empty"),
        ("label", "", "line 7: the label is ''"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_with_its_line(files, way, column, value, said):
    with pytest.raises(BadInput, match=re.escape(said)):
        match_ava(*files(lambda known, found: found[5].update({column: value})))


def test_a_row_that_is_cut_off_and_a_repeated_row_are_told_with_their_lines(files, way):
    predictions, truth = files()
    lines = predictions.read_text().splitlines()
    predictions.write_text("\n".join([*lines[:4], lines[4].rsplit(",", 2)[0], *lines[5:]]))
    with pytest.raises(BadInput, match="line 5: 7 cells in place of 9"):
        match_ava(predictions, truth)
    predictions.write_text("\n".join([*lines[:4], "", *lines[4:], lines[5]]))
    with pytest.raises(BadInput, match=r"1 rows are there twice, the first \S+ \(lines 7 and 27\)"):
        match_ava(predictions, truth)


def test_missing_files_columns_and_rows_are_typed_errors(files, way, tmp_path):
    predictions, truth = files()
    with pytest.raises(NotFound):
        match_ava(tmp_path / "none.csv", truth)
    with pytest.raises(BadInput, match="missing: score"):
        match_ava(truth, truth)
    with pytest.raises(BadInput, match="has no rows"):
        match_ava(write(tmp_path / "empty.csv", rows_of(predictions)[:0] or [], [*HEADER, "score"]), truth)
    (tmp_path / "latin.csv").write_bytes(predictions.read_bytes().replace(b"v0:0", b"v\xe9:0"))
    with pytest.raises(BadInput):
        match_ava(tmp_path / "latin.csv", truth)


def test_videos_and_parts_score_as_files_of_their_own(files, way, tmp_path):
    predictions, truth = files(n=90)
    found = match_ava(predictions, truth)
    parts = {"two": ["v0", "v2"], "none": ["w9"]}
    scores = {**found.score_videos(), **found.score_parts(parts)}
    assert list(scores) == ["v0", "v1", "v2", "two", "none"]
    for name, videos in {**{video: [video] for video in ("v0", "v1", "v2")}, "two": parts["two"]}.items():
        halves = [[row for row in rows_of(path) if row["video_id"] in videos] for path in (predictions, truth)]
        alone = match_ava(write(tmp_path / "a.csv", halves[0]), write(tmp_path / "b.csv", halves[1]))
        assert scores[name] == alone.score(), name
    assert scores["none"].to_json()["map_ava"] is None
    assert scores["none"].rows == 0


def test_a_video_without_positives_has_no_score_and_the_others_have(files, way):
    def silence(known, found):
        for row in known:
            if row["video_id"] == "v1":
                row["label"] = "NOT_SPEAKING"

    scores = match_ava(*files(silence)).score_videos()
    assert scores["v1"].score is None
    assert scores["v1"].rows == 8
    assert scores["v0"].score is not None


def test_the_sub_categories_part_the_22_test_videos_of_unitalk(files, way):
    videos = [video for part in SUB_CATEGORIES.values() for video in part]
    assert len(videos) == len(set(videos)) == 22
    assert [len(SUB_CATEGORIES[name]) for name in ("language", "mixed", "noise", "visual")] == [7, 9, 3, 3]
    assert all(len(video) == 11 for video in videos)

    def rename(known, found):
        for row in (*known, *found):
            row["video_id"] = {"v0": "EEey6Pt0rqI", "v1": "AkkEnGdG0a0", "v2": "elsewhere"}[row["video_id"]]

    assert match_ava(*files(rename)).sub_categories() == {"noise": ["EEey6Pt0rqI"], "visual": ["AkkEnGdG0a0"]}
