"""Feature sets of texts: written, read in windows, written over, dropped, merged like any other; both containers."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest

from cuebank.store import BadInput, Corrupt, FeatureSpec, FeatureStore, Key, NotFound, Recipe, segments
from cuebank.store.align import align
from cuebank.store.compact import compact
from cuebank.store.drop import drop
from cuebank.store.gather import Gatherer, gather
from cuebank.store.verify import verify

WORDS = "words.x"
SPEC = FeatureSpec(WORDS, "text", 1, "int64", Recipe("words", {}))
LONG = "Überlänge ☃ " * 150_000  # 2.4 MB
TEXTS = {
    Key("plain"): ["hello", "", "a\0b\0", "日本語", "\U0001f600\u0301", " \n\t", "\ufeffx"],
    Key("long", "left"): ["short", LONG, "short again"],
    Key("none"): [],
    Key("empty"): ["", ""],
}


def clock(texts, step=0.5):
    """Return times and flags of some rows, all of them valid."""
    return np.arange(len(texts)) * step, np.ones(len(texts), bool)


def write(store, *keys, of=TEXTS):
    for key in keys or of:
        store.write(WORDS, *key, of[key], *clock(of[key]))
    store.commit()


def read_all(store):
    """Return key -> texts of all that is committed."""
    keys = [Key(one.clip_id, one.entity_id) for one in store.series(WORDS)]
    return {key: store.read(WORDS, *key).values.tolist() for key in keys}


@pytest.fixture
def text_store(store_path):
    """A store of two segments with texts, and a failure."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.record_failure(WORDS, "bad", None, "nobody speaks")
        write(store, Key("plain"), Key("none"))
        write(store, Key("long", "left"), Key("empty"))
    return store_path


def is_sound(path, series=4):
    return verify(path) == {"ok": True, "series": series, "problems": [], "notes": []}


def test_texts_read_back_as_they_were_written(text_store):
    with FeatureStore.open(text_store) as store:
        for key, texts in TEXTS.items():
            found = store.read(WORDS, *key)
            assert found.values.tolist() == texts
            assert (found.values.dtype, found.values.shape) == (object, (len(texts),))
            assert {type(text) for text in found.values} <= {str}
            assert (found.times == clock(texts)[0]).all()
            assert found.valid.all()
            assert not any(array.flags.writeable for array in found)
        assert store.failures(WORDS) == [("bad", None, "nobody speaks")]
        assert store.coverage()[WORDS] == (4, 4, 12, 1)
        told = store.info()["feature_sets"][WORDS]
        assert (told["kind"], told["rows"], told["series"], told["dim"]) == ("text", 12, 4, 1)
        assert told["bytes"] > len(LONG.encode())
        with pytest.raises(NotFound, match="nobody speaks"):
            store.read(WORDS, "bad")
    assert is_sound(text_store)


def test_windows_of_time_give_the_texts_in_them(text_store):
    with FeatureStore.open(text_store) as store:
        for _ in range(2):  # when it is first looked at, and again
            assert store.read(WORDS, "plain", None, 0.5, 2.0).values.tolist() == TEXTS[Key("plain")][1:4]
            assert store.read(WORDS, "long", "left", start_s=1.0).values.tolist() == ["short again"]
            assert store.read(WORDS, "plain", None, 9.0).values.shape == (0,)
            assert store.read(WORDS, "plain", None, stop_s=0.4).times.tolist() == [0.0]


def test_a_row_that_is_not_valid_has_no_text(store_path):
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, "c", None, ["a", None, "gone", "d"], [0, 1, 2, 3], [True, False, False, True])
        store.write(WORDS, "d", None, np.array(["x", "yy"]), [0, 0], [True, True])
        store.write(WORDS, "e", None, ("x",), np.zeros(1, int), np.ones(1, bool))
        store.commit()
        found = store.read(WORDS, "c")
        assert found.values.tolist() == ["a", "", "", "d"]
        assert found.valid.tolist() == [True, False, False, True]
        assert store.read(WORDS, "d").values.tolist() == ["x", "yy"]
    assert b"gone" not in b"".join(path.read_bytes() for path in store_path.parent.rglob("*") if path.is_file())
    assert is_sound(store_path, 3)


@pytest.mark.parametrize(
    ("values", "times", "valid", "match"),
    [
        (["a", "\ud800"], [0, 1], [True, True], "Row 1 is not valid Unicode"),
        (["a", None], [0, 1], [True, True], "Row 1 is 'None' of type NoneType"),
        (["a", b"b"], [0, 1], [True, True], "bytes"),
        (["a", 1.5], [0, 1], [True, True], "float"),
        ("ab", [0, 1], [True, True], "a str"),
        (b"ab", [0, 1], [True, True], "a bytes"),
        (7, [0], [True], "a int"),
        (np.array([["a"], ["b"]]), [0, 1], [True, True], r"an array \(2, 1\)"),
        (["a"], [0, 1], [True, True], r"\(1,\)"),
        (["a", "b"], [0, 1], [True], r"\(T,\)"),
        (["a", "b"], [1, 0], [True, True], "after a row"),
        (["a", "b"], [0, np.nan], [True, True], "not finite"),
        (["a", "b"], [0, 1], [1, 1], "booleans"),
        (["a", "b"], ["0", "1"], [True, True], "real numbers"),
    ],
)
def test_what_is_no_series_of_texts_is_refused(store_path, values, times, valid, match):
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        with pytest.raises(BadInput, match=match):
            store.write(WORDS, "c", None, values, times, valid)
        assert store.pending_series == 0


