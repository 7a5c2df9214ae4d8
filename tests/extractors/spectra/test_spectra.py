"""MFCC, log-mel, filterbank and mel rows against recorded outputs, librosa, and plain definitions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from cuebank.extractors.spectra import blocks
from cuebank.extractors.spectra.blocks import Bank, stretch, whole_windows, wrapped
from cuebank.extractors.spectra.fbank import FbankShape, fbank, social_mae_input
from cuebank.extractors.spectra.logmel import LogMelShape, logmel, logmel_shape
from cuebank.extractors.spectra.mel import MelShape, mel, mel_bank
from cuebank.extractors.spectra.mfcc import MfccShape, mfcc, mfcc_shape
from cuebank.store import BadInput

ATOL = 1e-3
KINDS: dict[str, tuple[Callable[..., np.ndarray], Any]] = {
    "mfcc": (mfcc, MfccShape()),
    "mfcc-12fps": (mfcc, mfcc_shape(12)),
    "logmel": (logmel, LogMelShape()),
    "fbank": (fbank, FbankShape()),
    "mel": (mel, MelShape()),
}


def unit(wav_int16: np.ndarray) -> np.ndarray:
    return wav_int16.astype(np.float32) / 32768


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Callable[..., np.ndarray], Any]:
    return KINDS[request.param]


@pytest.mark.golden("asd_mfcc")
def test_mfcc_equal_the_librarys_at_every_frame_rate(golden_case: Any) -> None:
    samples, compared = unit(golden_case.arrays["wav_int16"]), 0
    for name, expected in golden_case.arrays.items():
        if match := re.fullmatch(r"mfcc_(default|fps_(\d+)_(\d+))", name):
            rows = mfcc(samples, mfcc_shape(None if match[2] is None else float(f"{match[2]}.{match[3]}")))
            assert rows.shape == expected.shape
            np.testing.assert_allclose(rows, expected, rtol=0, atol=ATOL, err_msg=name)
            compared += 1
    assert compared >= 4


@pytest.mark.golden("light_asd_pretrain_AVA_CVPR", "light_asd_finetuning_TalkSet")
def test_mfcc_are_those_that_light_asd_got(golden_case: Any) -> None:
    for wav, expected in zip(golden_case.arrays["wav_int16"], golden_case.arrays["mfcc"], strict=True):
        rows = wrapped(mfcc(unit(wav)), len(expected))
        np.testing.assert_allclose(rows, expected, rtol=0, atol=ATOL)


@pytest.mark.golden("loconet")
def test_log_mel_equal_what_loconet_got(golden_case: Any) -> None:
    expected = golden_case.arrays["log_mel"][0, 0]
    rows = wrapped(logmel(unit(golden_case.arrays["wav_int16"])), len(expected))
    assert rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, rtol=0, atol=ATOL)


@pytest.mark.golden("socialmae_fbank")
def test_filterbank_rows_equal_kaldis_and_what_social_mae_makes_of_them(golden_case: Any) -> None:
    arrays = golden_case.arrays
    rows = fbank(unit(arrays["wav_int16"]))
    assert rows.shape == arrays["fbank"].shape == (int(arrays["n_frames"]), 128)
    np.testing.assert_allclose(rows, arrays["fbank"], rtol=0, atol=ATOL)
    taken, expected = social_mae_input(rows), arrays["normalised_first_rows"]
    assert taken.shape == (1024, 128)
    np.testing.assert_allclose(taken[: len(expected)], expected, rtol=0, atol=ATOL)
    if len(rows) < 1024:
        np.testing.assert_allclose(taken[len(rows) :], arrays["pad_value_after_norm"], rtol=0, atol=1e-6)


def test_social_maes_input_is_cut_where_it_is_too_long() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    np.testing.assert_allclose(social_mae_input(rows, 20), (rows[:20] + 6.2943) / 12.26344, rtol=1e-6)
    with pytest.raises(BadInput, match="at least one row"):
        social_mae_input(rows, 0)


@pytest.mark.parametrize("shape", [MelShape(), MelShape(16_000, 1024, 160, 80)])
def test_mel_filters_equal_librosas(shape: MelShape) -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=shape.rate_hz, n_fft=shape.window, n_mels=shape.bands, dtype=np.float64)
    np.testing.assert_allclose(mel_bank(shape), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "samples"), [(MelShape(), 33_075), (MelShape(16_000, 1024, 160, 80), 16_077), (MelShape(), 2049)]
)
def test_mel_rows_equal_librosas(shape: MelShape, samples: int) -> None:
    librosa = pytest.importorskip("librosa")
    sound = noise(samples)
    expected = librosa.feature.melspectrogram(
        y=sound.astype(np.float64), sr=shape.rate_hz, n_fft=shape.window, hop_length=shape.step, n_mels=shape.bands
    ).T
    rows = mel(sound, shape)
    assert rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-9)
    in_db = librosa.power_to_db(expected, ref=1.0, top_db=None)
    np.testing.assert_allclose(mel(sound, replace(shape, in_db=True)), in_db, rtol=0, atol=1e-3)


def test_blocks_do_not_change_a_bit(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape = kind
    sound = noise(30_000)
    whole = make(sound, shape)
    for rows in (1, 7, 10_000):
        monkeypatch.setattr(blocks, "BLOCK_ROWS", rows)
        assert make(sound, shape).tobytes() == whole.tobytes()


def test_a_row_is_the_same_wherever_its_sound_stands(kind: Any) -> None:
    make, shape = kind
    sound = noise(40_000)
    rows = make(sound, shape)
    shift = 20 * shape.step
    later = make(sound[shift:], shape)
    skip = 3  # rows that see before the beginning, or whose pre-emphasis does
    assert later[skip:].tobytes() == rows[20 + skip : 20 + len(later)].tobytes()


def test_row_counts_follow_the_recipes(kind: Any) -> None:
    make, shape = kind
    for samples in (1, 399, 400, 401, 559, 560, 561, 833, 834, 5000, 16_000):
        assert make(noise(samples), shape).shape == (shape.rows(samples), make(noise(5000), shape).shape[1])
    assert [MfccShape().rows(n) for n in (1, 400, 401, 560, 561)] == [1, 1, 2, 2, 3]
    assert [FbankShape().rows(n) for n in (0, 399, 400, 559, 560)] == [0, 0, 1, 1, 2]


def test_silence_is_finite(kind: Any) -> None:
    make, shape = kind
    for sound in (np.zeros(5000, np.float32), np.full(5000, 0.5, np.float32)):
        assert np.isfinite(make(sound, shape)).all()


def test_any_number_type_and_layout_gives_the_same(kind: Any) -> None:
    make, shape = kind
    sound = noise(5000)
    expected = make(sound, shape)
    strided = np.zeros((5000, 2), np.float32)
    strided[:, 1] = sound
    strided.flags.writeable = False
    assert make(strided[:, 1], shape).tobytes() == expected.tobytes()
    assert make(sound.astype(np.float64), shape).tobytes() == expected.tobytes()


def test_what_is_no_sound_is_refused(kind: Any) -> None:
    make, shape = kind
    for wrong in (np.zeros((2, 5000)), np.zeros(5000, complex), np.array(["a"] * 500)):
        with pytest.raises(BadInput, match="no sound in one channel"):
            make(wrong, shape)
    with pytest.raises(BadInput, match="no samples"):
        mfcc(np.zeros(0))


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf"), 1e9])
def test_impossible_frame_rates_are_refused(fps: float) -> None:
    for shape in (mfcc_shape, logmel_shape):
        with pytest.raises(BadInput, match="no frame rate"):
            shape(fps)


def test_windows_scale_with_the_frame_rate() -> None:
    assert mfcc_shape(25) == MfccShape()
    assert logmel_shape(Fraction(25)) == LogMelShape()
    assert (mfcc_shape(Fraction(30_000, 1001)).window, mfcc_shape(Fraction(30_000, 1001)).step) == (334, 133)
    assert (logmel_shape(12).window, logmel_shape(12).fft) == (833, 1024)


def test_an_hour_takes_little_more_memory_than_its_rows() -> None:
    import tracemalloc

    sound = np.zeros(16_000 * 600, np.float32)  # ten minutes: what is too much would show here too
    for make, shape in KINDS.values():
        tracemalloc.start()
        rows = make(sound, shape)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < rows.nbytes + 100e6


def test_sums_of_a_bank_are_those_of_its_matrix() -> None:
    rng = np.random.default_rng(0)
    weights, rows = rng.random((5, 9)) * (rng.random((5, 9)) > 0.5), rng.random((7, 9))
    np.testing.assert_allclose(Bank.of(weights).sums(rows), rows @ weights.T, rtol=1e-12)


def test_stretches_are_zero_outside() -> None:
    samples = np.array([1, 2, 3], np.float32)
    assert stretch(samples, -2, 5, 2.0).tolist() == [0, 0, 2, 4, 6, 0, 0]
    assert stretch(samples, 7, 9).tolist() == [0, 0]


def test_wrapping_starts_again() -> None:
    rows = np.arange(3)[:, None]
    assert wrapped(rows, 8)[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert wrapped(rows, 2)[:, 0].tolist() == [0, 1]
    with pytest.raises(BadInput, match="at least one row"):
        wrapped(rows[:0], 2)
    assert whole_windows(0, 1, 1) == 0
