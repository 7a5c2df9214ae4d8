"""HuBERT against recorded outputs of fairseq; what extraction adds for all speech networks: times, holes, pooling."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors.base import ExtractorSettings, Rows
from cuebank.extractors.errors import MediaError
from cuebank.extractors.media.audio import Audio
from cuebank.extractors.networks import speech
from cuebank.extractors.networks.hubert_padded import frame_padding, padded_batch
from cuebank.extractors.registry import card, cards, load
from cuebank.store import BadInput

ATOL = 1e-5
SPEECH = [item.name for item in cards() if item.family in ("hubert", "wav2vec2", "wavlm") and item.tiny]


def sound(samples: np.ndarray, start_s: float = 0.0, gaps: tuple[tuple[float, float], ...] = ()) -> Audio:
    return Audio(np.asarray(samples, np.float32), 16000, start_s, gaps)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def loaded(name: str, **settings: Any) -> Any:
    return load(name, ExtractorSettings(**{"weights": "random", **settings}))


def variant(name: str) -> tuple[str, str]:
    """Card and checkpoint for a golden name or a prefix of arrays."""
    return ("hubert-tiny-large", "large") if "large" in name else ("hubert-tiny", "base")


def from_golden(golden_case: Any, name: str, **settings: Any) -> Any:
    card_name, size = variant(name)
    return loaded(card_name, weights=str(golden_case.fixed(f"hubert_tiny_fairseq_{size}.pt")), **settings)


@pytest.mark.golden("hubert_tiny_base", "hubert_tiny_large")
def test_each_layer_equals_fairseqs(golden_case: Any) -> None:
    extractor = from_golden(golden_case, golden_case.name, layers=("1", "2", "last"))
    arrays = golden_case.arrays
    for name, rows in zip(("layer1", "layer2", "final"), extractor.extract(sound(arrays["wav"])), strict=True):
        assert rows.values.shape == arrays[name][0].shape
        np.testing.assert_allclose(rows.values, arrays[name][0], rtol=0, atol=ATOL, err_msg=name)


@pytest.mark.golden("hubert_tiny_base", "hubert_tiny_large")
def test_input_convolutions_and_projection_equal_fairseqs(golden_case: Any) -> None:
    extractor = from_golden(golden_case, golden_case.name)
    arrays, network = golden_case.arrays, extractor._network
    wav = torch.from_numpy(arrays["wav"].copy())
    ready = speech.normalise(wav) if extractor._normalise else wav
    np.testing.assert_allclose(ready[None], arrays["model_input"], rtol=0, atol=ATOL)
    with torch.inference_mode():
        conv = network.feature_extractor(ready[None])
        projected = network.feature_projection(conv.transpose(1, 2))
    np.testing.assert_allclose(conv, arrays["conv"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(projected, arrays["ret_conv"], rtol=0, atol=ATOL)


@pytest.mark.golden("hubert_tiny_base", "hubert_tiny_large")
def test_the_weights_rule_gives_the_same_network_as_the_checkpoint(golden_case: Any, tmp_path: Path) -> None:
    described = golden_case.json()
    path = tmp_path / "filled.pt"
    config = {"model": described["model_cfg"], "task": described["task_cfg"]}
    torch.save({"cfg": config, "args": None, "model": golden_case.state_dict(described["state_dict"])}, path)
    extractor = loaded(variant(golden_case.name)[0], weights=str(path))
    (rows,) = extractor.extract(sound(golden_case.arrays["wav"]))
    np.testing.assert_allclose(rows.values, golden_case.arrays["final"][0], rtol=0, atol=ATOL)


@pytest.mark.golden("hubert_tiny_base", "hubert_tiny_large")
def test_means_of_clips_alone_equal_fairseqs(golden_case: Any) -> None:
    extractor = from_golden(golden_case, golden_case.name, pooling="mean")
    arrays = golden_case.arrays
    wavs = np.split(arrays["batch_wavs"], np.cumsum(arrays["batch_lengths"])[:-1])
    for wav, expected in zip(wavs, arrays["alone_mean"], strict=True):
        (rows,) = extractor.extract(sound(wav))
        np.testing.assert_allclose(rows.values[0], expected, rtol=0, atol=ATOL)


@pytest.mark.golden("hubert_tiny_base", "hubert_tiny_large")
def test_the_parity_function_reproduces_the_padded_batch_with_its_defect(golden_case: Any) -> None:
    extractor = from_golden(golden_case, golden_case.name)
    arrays = golden_case.arrays
    wavs = torch.from_numpy(arrays["batch_wavs"].copy()).split(arrays["batch_lengths"].tolist())
    batch = padded_batch(extractor._network, wavs, extractor._normalise)
    assert np.array_equal(batch.padding, arrays["batch_padding_mask"])
    np.testing.assert_allclose(batch.frames, arrays["batch_final"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(batch.mean_upstream, arrays["batch_mean_upstream"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(batch.mean_masked, arrays["batch_mean_masked"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("size", ["base", "large"])
@pytest.mark.golden("sempi_audio")
def test_sempis_audio_branch_is_reproduced_from_stereo_integers(golden_case: Any, size: str) -> None:
    arrays, last = golden_case.arrays, int(golden_case.arrays["max_audio_len"])
    extractor = from_golden(golden_case, size, pooling="mean", keep_last_s=last / 16000)
    count = sum(name.startswith("stereo_int16_") for name in arrays)
    mono = [(arrays[f"stereo_int16_{i}"].astype(np.float32) / 32768).mean(1) for i in range(count)]
    batch = padded_batch(extractor._network, [torch.from_numpy(m[-last:].copy()) for m in mono], extractor._normalise)
    np.testing.assert_allclose(batch.frames, arrays[f"{size}_frames"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(batch.mean_upstream, arrays[f"{size}_clip_feature"], rtol=0, atol=ATOL)
    for samples, expected in zip(mono, arrays[f"{size}_clip_feature_each_alone"], strict=True):
        (rows,) = extractor.extract(sound(samples))
        np.testing.assert_allclose(rows.values[0], expected, rtol=0, atol=ATOL)


def test_fairseqs_frame_mask_looks_at_whole_chunks_and_ignores_the_rest() -> None:
    # 7 samples, 2 frames: chunks of 3; the last sample is looked at by nobody.
    padding = torch.tensor([[False] * 3 + [True] * 4, [False] * 4 + [True] * 3, [False] * 6 + [True]])
    assert frame_padding(padding, 2).tolist() == [[False, True], [False, False], [False, False]]


def test_a_recording_of_librispeech_gives_596_rows(shared: Any) -> None:
    from cuebank.extractors.media import decode_audio

    path = shared("golden", "hubert_real", "6313-76958-0021.flac")
    audio = decode_audio(path, 16000)
    assert len(audio.samples) == 190800
    (rows,) = loaded("hubert-tiny").extract(audio)
    assert len(rows.values) == int(shared("golden", "hubert_real", "sample.base.L9.len").read_text())


def test_layer_9_of_the_published_base_model_is_the_recorded_one(shared: Any) -> None:
    weights = os.environ.get("CUEBANK_HUBERT_BASE")
    if not weights:
        pytest.skip("CUEBANK_HUBERT_BASE names no published hubert_base_ls960 weights")
    from cuebank.extractors.media import decode_audio

    expected = np.load(shared("golden", "hubert_real", "sample.base.L9.npy"))
    audio = decode_audio(shared("golden", "hubert_real", "6313-76958-0021.flac"), 16000)
    (rows,) = load("hubert-base", ExtractorSettings(weights=weights, layers=("9",))).extract(audio)
    cosine = (rows.values * expected).sum(1) / np.linalg.norm(rows.values, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.9999
    assert np.abs(rows.values - expected).max() < 5e-3


@pytest.mark.parametrize("name", SPEECH)
def test_last_is_the_highest_block_except_behind_the_final_norm_of_large(name: str) -> None:
    block, last = loaded(name, layers=("2", "last")).extract(sound(noise(8000)))
    if name.endswith("large"):
        assert np.abs(block.values - last.values).max() > 0.01
    else:
        assert np.array_equal(block.values, last.values)


@pytest.mark.parametrize("name", SPEECH)
def test_a_layer_is_the_same_alone_and_among_others_and_leaves_out_what_is_above(name: str) -> None:
    alone = loaded(name, layers=("1",))
    assert len(alone._network.encoder.layers) == 1
    among = loaded(name, layers=("last", "1", "2"))
    audio = sound(noise(8000))
    assert np.array_equal(alone.extract(audio)[0].values, among.extract(audio)[1].values)
    assert [spec.recipe.layer for spec in among.specs] == ["last", "1", "2"]


def test_rows_are_as_many_and_at_the_times_that_the_convolutions_say() -> None:
    extractor = loaded("hubert-tiny")
    for samples in (400, 719, 720, 16000, 16079, 16080):
        (rows,) = extractor.extract(sound(noise(samples), start_s=2.43))
        assert len(rows.values) == len(rows.valid) == (samples - 400) // 320 + 1
        expected = 2.43 + (np.arange(len(rows.times)) * 320 + 200) / 16000
        np.testing.assert_allclose(rows.times, expected, rtol=0, atol=1e-12)
        assert rows.valid.all()
    timebase = extractor.specs[0].timebase
    assert (str(timebase.rate_hz), str(timebase.first_center_s), str(timebase.window_s)) == ("50", "1/80", "1/40")


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_sound_shorter_than_one_row_is_an_error_with_the_numbers(samples: int) -> None:
    with pytest.raises(MediaError, match=rf"{samples} samples.*400 samples \(0\.025 s\)"):
        loaded("hubert-tiny").extract(sound(noise(samples)))


def test_rows_that_touch_a_hole_are_not_valid_and_do_not_enter_the_mean() -> None:
    samples = noise(16000)
    samples[4800:8000] = 0.0
    audio = sound(samples, start_s=1.0, gaps=((1.3, 1.5),))
    (rows,) = loaded("hubert-tiny").extract(audio)
    touches = [s < 8000 and s + 400 > 4800 for s in range(0, 16000 - 399, 320)]
    assert rows.valid.tolist() == [not touch for touch in touches]
    (mean,) = loaded("hubert-tiny", pooling="mean").extract(audio)
    np.testing.assert_allclose(mean.values[0], rows.values[rows.valid].mean(0), rtol=0, atol=1e-6)
    assert mean.valid.tolist() == [True]


def test_a_mean_without_any_row_free_of_holes_is_an_error_not_zeros() -> None:
    with pytest.raises(MediaError, match="Every row touches a hole"):
        loaded("hubert-tiny", pooling="mean").extract(sound(noise(4000), gaps=((0.0, 0.25),)))


def test_the_time_of_a_mean_is_the_middle_of_its_support() -> None:
    (mean,) = loaded("hubert-tiny", pooling="mean").extract(sound(noise(16000), start_s=2.0))
    # 49 rows: from sample 0 to 48 * 320 + 400 = 15760.
    assert mean.values.shape == (1, 64)
    assert mean.times.tolist() == pytest.approx([2.0 + 15760 / 2 / 16000])


def test_keeping_the_last_seconds_shifts_the_times_and_is_in_the_recipe() -> None:
    samples = noise(16000)
    whole, kept = loaded("hubert-tiny"), loaded("hubert-tiny", keep_last_s=0.25)
    (rows,) = kept.extract(sound(samples, start_s=1.0))
    (expected,) = whole.extract(sound(samples[-4000:], start_s=1.75))
    assert np.array_equal(rows.values, expected.values)
    np.testing.assert_allclose(rows.times, expected.times, rtol=0, atol=1e-12)
    assert {"step": "keep-last", "samples": 4000} in kept.specs[0].recipe.preprocessing
    assert kept.specs[0].fingerprint != whole.specs[0].fingerprint
    (short,) = kept.extract(sound(samples[:2000]))  # shorter than what is kept: all of it
    assert len(short.values) == 6


def test_large_models_do_not_hear_loudness_or_offset() -> None:
    extractor, samples = loaded("hubert-tiny-large"), noise(16000)
    (rows,), (louder,) = extractor.extract(sound(samples)), extractor.extract(sound(samples * 3 + 0.2))
    np.testing.assert_allclose(rows.values, louder.values, rtol=0, atol=2e-3)
    assert {"step": "normalise-waveform", "eps": 1e-5} in extractor.specs[0].recipe.preprocessing
    assert not [s for s in loaded("hubert-tiny").specs[0].recipe.preprocessing if s["step"].startswith("normalise")]


def test_bfloat16_is_near_float32_and_in_the_recipe() -> None:
    audio = sound(noise(16000))
    full, half = loaded("hubert-tiny"), loaded("hubert-tiny", precision="bf16")
    (a,), (b,) = full.extract(audio), half.extract(audio)
    assert b.values.dtype == np.float32
    assert 0 < np.abs(a.values - b.values).max() < 0.2
    assert half.specs[0].recipe.precision == "bf16"


def test_random_features_vary_over_time_and_between_clips() -> None:
    for name in SPEECH:
        extractor = loaded(name)
        (a,), (b,) = extractor.extract(sound(noise(16000, 1))), extractor.extract(sound(noise(16000, 2)))
        assert a.values.std(0).mean() > 0.1, "rows of one clip must differ"
        assert np.abs(a.values.mean(0) - b.values.mean(0)).max() > 0.01, "clips must differ"
        assert np.abs(a.values).max() < 100


def test_the_same_seed_gives_the_same_rows_whatever_random_state_there_was() -> None:
    audio = sound(noise(8000))
    torch.manual_seed(1)
    (a,) = loaded("hubert-tiny", seed=7).extract(audio)
    torch.manual_seed(2)
    (b,) = loaded("hubert-tiny", seed=7).extract(audio)
    (c,) = loaded("hubert-tiny", seed=8).extract(audio)
    assert np.array_equal(a.values, b.values)
    assert not np.allclose(a.values, c.values, atol=0.1)


def test_names_and_recipes_say_what_changes_the_numbers_and_only_that() -> None:
    spec = loaded("hubert-tiny", seed=7, pooling="mean").specs[0]
    assert spec.name == "hubert-tiny.random-7@last+mean"
    assert spec.timebase is None
    assert spec.recipe.weights["seed"] == 7
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        again = loaded("hubert-tiny", seed=7, pooling="mean").specs[0]
    finally:
        torch.set_num_threads(threads)
    assert again.fingerprint == spec.fingerprint
    assert again.recipe.unhashed["threads"] == threads + 1
    fingerprints = {
        loaded("hubert-tiny", **settings).specs[0].fingerprint
        for settings in (
            {"seed": 7},
            {"seed": 8},
            {"layers": ("1",)},
            {"precision": "bf16"},
            {"dtype": "float32"},
            {"pooling": "mean"},
            {"keep_last_s": 1.0},
        )
    }
    assert len(fingerprints) == 7


def test_the_published_cards_build_with_the_published_sizes() -> None:
    from cuebank.extractors.backbones.speech import SHAPES

    # The hub's copy of large has biases in its convolutions.
    for name, biases, count in (
        ("hubert-base", False, 94_371_712),
        ("hubert-large", True, 315_438_720),
        ("wav2vec2-base", False, 94_371_712),  # the same network
        # Per block: 12 gates and 8 * 64 + 8 for them; the first one's biases of 320 distances and 12 heads.
        ("wavlm-base-plus", False, 94_371_712 + 12 * (12 + 520) + 320 * 12),
    ):
        network = speech.build(replace(SHAPES[name], conv_bias=biases))
        # Weight norm's scales (one per tap) are folded into the weight; the mask embedding (D) is left out.
        parameters = sum(tensor.numel() for tensor in network.state_dict().values())
        assert parameters + 128 + card(name).dim == count
        assert (SHAPES[name].hop, SHAPES[name].support) == (320, 400)


def test_rows_are_plain_arrays_without_gradients() -> None:
    (rows,) = loaded("hubert-tiny").extract(sound(noise(4000)))
    assert isinstance(rows, Rows)
    assert type(rows.values) is np.ndarray
    assert not any(p.requires_grad for p in loaded("hubert-tiny")._network.parameters())


def test_sound_at_another_rate_is_refused() -> None:
    with pytest.raises(BadInput, match="44100 Hz"):
        loaded("hubert-tiny").extract(Audio(noise(8000), 44100, 0.0))


@pytest.mark.slow
def test_random_features_of_the_published_sizes_do_not_become_alike_with_depth() -> None:
    for name in ("hubert-base", "hubert-large"):
        (rows,) = loaded(name).extract(sound(noise(32000)))
        assert rows.values.std(0).mean() > 0.1
