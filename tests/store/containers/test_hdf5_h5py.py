"""What cuebank writes is plain HDF5: h5py alone reads it, through the file of links or in one file."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from cuebank.store import FeatureStore
from cuebank.store.containers import hdf5_builder
from cuebank.store.containers.hdf5_descriptor import create_readable
from cuebank.store.containers.hdf5_file import Hdf5File, Stored


@pytest.fixture
def container():
    return "h5"


def check_set(group, expected):
    """Compare what h5py reads of a feature set with the series that were written, by clip_id."""
    assert json.loads(group.attrs["cuebank"])["kind"] == "feature-set"
    found = {}
    for segment in group["segments"].values():
        ids, bounds = bytes(segment["clip_id"][:]), segment["clip_id_offsets"][:]
        starts = np.concatenate([[0], np.cumsum(segment["row_size"][:])])
        for i in np.flatnonzero(segment["status"][:] == 0):
            rows = slice(starts[i], starts[i + 1])
            clip_id = ids[bounds[i] : bounds[i + 1]].decode()
            found[clip_id] = [segment[name][rows] for name in ("values", "times", "valid")]
        assert segment["times"].attrs["units"] == b"s"
        assert segment["valid"].dtype == bool
    assert found.keys() == expected.keys()
    for clip_id, series in expected.items():
        for mine, wanted in zip(found[clip_id], series, strict=True):
            assert mine.dtype == wanted.dtype
            assert np.array_equal(mine, wanted)


@pytest.mark.parametrize("codec", ["none", "zstd", "blosc"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64"])
def test_h5py_alone_reads_both_forms(store_path, make_spec, make_series, codec, dtype):
    if codec != "none":
        pytest.importorskip("hdf5plugin")
    expected = {f"c{i}": make_series(i, rows=rows, dim=33, dtype=dtype) for i, rows in enumerate((1, 9000, 0, 12345))}
    with FeatureStore.open(store_path, "a") as store:
        store.create(replace(make_spec(dim=33, dtype=dtype), codec=codec))
        for i, (clip_id, series) in enumerate(expected.items()):
            store.write("demo.x", clip_id, None, *series)
            if i % 2:
                store.commit()
    for fold in (False, True):
        if fold:
            with FeatureStore.open(store_path, "a") as store:
                store._container.fold()
        with h5py.File(store_path) as file:
            assert json.loads(file.attrs["cuebank"]) == {"format": 2, "kind": "store"}
            check_set(file["demo.x"], expected)
        store = FeatureStore.open(store_path)
        for clip_id, series in expected.items():
            for mine, wanted in zip(store.read("demo.x", clip_id), series, strict=True):
                assert np.array_equal(mine, wanted)


def test_writing_compressed_rows_does_not_need_the_plugin(store_path, make_spec, make_series, run_python):
    program = (
        "import sys; sys.modules['hdf5plugin'] = None\n"
        "from cuebank.store import FeatureStore\n"
        f"store = FeatureStore.open({str(store_path)!r}, 'a')\n"
        "store.write('demo.x', 'c', None, [[1, 2, 3]], [0.0], [True]); store.commit()\n"
        "print(store.read('demo.x', 'c').values.tolist())"
    )
    with FeatureStore.open(store_path, "a") as store:
        store.create(replace(make_spec(), codec="zstd"))
    assert run_python(program) == "[[1.0, 2.0, 3.0]]\n"


def test_reading_does_not_import_h5py(store_path, small_store, run_python):
    program = (
        "import sys; from cuebank.store import FeatureStore\n"
        f"store = FeatureStore.open({str(store_path)!r})\n"
        "print(len(store.read('demo.x', 'c0').values), 'h5py' in sys.modules)"
    )
    assert run_python(program) == "4 False\n"


@pytest.fixture
def run_python():
    """Return a function that runs a program and returns what it prints."""
    import subprocess
    import sys

    return lambda program: (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )


def build(fd, arrays):
    with hdf5_builder.building(fd) as builder:
        for i in range(arrays):
            builder.add("", f"a{i}", (4,), np.dtype("<i8"), np.arange(4))
        builder.end_bundle("", {})
        builder.finish()


def test_errors_of_the_disk_come_through_libhdf5_as_what_they_were(tmp_path, monkeypatch):
    fd = create_readable(tmp_path / "x.h5")
    real = hdf5_builder.write_at

    def full(fd, data, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cuebank.store.containers.hdf5_descriptor.write_at", full)
    with pytest.raises(OSError, match="No space"):
        build(fd, 3000)
    monkeypatch.setattr("cuebank.store.containers.hdf5_descriptor.write_at", real)
    build(fd, 1)  # and then the same descriptor can be used again
    file = Hdf5File(str(tmp_path / "x.h5"), "x")
    assert Stored(file, "", "x").view("a0").tolist() == [0, 1, 2, 3]
    assert list(file.check()) == []
