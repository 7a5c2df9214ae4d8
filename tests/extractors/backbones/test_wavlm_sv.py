"""WavLM's x-vectors against recorded embeddings; windows, times and holes; every form of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cuebank.extractors.backbones._viper_windows import viper_windows
from cuebank.extractors.base import ExtractorSettings
from cuebank.extractors.errors import MediaError, WeightsError
from cuebank.extractors.media.audio import Audio
from cuebank.extractors.networks import speech, wavlm_xvector
from cuebank.extractors.registry import card, load
from cuebank.store import BadInput

ATOL = 1e-5
GOLDEN = pytest.mark.golden("viper_wavlm_tiny_wsum", "viper_wavlm_tiny_last")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def loaded(**settings: Any) -> Any:
    return load("wavlm-tiny-sv", ExtractorSettings(**{"weights": "random", **settings}))


def extract(extractor: Any, samples: np.ndarray, **audio: Any) -> Any:
    return extractor.extract(Audio(samples, 16000, audio.get("start_s", 0.0), audio.get("gaps", ())))[0]


def recorded(golden_case: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration, and the tensors that the rule gives, under their names at recording."""
    kind = golden_case.name.removeprefix("viper_wavlm_tiny_")
    described = golden_case.json("viper_backbones_tiny")[f"wavlm_xvector_{kind}"]
    return described["constructor"], golden_case.state_dict(described["state_dict"])


