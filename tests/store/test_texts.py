"""Packed texts: picking some out takes little memory, however long they are."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cuebank.store.texts import BYTES_AT_ONCE, Texts, pack_texts


@pytest.mark.parametrize("lengths", [[0, 1, 5, 0, 300], [10**6, 0, 6 * 10**6, 1], [BYTES_AT_ONCE] * 3, [7] * 3000])
def test_what_is_taken_equals_what_was_packed(lengths):
    rng = np.random.default_rng(len(lengths))
    made = [rng.integers(97, 122, size, np.uint8).tobytes() for size in lengths]
    texts = Texts(*pack_texts(made), "These")
    wanted = rng.integers(0, len(made), 2 * len(made))
    data, offsets = texts.take(wanted)
    taken = Texts(data, offsets, "Those")
    assert [taken[i] for i in range(len(taken))] == [made[i] for i in wanted]


def test_picking_out_long_texts_takes_a_bounded_amount_of_memory():
    texts = Texts(*pack_texts([b"x" * 2**20] * 40), "These")
    tracemalloc.start()
    texts.take(np.arange(40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20 + 24 * BYTES_AT_ONCE  # the result, and the places of one step
