"""ViPER's windows over sound: recorded ones, and what must hold at any length."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from cuebank.extractors.backbones._viper_windows import SAMPLES, cut_windows, viper_windows


@pytest.mark.golden("viper_audio_windows")
def test_windows_equal_the_recorded_ones(golden_case: Any) -> None:
    cases = json.loads(golden_case.path.read_text())
    assert cases
    for case in cases:
        found = viper_windows(case["samples"], case["n_fragments"])
        assert [list(window) for window in found] == case["windows"]


@pytest.mark.parametrize("samples", [33, 1000, 11_111, 264_000, 960_001])
@pytest.mark.parametrize("count", [1, 8, 32])
def test_windows_cover_the_sound_and_overlap_by_half(samples: int, count: int) -> None:
    windows = viper_windows(samples, count)
    assert len(windows) == count
    assert windows[0][0] == 0
    assert windows[-1][1] in (samples, samples - 1)  # the rounding of floats may cost the last sample
    width = 2 * samples / (count + 1)
    for (start, stop), (following, _) in itertools.pairwise(windows):
        assert abs(stop - start - width) <= 1
        assert abs(following - start - width / 2) <= 1


def test_each_window_is_cut_or_filled_up_on_the_right_to_one_second() -> None:
    samples = np.arange(1, 40_001, dtype=np.float32)
    cut = cut_windows(samples, [(0, 10), (5, 30_000), (39_990, 40_000), (7, 7)])
    assert cut.shape == (4, SAMPLES)
    assert cut[0, :11].tolist() == [*range(1, 11), 0]
    assert not cut[0, 10:].any()
    assert np.array_equal(cut[1], samples[5 : 5 + SAMPLES])
    assert cut[2, :11].tolist() == [*range(39_991, 40_001), 0]
    assert not cut[3].any()
