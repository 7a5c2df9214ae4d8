"""The exact time axis: jitter, holes, overlaps, padding, cuts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cuebank.extractors.media.timeline import Block, ClockError, cut, settle, without_padding

TICK = Fraction(1, 1000)


def block(start, count, rate=1000, value=1.0):
    return Block(Fraction(start).limit_denominator(10**6), rate, np.full(count, value, np.float32))


def spans(blocks):
    return [(float(one.start), len(one.samples)) for one in blocks]


def test_time_stamps_within_the_jitter_follow_each_other_exactly():
    steady = list(settle([block(0, 100), block(0.104, 100), block(0.197, 100)], TICK))
    assert spans(steady) == [(0, 100), (0.1, 100), (0.2, 100)]


@pytest.mark.parametrize(("start", "settled"), [(0.0004, 0), (-0.0009, 0), (0.002, 0.002), (-0.002, -0.002)])
def test_a_start_within_the_rounding_of_zero_is_zero(start, settled):
    assert spans(settle([block(start, 100)], TICK)) == [(settled, 100)]


def test_a_hole_keeps_its_time_stamp_and_what_follows_counts_from_there():
    steady = list(settle([block(0, 100), block(0.15, 100), block(0.251, 100)], TICK))
    assert spans(steady) == [(0, 100), (0.15, 100), (0.25, 100)]


def test_a_clock_that_drifts_is_followed_to_within_the_jitter():
    blocks = [block(number * 0.1001, 100) for number in range(500)]  # 1 ms per second too slow
    for one, given in zip(settle(blocks, TICK), blocks, strict=True):
        assert abs(one.start - given.start) <= Fraction(11, 1000)


def test_what_overlaps_is_heard_once():
    steady = list(settle([block(0, 100, value=1), block(0.05, 100, value=2), block(0.15, 10)], TICK))
    assert spans(steady) == [(0, 100), (0.1, 50), (0.15, 10)]
    assert steady[1].samples[0] == 2


def test_a_block_inside_what_was_heard_is_left_out():
    assert spans(settle([block(0, 100), block(0.02, 30), block(0.1, 10)], TICK)) == [(0, 100), (0.1, 10)]


@pytest.mark.parametrize(("second", "way"), [(-5, "jump back"), (4000, "jump forward")])
def test_a_broken_clock_is_an_error(second, way):
    with pytest.raises(ClockError, match=way):
        list(settle([block(0, 100), block(second, 100)], TICK))


def test_many_holes_may_not_add_up_to_more_than_an_hour():
    blocks = (block(number * 900, 100) for number in range(10))
    with pytest.raises(ClockError, match="jump forward"):
        list(settle(blocks, TICK))


def test_what_an_encoder_added_behind_the_stated_end_is_left_out():
    blocks = [block(0, 100), block(0.1, 100), block(0.2, 20)]
    assert spans(without_padding(blocks, Fraction(3, 20))) == [(0, 100), (0.1, 50)]
    assert spans(without_padding(blocks, None)) == spans(blocks)


def test_more_than_padding_behind_the_stated_end_is_kept_after_all():
    blocks = [block(number / 10, 100) for number in range(5)]
    kept = list(without_padding(blocks, Fraction(3, 20)))
    assert sum(len(one.samples) for one in kept) == 500
    assert kept[-1].end == Fraction(1, 2)


def test_a_cut_is_half_open_and_stops_reading():
    read = []

    def source():
        for number in range(10):
            read.append(number)
            yield block(number / 10, 100)

    pieces = list(cut(source(), Fraction(1, 20), Fraction(1, 4)))
    assert spans(pieces) == [(0.05, 50), (0.1, 100), (0.2, 50)]
    assert read == [0, 1, 2]


def test_times_between_samples_round_to_the_next_sample():
    one = block(0, 10, rate=3)
    assert one.index(Fraction(1, 3)) == 1
    assert one.index(Fraction(334, 1000)) == 2
    assert one.index(Fraction(-1)) == 0
    assert one.index(Fraction(99)) == 10
