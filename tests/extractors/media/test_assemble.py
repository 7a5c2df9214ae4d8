"""Joining runs to one array."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cuebank.extractors.media.assemble import Assembly
from cuebank.extractors.media.timeline import Block


def ones(start, count, rate):
    return Block(Fraction(start), rate, np.ones(count, np.float32))


def test_holes_are_zeros_and_listed_relative_to_the_clip():
    out = Assembly(1000, Fraction(2))
    out.add(ones(Fraction(5, 2), 100, 1000))
    out.add(ones(Fraction(13, 5), 100, 1000))
    out.add(ones(3, 50, 1000))
    samples, start_s, gaps = out.finish()
    assert start_s == 0.5
    assert gaps == ((0.7, 1.0),)
    np.testing.assert_array_equal(samples, [1.0] * 200 + [0.0] * 300 + [1.0] * 50)


def test_runs_of_other_rates_take_exactly_their_time():
    out = Assembly(16000, Fraction(0))
    at = Fraction(0)
    for rate, count in ((44100, 44100), (22050, 11025), (16000, 777), (48000, 1), (8000, 4001)):
        out.add(ones(at, count, rate))
        at += Fraction(count, rate)
    samples, _, gaps = out.finish()
    assert gaps == ()
    assert len(samples) == round(at * 16000)
    inner = np.abs(samples[200:15_000] - 1).max()
    assert inner < 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 100, 44_101])
def test_the_length_is_that_of_the_run_rounded(count):
    out = Assembly(16000, Fraction(0))
    out.add(ones(0, count, 44100))
    assert len(out.finish()[0]) == int(count * 16000 / 44100 + 0.5)


def test_an_assembly_without_blocks_is_empty():
    out = Assembly(16000, Fraction(0))
    assert out.empty
    assert len(out.finish()[0]) == 0
