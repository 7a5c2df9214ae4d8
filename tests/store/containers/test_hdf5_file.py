"""HDF5 files as cuebank reads them: cheap to open, every bit proven, and never a crash on what was made to deceive."""

from __future__ import annotations

import json
import random
import resource
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from cuebank.store import Corrupt, CuebankError, FeatureStore
from cuebank.store.containers.hdf5_layout import USER_BLOCK, Frame, parse_frame
from cuebank.store.containers.names import checksum_in
from cuebank.store.files import crc32c, render_json
from cuebank.store.verify import verify

HUGE = [-1, 2**31, 10**9, 2**62, 2**63, 10**30, 1.5, "7", None, True, [], {}, [[]]]


@pytest.fixture
def container():
    return "h5"


@pytest.fixture(params=["none", "zstd", "blosc"])
def one_segment(request, store_path, make_spec, make_series):
    """A store with one segment: clips c0 and c1, and a failure."""
    with FeatureStore.open(store_path, "a") as store:
        store.create(replace(make_spec(), codec=request.param))
        for i in range(2):
            store.write("demo.x", f"c{i}", None, *make_series(i, rows=4 + i))
        store.record_failure("demo.x", "bad", None, "no sound")
        store.commit()
    return store_path


def segment_of(path):
    return next((path.with_name(path.name + ".segments") / "demo.x" / "segments").iterdir())


def fold(path):
    with FeatureStore.open(path, "a") as store:
        assert store._container.fold()


def is_found(path):
    """Whether verify reports damage, or refuses the store for it."""
    try:
        return not verify(path)["ok"]
    except CuebankError:
        return True


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def check_flips(store, file, count, seed):
    whole, rng = file.read_bytes(), random.Random(seed)
    bits = [*rng.sample(range(8 * len(whole)), count), *rng.sample(range(8 * USER_BLOCK), count // 10)]
    assert not is_found(store)
    for bit in bits:
        flip(file, bit)
        assert is_found(store), f"bit {bit % 8} of byte {bit // 8}"
        file.write_bytes(whole)
    assert not is_found(store)


def test_any_flipped_bit_of_a_segment_is_found(one_segment):
    check_flips(one_segment, segment_of(one_segment), 150, seed=1)


@pytest.mark.slow
def test_a_flipped_bit_in_any_byte_of_a_segment_is_found(one_segment):
    file = segment_of(one_segment)
    whole, rng = file.read_bytes(), random.Random(2)
    for byte in range(len(whole)):
        flip(file, 8 * byte + rng.randrange(8))
        assert is_found(one_segment), f"byte {byte}"
        file.write_bytes(whole)


def test_any_flipped_bit_of_a_single_file_is_found(one_segment):
    fold(one_segment)
    check_flips(one_segment, one_segment, 150, seed=3)


@pytest.mark.parametrize("part", ["_store.h5", "demo.x/feature-set.h5"])
def test_any_flipped_bit_of_a_description_is_found(one_segment, part):
    check_flips(one_segment, one_segment.with_name("features.h5.segments") / part, 60, seed=4)


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 600, -1])
def test_a_file_that_was_cut_is_corrupt(one_segment, cut):
    file = segment_of(one_segment)
    file.write_bytes(file.read_bytes()[:cut])
    assert is_found(one_segment)
    with pytest.raises(CuebankError):
        FeatureStore.open(one_segment).read("demo.x", "c0")


def test_bytes_after_the_end_are_found(one_segment):
    with segment_of(one_segment).open("ab") as file:
        file.write(b"\0")
    assert is_found(one_segment)


def test_links_in_place_of_files_are_not_followed(one_segment, quick_path):
    file = segment_of(one_segment)
    elsewhere = quick_path / file.name
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert is_found(one_segment)
    with pytest.raises(CuebankError):
        FeatureStore.open(one_segment).read("demo.x", "c0")


def forge(path, change):
    """Change the document and the entry of a file of one bundle, and mend all checksums, as an attacker would."""
    data = path.read_bytes()
    frame = parse_frame(data[:USER_BLOCK], "x")
    directory = json.loads(data[frame.offset : frame.offset + frame.size])
    offset, size, _, arrays = directory["bundles"][""]
    document = json.loads(data[offset : offset + size])
    entry = [len(data), 0, 0, arrays]
    change(document, entry)
    data += render_json(document)
    entry[1], entry[2] = entry[1] or len(data) - len(path.read_bytes()), crc32c(render_json(document))
    directory["bundles"][""] = entry
    text = render_json(directory)
    head = Frame(len(data), len(text), crc32c(text), 0, len(data) + len(text)).render()
    path.write_bytes(head + data[USER_BLOCK:] + text)
    if checksum_in(path.stem):
        path.rename(path.with_name(f"{path.stem[:-8]}{entry[2]:08x}.h5"))


