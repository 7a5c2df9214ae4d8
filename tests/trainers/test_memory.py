"""The limit of what features may take."""

from __future__ import annotations

import math

import pytest

from cuebank.store import BadInput
from cuebank.trainers import memory


def test_the_limit_is_half_of_what_is_free_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**20 < memory.free_bytes() < 2**60
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    assert memory.limit_bytes(None) == 500
    assert memory.limit_bytes(0) == 0
    assert memory.limit_bytes(1.5) == 3 * 2**29


@pytest.mark.parametrize("size", [-1, math.nan, math.inf])
def test_what_is_no_size_is_refused(size: float) -> None:
    with pytest.raises(BadInput, match="Give 0 or more"):
        memory.limit_bytes(size)
