"""Damage of a text is found, said with the name of its series, and never given a new checksum."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cuebank.store import Corrupt, CuebankError, FeatureSpec, FeatureStore, Recipe, Series
from cuebank.store import feature_store as feature_store_module
from cuebank.store import segments as segments_module
from cuebank.store.compact import compact
from cuebank.store.content_hash import feature_set_hash
from cuebank.store.verify import verify

WORDS = "demo.x"  # where the kit looks
SPEC = FeatureSpec(WORDS, "text", 1, "int64", Recipe("words", {}))
TEXTS = {"a": ["one", "two"], "b": ["drei", "", "vier ☃"], "c": ["five"]}


@pytest.fixture(params=[0, 5000], ids=["small", "mapped"])
def text_store(request, store_path):
    """A store with three series; the second one is long enough to be mapped, or not."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.record_failure(WORDS, "bad", None, "nobody speaks")
        for clip, texts in TEXTS.items():
            rows = [*texts, "x" * request.param] if clip == "b" else texts
            store.write(WORDS, clip, None, rows, np.arange(len(rows)), np.ones(len(rows), bool))
        store.commit()
    return store_path


def damage(path, layout, old, new):
    """Put other bytes in place of some that occur once."""
    (file,) = [file for file in layout(path).files() if old in file.read_bytes()]
    data = file.read_bytes()
    assert data.count(old) == 1
    assert len(new) == len(old)
    file.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("new", ["vieR ☃".encode(), b"vier \xff\xff\xff", b"vier \0\0\0"])
def test_a_damaged_text_is_found_with_its_series_and_spares_the_others(text_store, layout, new):
    damage(text_store, layout, "vier ☃".encode(), new)
    report = verify(text_store)
    named = [one for one in report["problems"] if one["clip_id"] is not None]
    assert [(one["feature_set"], one["clip_id"]) for one in named] == [(WORDS, "b")]
    assert "checksum" in named[0]["problem"]
    assert any("`text`" in one["problem"] for one in report["problems"] if one["clip_id"] is None)
    with FeatureStore.open(text_store) as store:
        for _ in range(2):  # it is never taken for proven
            with pytest.raises(Corrupt, match="'b'"):
                store.read(WORDS, "b")
        assert store.read(WORDS, "a").values.tolist() == TEXTS["a"]
        with pytest.raises(Corrupt, match="'b'"):
            feature_set_hash(store, WORDS)


def test_a_merged_segment_has_the_damage_still(text_store, layout):
    damage(text_store, layout, b"drei", b"DREI")
    with FeatureStore.open(text_store, "a") as store:
        store.write(WORDS, "d", None, ["new"], [0], [True])
        store.commit()
        assert compact(store)["feature_sets"][WORDS]["segments_after"] == 1
        assert store.read(WORDS, "c").values.tolist() == TEXTS["c"]
        with pytest.raises(Corrupt, match="'b'"):
            store.read(WORDS, "b")
    assert [one["clip_id"] for one in verify(text_store)["problems"]] == ["b"]
    with FeatureStore.open(text_store, "a") as store:  # written anew, all is well
        store.write(WORDS, "b", None, ["new"], [0], [True])
        store.commit()
        compact(store)
    assert verify(text_store)["problems"] == []


@pytest.mark.parametrize("name", ["text_offsets", "row_size"])
def test_a_damaged_index_of_texts_is_found(text_store, layout, name):
    with FeatureStore.open(text_store) as store:
        file = store._committed(WORDS).locate("a", None)[0].file
        found = file.array(name).tobytes()
    if layout(text_store).hdf5:
        offset = file.stored.region(name)[0]
        layout.flip(layout(text_store).bundles()[0], 8 * offset + 3)
    else:
        damage(text_store, layout, found, bytes([found[0] ^ 8]) + found[1:])
    assert not verify(text_store)["ok"]
    with FeatureStore.open(text_store) as store, pytest.raises(Corrupt):
        store.read(WORDS, "a")


