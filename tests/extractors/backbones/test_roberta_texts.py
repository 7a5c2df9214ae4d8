"""The backbone roberta: where texts come from, what time tokens have, long transcripts, chosen prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import ExtractorSettings, load
from cuebank.extractors.backbones.roberta import prompt_table
from cuebank.extractors.base import Needs
from cuebank.extractors.errors import MediaError
from cuebank.extractors.registry import card
from cuebank.extractors.text_source import text_source
from cuebank.store import BadInput, Clip, ClipsTable, FeatureSpec, FeatureStore, NotFound, Recipe

NAME = "whisper-x.openai@last"
CHOSEN = "clip-prompts.x@chosen"
PROMPTS = ("a happy face", "a sad face", "a face")


def loaded(text: str | None = None, store: Path | None = None, **settings: Any) -> Any:
    return load(
        "roberta-tiny",
        ExtractorSettings(
            weights="random", text=text, store=None if store is None else str(store), dtype="float32", **settings
        ),
    )


def tokens(text: str) -> int:
    return len(text.encode()) + 2


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    (tmp_path / "v.txt").write_text(" so\nit is \r\n", encoding="utf-8")
    return tmp_path / "v.mp4"  # which nobody opens


def made_store(
    path: Path, texts: Sequence[str], times: Sequence[float], spans: Any = None, valid: Sequence[bool] | None = None
) -> Path:
    """A store with a transcript of the clip `a`, and, where given, the spans of its rows."""
    good = np.ones(len(texts), bool) if valid is None else valid
    with FeatureStore.open(path, "a") as store:
        store.create(FeatureSpec(NAME, "text", 1, "int64", Recipe("whisper-x", {}, "last")))
        store.write(NAME, "a", None, list(texts), times, good)
        if spans is not None:
            name = "whisper-x.openai@spans"
            store.create(FeatureSpec(name, "numeric", 2, "float64", Recipe("whisper-x", {}, "spans")))
            store.write(name, "a", None, np.array(spans, float), times[: len(spans)], [True] * len(spans))
        store.commit()
    return path


def test_a_file_beside_the_medium_is_the_default_and_its_lines_are_one_text(medium: Path) -> None:
    extractor = loaded()
    assert extractor.needs == Needs()
    (rows,) = extractor.read(Clip("a", medium))
    assert rows.values.shape == (tokens(" so it is "), 48)
    assert np.array_equal(rows.values, extractor._encoder.rows(" so it is ")[0])
    assert rows.valid.all()
    assert extractor.specs[0].name == "roberta-tiny.random-0@last"
    (medium.with_suffix(".txt")).write_text("\ufeffso", encoding="utf-8")
    assert extractor.read(Clip("a", medium))[0].values.shape == (4, 48)


def test_texts_without_times_are_at_the_middle_of_the_clip_or_at_its_start(medium: Path) -> None:
    assert set(loaded().read(Clip("a", medium, start=2.0, end=5.0))[0].times) == {1.5}
    assert set(loaded().read(Clip("a", medium, end=5.0))[0].times) == {2.5}
    assert set(loaded().read(Clip("a", medium, start=2.0))[0].times) == {0.0}
    assert loaded(pooling="mean").read(Clip("a", medium, end=5.0))[0].times.tolist() == [2.5]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "is empty"), (b" \n\t\n", "is empty"), (b"\xff", "not UTF-8")],
)
def test_absent_empty_and_damaged_files_are_failures(medium: Path, content: bytes | None, said: str) -> None:
    path = medium.with_suffix(".txt")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=said):
        loaded().read(Clip("a", medium))


def test_sempis_text_is_the_first_line_and_may_be_empty(medium: Path) -> None:
    extractor = loaded("sempi", pooling="mean")
    assert np.array_equal(extractor.read(Clip("a", medium))[0].values, extractor._encoder.rows(" so")[0])
    medium.with_suffix(".txt").write_text("")
    assert np.array_equal(extractor.read(Clip("a", medium))[0].values, extractor._encoder.rows("")[0])
    assert extractor.specs[0].fingerprint != loaded(pooling="mean").specs[0].fingerprint
    medium.with_suffix(".txt").unlink()
    with pytest.raises(MediaError, match="No such file"):
        extractor.read(Clip("a", medium))


def test_a_column_of_the_clips_table(medium: Path) -> None:
    extractor = loaded("column:said")
    clip = Clip("a", medium, labels={"said": "oh, é"})
    (rows,) = extractor.read(clip)
    assert np.array_equal(rows.values, extractor._encoder.rows("oh, é")[0])
    assert extractor.specs[0].name == "roberta-tiny.random-0-column-said@last"
    for blank in (None, " "):
        with pytest.raises(MediaError, match="blank"):
            extractor.read(Clip("a", medium, labels={"said": blank}))
    extractor.check_table(ClipsTable([clip], {"said": "text"}))
    with pytest.raises(BadInput, match="Did you mean `sayd`"):
        extractor.check_table(ClipsTable([], {"sayd": "text"}))
    with pytest.raises(BadInput, match="holds numbers"):
        extractor.check_table(ClipsTable([], {"said": "number"}))


@pytest.mark.parametrize("wanted", ["", "text", "txt:", "txt:x", "column:", "column", "stored:", "sempi:1"])
def test_other_sources_are_refused(wanted: str) -> None:
    with pytest.raises(BadInput, match="`column:NAME`"):
        text_source(wanted, None)


def test_tokens_of_a_transcript_have_the_times_of_their_rows(medium: Path, tmp_path: Path) -> None:
    store = made_store(
        tmp_path / "s.zarr", [" hi", "you", " ", "lost"], [1.0, 2.0, 2.5, 3.0], valid=[True, True, True, False]
    )
    extractor = loaded(f"stored:{NAME}", store)
    (rows,) = extractor.read(Clip("a", medium))
    assert np.array_equal(rows.values, extractor._encoder.rows(" hi you")[0])
    # The start and " hi", the blank that was put between, "you" and the end.
    assert rows.times.tolist() == [1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0]
    assert extractor.specs[0].name == "roberta-tiny.random-0-of-whisper-x-openai-last@last"
    assert loaded(f"stored:{NAME}", store, pooling="mean").read(Clip("a", medium))[0].times.tolist() == [1.5]


def test_tokens_are_spread_over_the_span_of_their_row_where_it_is_known(medium: Path, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", ["abcd", " efg"], [1.0, 3.0], [[0.0, 2.0], [2.0, 4.0]])
    extractor = loaded(f"stored:{NAME}", store)
    (rows,) = extractor.read(Clip("a", medium))
    assert rows.times.tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.0]
    plain = made_store(tmp_path / "p.zarr", ["abcd", " efg"], [1.0, 3.0])
    other = loaded(f"stored:{NAME}", plain)
    assert other.specs[0].fingerprint != extractor.specs[0].fingerprint
    assert np.array_equal(other.read(Clip("a", medium))[0].values, rows.values)


def test_spans_that_do_not_belong_to_the_texts_are_a_failure(medium: Path, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", ["ab", "c"], [1.0, 3.0], [[0.0, 2.0]])
    with pytest.raises(MediaError, match=r"has 2 rows, and `whisper-x\.openai@spans` has 1"):
        loaded(f"stored:{NAME}", store).read(Clip("a", medium))


def test_spans_that_overlap_still_give_times_that_never_decrease(medium: Path, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", ["abcd", " efg"], [2.0, 2.5], [[0.0, 4.0], [1.0, 4.0]])
    (rows,) = loaded(f"stored:{NAME}", store).read(Clip("a", medium))
    assert (np.diff(rows.times) >= 0).all()


def test_long_transcripts_go_in_parts_between_rows_and_lose_nothing(medium: Path, tmp_path: Path) -> None:
    said = [f" {number:03d} {'x' * 100}" for number in range(12)]  # 105 tokens each
    store = made_store(tmp_path / "s.zarr", said, list(range(12)))
    extractor = loaded(f"stored:{NAME}", store)
    (rows,) = extractor.read(Clip("a", medium))
    assert len(rows.values) == sum(map(len, said)) + 2 * 3  # 4 fit into 512
    parts = ["".join(said[first : first + 4]) for first in (0, 4, 8)]
    made = [extractor._encoder.rows(part)[0] for part in parts]
    assert np.array_equal(rows.values, np.concatenate(made))
    assert (np.diff(rows.times) >= 0).all()
    mean = loaded(f"stored:{NAME}", store, pooling="mean").read(Clip("a", medium))[0].values
    np.testing.assert_allclose(mean[0], rows.values.mean(0, dtype=np.float64), rtol=0, atol=1e-6)
    starts = loaded(f"stored:{NAME}", store, pooling="cls").read(Clip("a", medium))[0].values
    np.testing.assert_allclose(starts[0], np.mean([part[0] for part in made], 0), rtol=0, atol=1e-6)


def test_a_single_text_that_is_too_long_loses_its_end(medium: Path, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", ["y" * 600, "z"], [1.0, 2.0])
    extractor = loaded(f"stored:{NAME}", store, layers=("1", "last"))
    rows = extractor.read(Clip("a", medium))
    assert [one.values.shape for one in rows] == [(512 + 3, 48)] * 2
    assert rows[0].times[-3:].tolist() == [2.0, 2.0, 2.0]


def test_nothing_said_and_clips_without_a_transcript_are_failures(medium: Path, tmp_path: Path) -> None:
    store = made_store(tmp_path / "s.zarr", [], [])
    with pytest.raises(MediaError, match="Nothing was said"):
        loaded(f"stored:{NAME}", store).read(Clip("a", medium))
    with pytest.raises(MediaError, match=r"No series .* for clip 'b'"):
        loaded(f"stored:{NAME}", store).read(Clip("b", medium))


def test_feature_sets_that_are_absent_or_no_texts_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no store yet"):
        loaded(f"stored:{NAME}", tmp_path / "s.zarr")
    with pytest.raises(NotFound, match="no store yet"):
        loaded(f"stored:{NAME}")
    store = made_store(tmp_path / "s.zarr", ["a"], [1.0], [[0, 2]])
    with pytest.raises(NotFound, match=r"Did you mean `whisper-x\.openai@last`"):
        loaded("stored:whisper-x.openai@first", store)
    with pytest.raises(BadInput, match="neither texts nor numbers of prompts"):
        loaded("stored:whisper-x.openai@spans", store)


@pytest.fixture
def choices(tmp_path: Path) -> Path:
    steps = ({"step": "similarity-to-prompts", "prompts": list(PROMPTS)}, {"step": "most-similar"})
    spec = FeatureSpec(CHOSEN, "numeric", 1, "float16", Recipe("clip-prompts", {}, "chosen", preprocessing=steps))
    with FeatureStore.open(tmp_path / "c.zarr", "a") as store:
        store.create(spec)
        store.write(CHOSEN, "a", None, [[2.0], [0.0], [0.0], [1.0]], [0.0, 1.0, 2.0, 3.0], [True, True, False, True])
        store.write(CHOSEN, "b", None, [[3.0]], [0.0], [True])
        store.commit()
    return tmp_path / "c.zarr"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_chosen_prompts_have_a_row_for_each_picture(choices: Path, medium: Path, pooling: str) -> None:
    extractor = loaded(f"stored:{CHOSEN}", choices, pooling=pooling, layers=("1", "last"))
    first, last = extractor.read(Clip("a", medium))
    tables = prompt_table(extractor._encoder, PROMPTS)
    assert [table.shape for table in tables] == [(3, 48)] * 2
    for prompt, row in zip(PROMPTS, tables[1], strict=True):
        assert np.array_equal(row, extractor._encoder.rows(prompt)[1][0])
    assert np.array_equal(first.values, tables[0][[2, 0, 0, 1]])
    assert np.array_equal(last.values[last.valid], tables[1][[2, 0, 1]])
    assert last.times.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert last.valid.tolist() == [True, True, False, True]
    with pytest.raises(MediaError, match="numbers up to 3 of 3 prompts"):
        extractor.read(Clip("b", medium))


def test_chosen_prompts_need_one_row_for_each_text(choices: Path) -> None:
    with pytest.raises(BadInput, match="--pooling cls"):
        loaded(f"stored:{CHOSEN}", choices)


def test_the_family_has_its_cards() -> None:
    assert card("roberta").name == "roberta-base"
    assert (card("roberta-large").dim, card("roberta-large").layers) == (1024, 24)
    assert card("roberta-tiny").input == "text"
