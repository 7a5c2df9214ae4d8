"""Which frames SEMPI and ViPER look at, against what their own code chose."""

from __future__ import annotations

import pytest

from cuebank.extractors.media.frames import ViperRule, sempi_frames, sempi_frames_of_video, viper_frames


@pytest.mark.golden("sempi_frame_index")
def test_sempi_looks_at_the_recorded_frames(golden_case):
    cases = golden_case.json()
    assert cases
    for case in cases:
        assert sempi_frames(case["n_available"], case["num_frames"]) == case["indices"], case


@pytest.mark.golden("viper_frame_index")
def test_viper_looks_at_the_recorded_frames_and_fails_where_it_did(golden_case):
    cases = golden_case.json()
    assert cases
    for case in cases:
        saved, error = [], None
        try:
            for number in viper_frames(case["total"], case["reported"], case["n_frames"]):
                saved.append(number)
        except ZeroDivisionError as raised:
            error = type(raised).__name__
        assert (saved, error) == (case["saved"], case.get("error")), case


@pytest.mark.parametrize("available", [1, 2, 15, 16, 17, 100, 12345])
def test_sempi_frames_never_fall_and_reach_both_ends(available):
    chosen = sempi_frames(available, 16)
    assert len(chosen) == 16
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, available - 1)


def test_frames_of_a_video_are_among_every_fifth():
    assert sempi_frames_of_video(234, 16) == [5 * number for number in sempi_frames(47, 16)]
    assert sempi_frames_of_video(1, 16) == [0] * 16
    assert sempi_frames_of_video(236, 16)[-1] == 235


def test_vipers_rule_goes_on_behind_the_stated_end():
    rule = ViperRule(300, 32)
    assert sum(rule.saves(number) for number in range(400)) >= 32