def written_by_a_sick_writer(path, sizes, text, valid=None):
    valid = np.ones(len(sizes), bool) if valid is None else np.array(valid)
    series = Series(np.array(sizes, "<i8").reshape(-1, 1), np.arange(float(len(sizes))), valid)
    with pytest.MonkeyPatch.context() as patch, FeatureStore.open(path, "a") as store:
        patch.setattr(feature_store_module, "check_text_series", lambda where, *parts: (series, text))
        store.create(SPEC)
        store.write(WORDS, "sick", None, None, None, None)
        patch.undo()
        store.write(WORDS, "well", None, ["well"], [0], [True])
        store.commit()


@pytest.mark.parametrize(
    ("sizes", "text", "match"),
    [
        ([3, 3], b"abcde", "sizes"),
        ([3, 1], b"abcde", "sizes"),
        ([7, -2], b"abcde", "sizes"),
        ([-5, 10], b"abcde", "sizes"),
        ([2**62, 2**62, 2**62, 2**62, 5], b"abcde", "sizes"),
        ([2**63 - 1, 2**63 - 1, 7], b"abcde", "sizes"),
        ([], b"abcde", "sizes"),
        ([1, 2], b"a\xc3(", "UTF-8"),
        ([1, 1], "é".encode(), "UTF-8"),
        ([3], b"\xed\xa0\x80", "UTF-8"),  # half of a surrogate pair
    ],
)
def test_what_a_sick_writer_stored_under_a_good_checksum_is_found(store_path, sizes, text, match):
    written_by_a_sick_writer(store_path, sizes, text)
    (problem,) = verify(store_path)["problems"]
    assert problem["clip_id"] == "sick"
    assert match in problem["problem"]
    with FeatureStore.open(store_path) as store:
        for _ in range(2):
            with pytest.raises(Corrupt, match=match):
                store.read(WORDS, "sick")
        assert store.read(WORDS, "well").values.tolist() == ["well"]


def test_a_text_in_a_row_that_is_not_valid_is_found(store_path):
    written_by_a_sick_writer(store_path, [2, 3], b"abcde", valid=[True, False])
    (problem,) = verify(store_path)["problems"]
    assert "not valid" in problem["problem"]


def test_a_text_that_belongs_to_a_failure_is_found(store_path, monkeypatch):
    packed = segments_module.pack_texts
    monkeypatch.setattr(segments_module, "pack_texts", lambda texts: packed([text or b"stray" for text in texts]))
    with FeatureStore.open(store_path, "a") as store:
        store.create(SPEC)
        store.write(WORDS, "a", "e", ["one"], [0], [True])
        store.record_failure(WORDS, "bad", "e", "no sound")
        store.commit()
    assert any("A failure has a text" in one["problem"] for one in verify(store_path)["problems"])
    with FeatureStore.open(store_path) as store, pytest.raises(CuebankError, match="failure has a text"):
        store.read(WORDS, "a", "e")


def flips(path, layout, count, seed):
    """Flip bits of a store's files, each alone; return those that `verify` does not find."""
    rng, missed, files = random.Random(seed), [], layout(path).files()
    for i in range(count):
        file = files[i % len(files)] if i < len(files) else rng.choice(files)
        data = file.read_bytes()
        if file == path and layout(path).root.is_dir() and layout(path).hdf5:
            continue  # the file of links, which is derived
        bit = rng.randrange(8 * len(data))
        layout.flip(file, bit)
        try:
            found = not verify(path)["ok"]
        except CuebankError:
            found = True
        if not found:
            missed.append((file, bit))
        file.write_bytes(data)
    assert verify(path)["ok"]
    return missed


def test_any_flipped_bit_is_found(text_store, layout):
    with FeatureStore.open(text_store, "a") as store:
        store.write(WORDS, "d", None, ["six"], [0], [True])
        store.commit()
    assert flips(text_store, layout, 80, seed=0) == []


@pytest.mark.slow
def test_any_of_many_flipped_bits_is_found(text_store, layout):
    assert flips(text_store, layout, 3000, seed=1) == []
