"""The clock of a feature set."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cuebank.store.errors import BadInput
from cuebank.store.timebase import Timebase

HUBERT = Timebase(Fraction(50), Fraction(1, 80), Fraction(1, 40))


def test_centers_of_hubert_rows_are_200_samples_after_each_hop_of_320() -> None:
    expected = [(320 * i + 200) / 16000 for i in range(1000)]
    assert HUBERT.centers(1000).tolist() == expected


def test_centers_at_ntsc_rate_do_not_drift_over_ten_hours() -> None:
    ntsc = Timebase(Fraction(30000, 1001), Fraction(0), Fraction(1001, 30000))
    rows = 10 * 3600 * 30
    assert ntsc.centers(rows)[-1] == float(Fraction(rows - 1) * Fraction(1001, 30000))
    assert np.all(np.diff(ntsc.centers(rows)) > 0)


@pytest.mark.parametrize(
    ("samples", "rows"), [(399, 0), (400, 1), (719, 1), (720, 2), (16000, 49), (160000, 499), (190800, 596)]
)
def test_count_is_the_number_of_whole_windows(samples: int, rows: int) -> None:
    assert HUBERT.count(samples / 16000) == rows


def test_json_keeps_fractions_exact_and_bad_json_is_refused() -> None:
    ntsc = Timebase(Fraction(30000, 1001), Fraction(1, 3), Fraction(1, 7))
    assert Timebase.from_json(ntsc.to_json()) == ntsc
    for bad in (
        {},
        {"rate_hz": "x", "first_center_s": "0", "window_s": "1"},
        {"rate_hz": "1/0", "first_center_s": "0", "window_s": "1"},
    ):
        with pytest.raises(BadInput, match="timebase"):
            Timebase.from_json(bad)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(BadInput, match="positive"):
        Timebase(Fraction(0), Fraction(0), Fraction(1))