def test_texts_of_more_than_a_gibibyte_are_refused(store_path, monkeypatch):
    monkeypatch.setattr("cuebank.store.text_rows.MAX_SERIES_BYTES", 10)
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, "c", None, ["x" * 5] * 2, [0, 1], [True, True])
        with pytest.raises(BadInput, match="11 bytes"):
            store.write(WORDS, "c", None, ["x" * 5, "y" * 6], [0, 1], [True, True])


@pytest.mark.parametrize("other", [{"dim": 2}, {"dtype": "uint8"}, {"codec": "zstd"}])
def test_a_text_set_of_another_form_is_refused(other):
    with pytest.raises(BadInput, match="text"):
        FeatureSpec(**{"name": "x", "kind": "text", "dim": 1, "dtype": "int64", "recipe": Recipe("x", {}), **other})


def test_texts_are_no_numbers(text_store, make_spec, make_series):
    with FeatureStore.open(text_store, "a") as store:
        store.create(make_spec("demo.x"))
        store.write("demo.x", "plain", None, *make_series(0))
        store.commit()
        with pytest.raises(BadInput, match="Texts"):
            store.read(WORDS, "plain", out=np.zeros((9, 1), np.int64))
        with pytest.raises(BadInput, match="texts, not numbers"):
            gather(store, WORDS, [("plain", None)])
        with pytest.raises(BadInput, match="texts, not numbers"):
            Gatherer(store, WORDS)
        with pytest.raises(BadInput, match="texts, not numbers"):
            align(store, ["demo.x", WORDS], "plain", grid=1)
        aligned = align(store, ["demo.x"], "plain", grid=WORDS)
        assert aligned.times.tolist() == clock(TEXTS[Key("plain")])[0].tolist()
        with pytest.raises(BadInput, match="shapes"):
            store.write("demo.x", "c", None, ["a"], [0], [True])


def test_the_newest_texts_of_a_key_win_and_compaction_forgets_the_others(text_store, layout):
    new = {Key("plain"): ["now", "other"], Key("bad"): ["it worked"]}
    with FeatureStore.open(text_store, "a") as store:
        store.write(WORDS, "plain", None, ["at once replaced"], [0], [True])
        write(store, of=new)
        assert read_all(store) == TEXTS | new
        assert store.failures(WORDS) == []
        assert layout(text_store).holds("日本語".encode())
        told = compact(store)
        assert told["problems"] == []
        assert told["feature_sets"][WORDS]["segments_after"] == 1
        assert read_all(store) == TEXTS | new
    assert not layout(text_store).holds("日本語".encode())
    assert not layout(text_store).holds(b"at once replaced")
    with FeatureStore.open(text_store) as store:
        assert read_all(store) == TEXTS | new
    assert is_sound(text_store, 5)


def test_dropped_texts_are_gone_from_the_disk(text_store, layout):
    with FeatureStore.open(text_store, "a") as store:
        told = drop(store, WORDS, [("plain", None), ("bad", None)])
        assert (told["series"], told["waiting_bytes"]) == (1, 0)
        left = {key: texts for key, texts in TEXTS.items() if key != Key("plain")}
        assert read_all(store) == left
    assert not layout(text_store).holds("日本語".encode())
    assert not layout(text_store).holds(b"nobody speaks")
    assert is_sound(text_store, 3)
    with FeatureStore.open(text_store, "a") as store:
        drop(store, WORDS)
        assert store.feature_sets() == []
    assert not layout(text_store).holds(b"short again")


def test_a_reader_goes_on_reading_what_was_replaced(text_store):
    with FeatureStore.open(text_store) as reader, FeatureStore.open(text_store, "a") as store:
        assert len(reader.series(WORDS)) == 4
        write(store, of={Key("plain"): ["new"]})
        compact(store)
        assert read_all(reader) == TEXTS
        reader.refresh()
        assert read_all(reader)[Key("plain")] == ["new"]


def test_long_texts_do_not_stay_in_memory_while_they_are_pending(store_path, monkeypatch, layout):
    monkeypatch.setattr(segments, "TEXT_BYTES", 2**20)
    one = "x" * 2**18
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, "warm", None, [one], [0], [True])
        tracemalloc.start()
        for i in range(64):
            store.write(WORDS, f"c{i}", None, [one], [0], [True])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * 2**20  # of 16
        assert (store.pending_series, len(store.series(WORDS))) == (65, 0)
        assert store.pending_bytes == 65 * (len(one) + 17)
        assert layout(store_path).bundles(feature_set=WORDS) == []
        store.commit()
        assert len(layout(store_path).bundles(feature_set=WORDS)) == 17
        assert len(store.series(WORDS)) == 65
        assert store.pending_bytes == 0
    assert is_sound(store_path, 65)


