"""Resampling of one run."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.extractors.media.resample import RunResampler


def resample(samples, source, target, sizes):
    """Feed samples in pieces of the given sizes, over and over."""
    run, out, at, turn = RunResampler(source, target), [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        out += run.push(samples[at : at + size])
        at, turn = at + size, turn + 1
    return np.concatenate([*out, *run.finish(), np.zeros(0, np.float32)])


@pytest.mark.parametrize("source", [8000, 11025, 22050, 32000, 44100, 47999, 48000, 96000])
def test_the_output_does_not_depend_on_the_packets(source):
    samples = np.random.default_rng(0).normal(0, 0.1, 132_301).astype(np.float32)
    results = [resample(samples, source, 16000, sizes) for sizes in ([1024], [1152], [132_301], [7, 100, 3])]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (48000, 16000), (8000, 16000), (16000, 44100)])
@pytest.mark.parametrize("hz", [100, 1000, 3000])
def test_a_tone_keeps_its_phase_and_its_size(source, target, hz):
    tone = np.sin(2 * np.pi * hz * np.arange(source) / source).astype(np.float32)
    out = resample(tone, source, target, [1000])
    ideal = np.sin(2 * np.pi * hz * np.arange(target) / target)
    middle = slice(200, target - 200)
    np.testing.assert_allclose(out[middle], ideal[middle], atol=2e-4)


def test_what_the_target_rate_cannot_hold_is_taken_out():
    tone = np.sin(2 * np.pi * 10_000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(resample(tone, 48000, 16000, [1000])[500:15_500]).max() < 1e-3


@pytest.mark.parametrize("count", [1, 2, 17, 100])
@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (96000, 16000), (8000, 16000), (384000, 8000)])
def test_even_the_shortest_run_gets_through(count, source, target):
    out = resample(np.ones(count, np.float32), source, target, [7])
    assert len(out) >= round(count * target / source)
    assert len(out) <= count * target / source + 140 * max(1, target / source) + 2


def test_equal_rates_pass_the_very_samples():
    samples = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    run = RunResampler(16000, 16000)
    assert run.push(samples)[0] is samples
    assert run.finish() == []