def folder_of(path: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor], **more: dict[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "wavlm", **config}))
    save_file(tensors, path / "model.safetensors")
    for name, content in more.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def published(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weight norm's parts as published checkpoints call them."""
    parts = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in parts.items():
            name = name.replace(new, old)
        renamed[name] = tensor
    return renamed


@GOLDEN
@pytest.mark.parametrize("naming", ["recorded", "published"])
def test_embeddings_equal_the_recorded_ones(golden_case: Any, tmp_path: Path, naming: str) -> None:
    config, tensors = recorded(golden_case)
    folder = folder_of(tmp_path / "w", config, tensors if naming == "recorded" else published(tensors))
    extractor, arrays = loaded(weights=str(folder)), golden_case.arrays
    made = extractor._embeddings(arrays["windows"])
    np.testing.assert_allclose(made, arrays["embeddings"], rtol=0, atol=ATOL)


@GOLDEN
def test_hidden_states_equal_the_recorded_ones(golden_case: Any, tmp_path: Path) -> None:
    network = loaded(weights=str(folder_of(tmp_path / "w", *recorded(golden_case))))._network
    arrays = golden_case.arrays
    count = sum(name.startswith("hidden_") for name in arrays)
    with torch.inference_mode():
        states = speech.hidden(network.wavlm, torch.from_numpy(arrays["windows"].copy()), list(range(count)))
    for number, state in enumerate(states):
        np.testing.assert_allclose(state, arrays[f"hidden_{number}"], rtol=0, atol=ATOL)


@GOLDEN
def test_a_bare_file_tells_by_its_tensors_whether_layers_are_averaged(golden_case: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(published(recorded(golden_case)[1]), path)
    arrays = golden_case.arrays
    made = loaded(weights=str(path))._embeddings(arrays["windows"])
    np.testing.assert_allclose(made, arrays["embeddings"], rtol=0, atol=ATOL)


def saved_model(folder: Path, **config: Any) -> Any:
    """A random model saved by transformers itself."""
    import transformers

    tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    head = {"tdnn_dim": [16, 16, 16, 16, 24], "xvector_output_dim": 16, "conv_dim": [16] * 7}
    position = {"num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 4}
    torch.manual_seed(0)
    model = transformers.WavLMForXVector(transformers.WavLMConfig(**tiny, **head, **position, **config)).eval()
    model.save_pretrained(folder)
    return model


def test_a_model_that_transformers_saves_computes_the_same_over_a_whole_clip(tmp_path: Path) -> None:
    model, samples = saved_model(tmp_path, use_weighted_layer_sum=True), noise(50_000)
    windows = [samples[start:stop][:16000] for start, stop in viper_windows(len(samples))]
    padded = torch.stack([torch.from_numpy(np.pad(w, (0, 16000 - len(w)))) for w in windows])
    with torch.inference_mode():
        expected = model(padded).embeddings.numpy()
    rows = extract(loaded(weights=str(tmp_path)), samples)
    np.testing.assert_allclose(rows.values, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("told", [True, False, None])
def test_windows_are_normalised_if_the_models_preprocessor_says_so(tmp_path: Path, told: bool | None) -> None:
    import transformers

    saved_model(tmp_path)
    if told is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": told}))
    extractor = loaded(weights=str(tmp_path))
    steps = [step["step"] for step in extractor.specs[0].recipe.preprocessing]
    assert ("normalise-windows" in steps) == bool(told)
    windows = np.stack([3 * noise(16000, 1) + 0.5, noise(16000, 2)])
    theirs = transformers.Wav2Vec2FeatureExtractor(do_normalize=bool(told))(list(windows), sampling_rate=16000)
    with torch.inference_mode():
        expected = wavlm_xvector.embed(extractor._network, torch.from_numpy(np.stack(theirs["input_values"])))
    np.testing.assert_allclose(extractor._embeddings(windows), expected, rtol=0, atol=ATOL)


def test_a_clip_has_32_rows_at_the_middles_of_its_windows() -> None:
    rows = extract(loaded(), noise(185_600), start_s=1.0)  # 11.6 s
    assert rows.values.shape == (32, 16)
    np.testing.assert_allclose(rows.times, 1.0 + (np.arange(32) + 1) / 33 * 11.6, rtol=0, atol=1e-4)
    assert rows.valid.all()
    assert rows.values.std(0).min() > 0


def test_above_16_5_seconds_a_rows_time_is_the_middle_of_the_second_that_is_heard() -> None:
    rows = extract(loaded(slots=4), noise(16000 * 25))
    np.testing.assert_allclose(rows.times, np.array([0.5, 5.5, 10.5, 15.5]), rtol=0, atol=1e-9)


def test_the_number_of_windows_can_be_chosen_and_is_in_the_recipe() -> None:
    few, usual = loaded(slots=5), loaded()
    assert len(extract(few, noise(16000)).values) == 5
    assert few.specs[0].fingerprint != usual.specs[0].fingerprint
    assert {"step": "viper-windows", "count": 5, "samples": 16000} in few.specs[0].recipe.preprocessing


def test_windows_that_touch_a_hole_are_not_valid_and_do_not_enter_the_mean() -> None:
    samples, gaps = noise(33_000), ((0.5, 0.75),)
    rows = extract(loaded(), samples, gaps=gaps)
    expected = [stop / 16000 <= 0.5 or start / 16000 >= 0.75 for start, stop in viper_windows(33_000)]
    assert rows.valid.tolist() == expected
    mean = extract(loaded(pooling="mean"), samples, gaps=gaps)
    np.testing.assert_allclose(mean.values[0], rows.values[rows.valid].mean(0), rtol=0, atol=1e-6)
    with pytest.raises(MediaError, match="Every row touches a hole"):
        extract(loaded(pooling="mean"), samples, gaps=((0.0, 3.0),))


def test_sound_with_too_few_samples_for_all_windows_is_an_error() -> None:
    assert len(extract(loaded(), noise(33)).values) == 32
    with pytest.raises(MediaError, match="32 samples"):
        extract(loaded(), noise(32))


def test_there_is_one_output_and_layers_are_the_other_cards_business() -> None:
    with pytest.raises(BadInput, match="--backbone wavlm"):
        loaded(layers=("2",))
    assert (card("wavlm-sv").name, card("wavlm-sv").dim) == ("wavlm-base-plus-sv", 512)


def test_keeping_the_last_seconds_moves_the_windows() -> None:
    samples = noise(64_000)
    kept, rest = extract(loaded(keep_last_s=2.0), samples), extract(loaded(), samples[32_000:], start_s=2.0)
    assert np.array_equal(kept.values, rest.values)
    np.testing.assert_allclose(kept.times, rest.times, rtol=0, atol=1e-12)


def test_weights_of_another_head_or_network_say_what_differs(tmp_path: Path) -> None:
    saved_model(tmp_path / "a", num_labels=3)
    with pytest.raises(WeightsError, match=r"dim: expected 512, found 16") as caught:
        load("wavlm-base-plus-sv", ExtractorSettings(weights=str(tmp_path / "a")))
    assert "tdnn_dims" in caught.value.found
    (tmp_path / "a" / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    with pytest.raises(WeightsError, match="it is a 'hubert' model, not a 'wavlm' one"):
        loaded(weights=str(tmp_path / "a"))
    path = tmp_path / "b.safetensors"
    save_file({"wavlm.encoder.layer_norm.weight": torch.ones(32)}, path)
    with pytest.raises(WeightsError, match=r"missing: projector\.weight|missing: wavlm"):
        loaded(weights=str(path))


def test_the_published_network_has_the_published_sizes() -> None:
    from cuebank.extractors.backbones.wavlm_sv import shapes

    found = speech.shapes(wavlm_xvector.build(shapes()["wavlm-base-plus-sv"]))
    assert found["projector.weight"] == (512, 768)
    assert found["feature_extractor.weight"] == (512, 3000)
    assert found["layer_weights"] == (13,)
    # 49 rows of a second, 35 behind the convolutions in time.
    assert wavlm_xvector.XVectorShape().rows == 16


def test_bfloat16_is_near_float32() -> None:
    samples = noise(32_000)
    full, half = extract(loaded(), samples), extract(loaded(precision="bf16"), samples)
    assert half.values.dtype == np.float32
    assert 0 < np.abs(full.values - half.values).max() < 0.2 * full.values.std() + 0.2
