"""Zarr stores made to deceive: a typed error, quickly, without much memory, and never a byte from outside the store.

`test_hostile_hdf5.py` has the others.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from cuebank.store import Corrupt, CuebankError, FeatureStore
from cuebank.store.files import crc32c, render_json
from cuebank.store.verify import verify

HUGE = [-1, 2**31, 10**9, 2**62, 2**63, 10**30, 1.5, "7", None, True, [], {}]


def first_segment(path):
    return min(folder for folder in (path / "demo.x" / "segments").iterdir() if folder.is_dir())


def reseal(segment, document):
    """Give a segment other metadata and the name that belongs to them, as an attacker would."""
    data = render_json(document) if isinstance(document, dict) else document
    (segment / "zarr.json").write_bytes(data)
    return segment.rename(segment.with_name(f"{segment.name[:-8]}{crc32c(data):08x}"))


def replace_index(segment, name, array):
    """Replace an index array, with all that proves it."""
    document = json.loads((segment / "zarr.json").read_bytes())
    (segment / name / "0").write_bytes(array.tobytes())
    document["attributes"]["cuebank"]["checksums"][name] = crc32c(array)
    member = document["consolidated_metadata"]["metadata"][name]
    member["shape"] = [len(array)]
    member["chunk_grid"]["configuration"]["chunk_shape"] = [max(1, len(array))]
    (segment / name / "zarr.json").write_bytes(render_json(member))
    return reseal(segment, document)


def check_refused(path, spared="c4"):
    """Every way to look at the store ends in a typed error or leaves out the hostile segment; others are spared."""
    begin = time.process_time()
    store = FeatureStore.open(path)
    report = verify(path)
    assert not report["ok"]
    assert len(store.read("demo.x", spared, "left").values) == 5
    for clip_id in ("c0", "c1", "c2", "c3", "bad"):
        with pytest.raises(CuebankError):
            store.read("demo.x", clip_id)
    store.coverage()
    store.info()
    assert time.process_time() - begin < 2


def i8(*numbers):
    return np.array(numbers, "<i8")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("row_size", i8(4, 5, 6, 10**9, 0)),
        ("row_size", i8(-4, 5, 6, 15, 0)),
        ("row_size", i8(2**62, 2**62, 2**62, 2**62, 22)),
        ("row_size", i8(4, 5, 6, 6, 1)),
        ("row_size", i8(4, 5, 6, 7)),
        ("clip_id_offsets", i8(0, 2, 4, 6, 8, 10**12)),
        ("clip_id_offsets", i8(0, 2, 1, 6, 8, 11)),
        ("clip_id_offsets", i8(-5, 2, 4, 6, 8, 11)),
        ("clip_id_offsets", i8(0, 0, 4, 6, 8, 11)),
        ("clip_id_offsets", i8(0, 2, 4)),
        ("clip_id", np.frombuffer(b"c0c1c2c3\xff\xfe\xfd", np.uint8)),
        ("clip_id", np.frombuffer(b"c\xc3\xa91c2c3bad", np.uint8)),
        ("status", np.array([0, 0, 0, 0, 7], np.uint8)),
        ("status", np.array([1, 0, 0, 0, 1], np.uint8)),
        ("entity_id_offsets", i8(0, 0, 0, 0, 0, 9)),
    ],
)
def test_an_index_that_contradicts_itself_is_corrupt_though_its_checksums_agree(zarr_store, name, array):
    replace_index(first_segment(zarr_store), name, array)
    check_refused(zarr_store)


def test_reasons_that_are_no_text_are_corrupt(zarr_store):
    replace_index(first_segment(zarr_store), "reason_offsets", i8(0, 0, 0, 0, 3, 8))
    replace_index(first_segment(zarr_store), "reason", np.frombuffer(b"\xff" * 8, np.uint8))
    store = FeatureStore.open(zarr_store)
    assert len(store.read("demo.x", "c1").values) == 5  # nothing else depends on them
    with pytest.raises(Corrupt, match="reason"):
        store.failures("demo.x")
    assert not verify(zarr_store)["ok"]


def test_hashes_that_belong_to_other_keys_are_found_by_verify(zarr_store):
    segment = first_segment(zarr_store)
    hashes = np.frombuffer((segment / "key_hash" / "0").read_bytes(), "<u8")
    replace_index(segment, "key_hash", hashes[::-1].copy())
    assert "hash" in verify(zarr_store)["problems"][0]["problem"]
    with pytest.raises(CuebankError):
        FeatureStore.open(zarr_store).read("demo.x", "c0")


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("field", ["series", "rows", "crc", "shape", "inner", "fingerprint", "format"])
def test_numbers_out_of_range_in_the_metadata_are_corrupt(zarr_store, field, value):
    segment = first_segment(zarr_store)
    document = json.loads((segment / "zarr.json").read_bytes())
    own, members = document["attributes"]["cuebank"], document["consolidated_metadata"]["metadata"]
    if field == "crc":
        own["checksums"]["clip_id"] = value
    elif field == "shape":
        members["clip_id"]["shape"] = [value]
    elif field == "inner":
        members["values"]["codecs"][0]["configuration"]["chunk_shape"][0] = value
    else:
        own[field] = value
    if field == "format" and value is True:
        pytest.skip("true equals 1 in JSON as Python reads it, and means no harm")
    reseal(segment, document)
    if field == "shape":  # nobody goes by it when reading: the file and its checksum say how long the ids are
        assert not verify(zarr_store)["ok"]
        assert len(FeatureStore.open(zarr_store).series("demo.x")) == 5
    else:
        check_refused(zarr_store)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[1, 2]",
        b"{",
        b"\xff\xfe",
        b'{"attributes": 1}',
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1",
        b'{"attributes": {"cuebank": {"series": ' + b"9" * 10_000 + b"}}}",
        b" " * (17 * 2**20),
    ],
    ids=lambda data: str(data[:12]),
)
def test_metadata_that_are_no_metadata_are_corrupt(zarr_store, data):
    reseal(first_segment(zarr_store), data)
    check_refused(zarr_store)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
@pytest.mark.parametrize("blank", [b"", b" "], ids=["as written", "as others write"])
def test_a_number_that_json_does_not_have_is_corrupt_where_it_stands(zarr_store, number, blank):
    segment = first_segment(zarr_store)
    data = (segment / "zarr.json").read_bytes()
    reseal(
        segment,
        data.replace(b'{"attributes":{"cuebank":{', b'{"attributes":' + blank + b'{"cuebank":{"note":' + number + b","),
    )
    assert not verify(zarr_store)["ok"]
    check_refused(zarr_store)


def test_a_claim_of_a_billion_rows_in_a_sparse_file_costs_no_memory(zarr_store):
    segment = first_segment(zarr_store)
    for name, size in (("row_size", 8 * 10**9), ("clip_id", 10**10)):
        with (segment / name / "0").open("r+b") as file:
            file.truncate(size)
    program = """
