"""Sound above a minute: windows at fixed places, norms over all of it, and how near that is to one forward."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.media.audio import Audio
from cuebank.extractors.networks import speech, speech_long
from cuebank.extractors.networks.speech_long import Windows
from cuebank.extractors.registry import load

RATE = 16_000
KINDS = ("hubert-tiny", "hubert-tiny-large", "wavlm-tiny", "wavlm-tiny-large", "wav2vec2-tiny")
SMALL = Windows(whole_s=6, window_s=3, context_s=1)


def sound(seconds: float, seed: int = 0, growth: float = 10.0) -> np.ndarray:
    """Noise that grows louder, with an offset: the moments of its parts differ."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)
    return 0.05 * samples * np.linspace(1, growth, len(samples), dtype=np.float32) + np.float32(0.02)


@lru_cache(maxsize=8)
def loaded(name: str, **settings: Any) -> Any:
    return load(name, ExtractorSettings(**{"weights": "random", "layers": ("1", "last"), **settings}))


def rows(extractor: Any, samples: np.ndarray) -> list[np.ndarray]:
    return [made.values for made in extractor.extract(Audio(samples, RATE, 0.0))]


def whole(extractor: Any, samples: np.ndarray) -> list[np.ndarray]:
    """One forward over all of it."""
    wave = torch.from_numpy(samples)
    wave = speech.normalise(wave) if extractor._normalise else wave
    with torch.inference_mode():
        return [output[0].numpy() for output in speech.hidden(extractor._network, wave[None], extractor._layers)]


@pytest.mark.parametrize("growth", [1.0, 10.0])
@pytest.mark.parametrize(("name", "seconds"), [*((name, 71.3) for name in KINDS), ("hubert-tiny", 99.99)])
def test_rows_are_as_many_as_of_one_forward_and_near_them(name: str, seconds: float, growth: float) -> None:
    extractor, samples = loaded(name), sound(seconds, growth=growth)
    found, expected = rows(extractor, samples), whole(extractor, samples)
    steady = growth == 1
    for mine, theirs, mean, most in zip(
        found, expected, (0.01, 0.02) if steady else (0.04, 0.07), (0.09, 0.13) if steady else (0.3, 0.5), strict=True
    ):
        assert mine.shape == theirs.shape == ((len(samples) - 400) // 320 + 1, 64)
        difference = np.abs(mine - theirs) / theirs.std(0).mean()
        assert difference.mean() < mean
        assert difference.max() < most


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seconds", [6.001, 7.02, 10.5, 13.0])
def test_convolved_rows_are_those_of_the_whole_sound(name: str, seconds: float) -> None:
    extractor, samples = loaded(name), sound(seconds)
    heard: list[torch.Tensor] = []

    def encoded(network: Any, convolved: torch.Tensor, layers: Any) -> list[torch.Tensor]:
        heard.append(convolved[0])
        return [torch.zeros(1, convolved.shape[1], 64) for _ in layers]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speech_long, "encoded", encoded)
        patch.setattr(extractor, "_windows", SMALL)
        rows(extractor, samples)
    wave = torch.from_numpy(samples)
    wave = speech.normalise(wave) if extractor._normalise else wave
    with torch.inference_mode():
        expected = extractor._network.feature_extractor(wave[None])[0].T  # (T, C)
    # Windows of 150 rows with 50 on each side, but no context outside the sound.
    begin = 0
    for convolved in heard:
        torch.testing.assert_close(convolved, expected[begin : begin + len(convolved)], rtol=0, atol=2e-5)
        begin += 100 if begin == 0 else 150
    assert 50 < len(heard[-1]) <= 250


def test_a_minute_goes_through_as_one_and_a_sample_more_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = loaded("hubert-tiny")
    monkeypatch.setattr(extractor, "_windows", SMALL)
    samples = sound(6.5)
    one = rows(extractor, samples[: 6 * RATE])
    assert all(np.array_equal(a, b) for a, b in zip(one, whole(extractor, samples[: 6 * RATE]), strict=True))
    more = rows(extractor, samples[: 6 * RATE + 1])
    assert not np.array_equal(one[1], more[1])
    assert len(one[1]) == len(more[1])


@pytest.mark.parametrize("name", ["hubert-tiny", "hubert-tiny-large", "wavlm-tiny"])
def test_but_for_the_moments_a_row_depends_on_nothing_outside_its_window(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, samples = loaded(name), sound(12.0)
    waveform = speech_long.waveform_moments(samples)
    channels = speech_long.Moments(torch.zeros(32).double(), torch.ones(32).double())
    monkeypatch.setattr(extractor, "_windows", SMALL)
    monkeypatch.setattr(speech_long, "waveform_moments", lambda _samples: waveform)
    monkeypatch.setattr(speech_long, "first_conv_moments", lambda *_arguments: channels)
    changed = samples.copy()
    changed[5 * RATE : 6 * RATE] = sound(1.0, seed=9)
    one, other = rows(extractor, samples), rows(extractor, changed)
    # The first window is rows 0 to 149, and sees 50 more; then come 150 to 299, seeing up to 349.
    assert np.array_equal(one[1][:150], other[1][:150])
    assert not np.array_equal(one[1][150:200], other[1][150:200])
    assert np.array_equal(one[1][450:], other[1][450:])


@pytest.mark.parametrize("offset", [0.0, 0.9])
def test_moments_of_the_first_convolution_are_exact(offset: float) -> None:
    extractor, samples = loaded("hubert-tiny"), (0.01 * sound(3.3) + np.float32(offset)).astype(np.float32)
    wave = torch.from_numpy(samples)
    found = speech_long.first_conv_moments(
        extractor._network, extractor._shape, lambda start, stop: wave[start:stop], len(samples)
    )
    conv = extractor._network.feature_extractor.conv_layers[0].conv
    made = torch.nn.functional.conv1d(wave.double()[None, None], conv.weight.double(), stride=5)[0]  # (C, t)
    torch.testing.assert_close(found.mean, made.mean(1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.variance, made.var(1, correction=0), rtol=1e-6, atol=1e-12)


def test_moments_of_a_waveform_are_exact_and_silence_stays_finite() -> None:
    samples = sound(2.5)
    found = speech_long.waveform_moments(samples)
    assert float(found.mean) == pytest.approx(samples.astype(np.float64).mean(), abs=1e-12)
    assert float(found.variance) == pytest.approx(samples.astype(np.float64).var(), rel=1e-12)
    for name in ("hubert-tiny", "hubert-tiny-large"):
        assert all(np.isfinite(made).all() for made in rows(loaded(name), np.zeros(61 * RATE, np.float32)))


def test_windows_are_in_every_recipe_and_times_go_on_over_them() -> None:
    extractor = loaded("hubert-tiny")
    step = {"step": "windows", "whole_s": 60, "window_s": 30, "context_s": 5}
    assert all(step in spec.recipe.preprocessing for spec in extractor.specs)
    made = extractor.extract(Audio(sound(62.0), RATE, 1.0, ((40.0, 41.0),)))[0]
    np.testing.assert_allclose(made.times, 1.0 + (np.arange(3099) * 320 + 200) / RATE, rtol=0, atol=1e-9)
    touches = (made.times + 0.0125 > 40.0) & (made.times - 0.0125 < 41.0)
    assert np.array_equal(made.valid, ~touches)


def test_bfloat16_goes_in_windows_too() -> None:
    samples = sound(61.0)
    full, half = rows(loaded("hubert-tiny"), samples), rows(loaded("hubert-tiny", precision="bf16"), samples)
    assert 0 < np.abs(full[1] - half[1]).max() < 0.3