def at(*keys):
    """Return a change that sets what lies at these keys."""

    def make(value):
        def change(document, entry):
            target = {"document": document, "entry": entry}
            for key in keys[:-1]:
                target = target[key]
            target[keys[-1]] = value

        return change

    return make


FORGERIES = {
    "series": at("document", "attributes", "series"),
    "rows": at("document", "attributes", "rows"),
    "checksum": at("document", "attributes", "checksums", "clip_id"),
    "checksums": at("document", "attributes", "checksums"),
    "format": at("document", "attributes", "format"),
    "codec": at("document", "attributes", "codec"),
    "fingerprint": at("document", "attributes", "fingerprint"),
    "values shape": at("document", "arrays", "values", "shape"),
    "values rows": at("document", "arrays", "values", "shape", 0),
    "values dim": at("document", "arrays", "values", "shape", 1),
    "values type": at("document", "arrays", "values", "dtype"),
    "values": at("document", "arrays", "values"),
    "chunk rows": at("document", "arrays", "values", "chunk_rows"),
    "text shape": at("document", "arrays", "clip_id", "shape", 0),
    "hash shape": at("document", "arrays", "key_hash", "shape", 0),
    "arrays": at("document", "arrays"),
    "attributes": at("document", "attributes"),
    "values offset": at("entry", 3, -1),
    "ids offset": at("entry", 3, 0),
    "offsets": at("entry", 3),
    "document offset": at("entry", 0),
    "document size": at("entry", 1),
}


@pytest.mark.parametrize("field", FORGERIES)
def test_forged_numbers_are_found_quickly_and_without_much_memory(one_segment, field):
    file = segment_of(one_segment)
    whole, begin = file.read_bytes(), time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for value in HUGE:
        if (field == "document size" and not value) or (field == "offsets" and value == [[]]):
            continue
        forge(file, FORGERIES[field](value))
        assert is_found(one_segment), value
        with pytest.raises(CuebankError):
            FeatureStore.open(one_segment).read("demo.x", "no such clip")
        segment_of(one_segment).unlink()
        file.write_bytes(whole)
    assert time.process_time() - begin < 2 * len(HUGE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000


def test_a_directory_of_endless_lists_is_refused_quickly(one_segment):
    file = segment_of(one_segment)
    data, begin = file.read_bytes(), time.process_time()
    for text in (b"[" * 2**20, b'{"bundles":' + b"[" * 2**20, b'{"bundles":{"":[' + b"[]," * 2**20, b"\xff" * 100):
        head = Frame(len(data), len(text), crc32c(text), 0, len(data) + len(text)).render()
        file.write_bytes(head + data[USER_BLOCK:] + text)
        assert is_found(one_segment)
    assert time.process_time() - begin < 4


def test_arrays_that_overlap_are_found(one_segment):
    def change(document, entry):
        names = sorted(document["arrays"])
        entry[3][names.index("key_hash")] = entry[3][names.index("row_size")]

    forge(segment_of(one_segment), change)
    assert is_found(one_segment)


def test_other_files_in_place_of_a_segment_are_corrupt(one_segment):
    file = segment_of(one_segment)
    shutil.copy(one_segment.with_name("features.h5.segments") / "demo.x" / "feature-set.h5", file)
    assert is_found(one_segment)
    with pytest.raises(Corrupt):
        FeatureStore.open(one_segment).read("demo.x", "c0")


def test_two_thousand_segments_open_in_well_under_half_a_second(store_path, make_spec, make_series):
    with FeatureStore.open(store_path, "a") as store:
        store.create(make_spec())
        for i in range(50):
            store.write("demo.x", f"clip {i}", None, *make_series(i))
        store.commit()
        container, spec = store._container, store.spec("demo.x")
        name = container.segments("demo.x")[0]
        took = []
        for _ in range(5):
            begin = time.perf_counter()
            for _ in range(100):
                file = container.open_segment(spec, name)
                for array in ("key_hash", "status", "row_size"):
                    file.array(array)
            took.append(time.perf_counter() - begin)
    assert min(took) / 100 * 2000 < 0.8  # 0.25 s on an idle machine


def test_rows_are_views_of_the_mapped_file_and_aligned(one_segment, make_spec, make_series):
    with FeatureStore.open(one_segment, "a") as store:
        series = make_series(9, rows=5000)
        store.write("demo.x", "large", None, *series)
        store.commit()
        for _ in range(2):
            found = store.read("demo.x", "large")
            for mine, wanted in zip(found, series, strict=True):
                assert np.array_equal(mine, wanted)
                assert not mine.flags.writeable
                assert mine.ctypes.data % mine.itemsize == 0