import resource, sys
from cuebank.store import CuebankError, FeatureStore
from cuebank.store.verify import verify
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    FeatureStore.open(sys.argv[1]).read("demo.x", "c0")
except CuebankError as error:
    assert not verify(sys.argv[1])["ok"]
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program, zarr_store], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100


@pytest.mark.parametrize("place", ["values", "values/0.0", "clip_id/0", "zarr.json", ".", "..", "../.."])
def test_links_out_of_the_store_are_not_followed(zarr_store, place):
    path = (first_segment(zarr_store) / place).resolve()
    outside = zarr_store.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    store = FeatureStore.open(zarr_store)
    with pytest.raises(CuebankError):
        store.read("demo.x", "c0")
    assert not verify(zarr_store)["ok"]


def test_a_pipe_or_a_folder_in_place_of_a_file_does_not_hang(zarr_store):
    segment = first_segment(zarr_store)
    (segment / "row_size" / "0").unlink()
    os.mkfifo(segment / "row_size" / "0")
    (segment / "values" / "0.0").unlink()
    (segment / "values" / "0.0").mkdir()
    check_refused(zarr_store)


@pytest.mark.parametrize("value", ["1e999999999", "1/0", "-1", "nan", 50, None, "9" * 5000])
def test_a_clock_that_is_no_fraction_is_corrupt(zarr_store, value):
    path = zarr_store / "demo.x" / "zarr.json"
    document = json.loads(path.read_bytes())
    own = document["attributes"]["cuebank"]
    own["spec"]["timebase"]["rate_hz"] = value
    own["crc32c"] = crc32c(render_json(own["spec"]))
    path.write_bytes(render_json(document))
    with pytest.raises(Corrupt):
        FeatureStore.open(zarr_store).spec("demo.x")
    assert not verify(zarr_store)["ok"]


@pytest.mark.parametrize("field", ["dim", "dtype", "kind", "scope", "name", "recipe", "timebase"])
@pytest.mark.parametrize("value", [-1, 2**62, 10**400, "x", None, [], {"a": {}}])
def test_a_description_that_makes_no_sense_is_corrupt(zarr_store, field, value):
    path = zarr_store / "demo.x" / "zarr.json"
    document = json.loads(path.read_bytes())
    own = document["attributes"]["cuebank"]
    own["spec"][field] = value
    own["crc32c"] = crc32c(render_json(own["spec"]))
    path.write_bytes(render_json(document))
    with pytest.raises(Corrupt):
        FeatureStore.open(zarr_store).spec("demo.x")
    report = verify(zarr_store)
    assert not report["ok"]


def leaves(value, path=()):
    """Yield the paths of all values in nested JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


def mutate(document, rng):
    """Return a copy with one value replaced or removed."""
    changed = copy.deepcopy(document)
    path = rng.choice([path for path in leaves(changed) if path])
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if rng.random() < 0.2:
        del parent[path[-1]]
    else:
        parent[path[-1]] = rng.choice([*HUGE, 0, 1, 3, "", "..", "/etc/passwd", parent[path[-1]]])
    return changed


def fuzz(path, count, seed):
    """Mutate any zarr.json again and again, sealed as if it were honest; nothing but typed errors may come out."""
    rng = random.Random(seed)
    for _ in range(count):
        file = rng.choice(sorted(path.rglob("zarr.json")))
        data = file.read_bytes()
        changed = mutate(json.loads(data), rng)
        segment = file.parent if file.parent.parent.name == "segments" else None
        if segment:
            sealed = reseal(segment, changed)
        else:
            own = changed.get("attributes", {}).get("cuebank") if isinstance(changed.get("attributes"), dict) else None
            if isinstance(own, dict) and "spec" in own:
                own["crc32c"] = crc32c(render_json(own["spec"]))
            file.write_bytes(render_json(changed))
        try:
            verify(path)
            store = FeatureStore.open(path)
            store.info()
            for name in store.feature_sets():
                for clip_id, entity_id, _ in store.series(name):
                    store.read(name, clip_id, entity_id)
                store.failures(name)
        except CuebankError:
            pass
        if segment:
            sealed.rename(segment)
        file.write_bytes(data)
    assert verify(path)["ok"]


def test_mutated_metadata_give_typed_errors_only(zarr_store):
    fuzz(zarr_store, 200, seed=0)


@pytest.mark.slow
def test_many_mutated_metadata_give_typed_errors_only(zarr_store):
    fuzz(zarr_store, 5000, seed=1)
