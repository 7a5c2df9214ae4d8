"""A map of a file: read-only for good, and there as long as anyone looks at it."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from cuebank.store import mapping
from cuebank.store.mapping import map_descriptor


@pytest.fixture(params=["system call", "python"])
def mapped(request, tmp_path, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(mapping, "_library", lambda: None)
    path = tmp_path / "rows"
    path.write_bytes(bytes(range(200)) * 50)
    fd = os.open(path, os.O_RDONLY)
    array = map_descriptor(fd, 10_000)
    os.close(fd)
    path.unlink()
    return array


def test_the_bytes_outlive_the_descriptor_and_the_first_array(mapped):
    view = mapped[100:300].view("<u2")
    del mapped
    gc.collect()
    assert view.tobytes() == (bytes(range(200)) * 2)[100:300]


def test_nobody_can_make_a_map_writable(mapped):
    for array in (mapped, mapped[5:], mapped.view("<u4"), np.asarray(mapped)):
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