def test_the_last_of_several_pending_texts_of_a_key_wins_also_over_several_segments(store_path, monkeypatch):
    monkeypatch.setattr(segments, "TEXT_BYTES", 10)
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.record_failure(WORDS, "a", None, "not yet")
        for i in range(5):
            for clip in "ab":
                store.write(WORDS, clip, None, [f"{clip}{i}" * 3], [i], [True])
        store.record_failure(WORDS, "b", None, "hides nothing")
        store.record_failure(WORDS, "c", None, "only this")
        store.write(WORDS, "huge", None, ["y" * 100], [0], [True])
        store.commit()
        assert read_all(store) == {Key("a"): ["a4a4a4"], Key("b"): ["b4b4b4"], Key("huge"): ["y" * 100]}
        assert store.failures(WORDS) == [("c", None, "only this")]
    assert is_sound(store_path, 3)


def test_a_disk_that_fails_before_the_commit_is_told_and_nothing_is_committed(store_path, monkeypatch):
    monkeypatch.setattr(segments, "TEXT_BYTES", 10)
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, "a", None, ["x" * 8], [0], [True])
        real = os.fsync

        def broken(fd):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input"):
            store.write(WORDS, "b", None, ["x" * 8], [0], [True])
        monkeypatch.setattr(os, "fsync", real)
        store.write(WORDS, "c", None, ["x" * 8], [0], [True])
        with pytest.raises(OSError, match="Input"):
            store.commit()
    with FeatureStore.open(store_path) as store:
        assert read_all(store) == {}
    assert is_sound(store_path, 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_while_texts_go_to_the_disk_loses_nothing(store_path, monkeypatch, when):
    monkeypatch.setattr(segments, "TEXT_BYTES", 10)
    finish, interrupts = segments.PendingSegment.finish, [True]

    def interrupted(self, fingerprint):
        if when == "after":
            finish(self, fingerprint)
        if interrupts:
            interrupts.pop()
            self.sealed = True
            raise KeyboardInterrupt
        finish(self, fingerprint)

    monkeypatch.setattr(segments.PendingSegment, "finish", interrupted)
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, "a", None, ["x" * 8], [0], [True])
        with pytest.raises(KeyboardInterrupt):
            store.write(WORDS, "b", None, ["x" * 8], [0], [True])
        store.write(WORDS, "b", None, ["z" * 8], [0], [True])
        store.commit()
        assert read_all(store) == {Key("a"): ["x" * 8], Key("b"): ["z" * 8]}
    assert is_sound(store_path, 2)


def test_merged_segments_of_texts_stay_small(store_path, monkeypatch, layout):
    monkeypatch.setattr("cuebank.store.compact.TEXT_TARGET_BYTES", 3000)
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        for i in range(12):
            write(store, of={Key(f"c{i}"): ["x" * 900]})
        for _ in range(2):
            compact(store)
            assert len(layout(store_path).bundles(feature_set=WORDS)) == 4
        assert len(read_all(store)) == 12


def test_closing_drops_what_is_pending(store_path, layout, monkeypatch):
    monkeypatch.setattr(segments, "TEXT_BYTES", 10)
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        for i in range(3):
            store.write(WORDS, f"c{i}", None, ["x" * 9], [0], [True])
    assert layout(store_path).strangers == []
    assert is_sound(store_path, 0)


def test_two_writers_and_an_overwrite_by_the_other(text_store):
    with FeatureStore.open(text_store, "a") as one, FeatureStore.open(text_store, "a") as other:
        one.write(WORDS, "plain", None, ["one"], [0], [True])
        other.write(WORDS, "plain", None, ["other"], [0], [True])
        one.commit()
        other.commit()
        one.refresh()
        assert read_all(one)[Key("plain")] == ["other"]


def test_only_segments_of_texts_are_of_format_3(text_store):
    with FeatureStore.open(text_store, "a") as store:
        compact(store)
        container = store._container
        spec = store.spec(WORDS)
        (name,) = container.segments(WORDS)
        assert container.open_segment(spec, name).attributes["format"] == 3
        (index,) = container.indexes(WORDS)
        assert container.open_index(spec, index).attributes["format"] == 2
        assert store.info()["format"] == 2


def test_who_takes_it_for_a_set_of_numbers_gets_an_error(text_store, monkeypatch):
    """An older cuebank knew the kind, and would take the sizes of texts for features."""
    monkeypatch.setattr(FeatureSpec, "is_text", property(lambda self: False))
    with FeatureStore.open(text_store, "a") as store:
        assert store.spec(WORDS).kind == "text"
        assert store.info()["feature_sets"][WORDS]["broken_segments"] == 2
        with pytest.raises(Corrupt, match="cannot be read"):
            store.read(WORDS, "plain")
        assert "format 3" in compact(store)["problems"][0]["problem"]
    monkeypatch.undo()
    with FeatureStore.open(text_store) as store:
        assert read_all(store) == TEXTS
