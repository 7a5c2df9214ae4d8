"""Whisper: tokens and times as transformers' own, texts and spans as rows, every form of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from whisper_reference import byte_letters, generated, noise, piped, saved

from cuebank.extractors import ExtractorSettings, load
from cuebank.extractors.backbones._whisper_tokens import ByteWriter, FileWriter
from cuebank.extractors.backbones.whisper import SHAPES
from cuebank.extractors.errors import MediaError, WeightsError
from cuebank.extractors.media.audio import Audio
from cuebank.extractors.networks import whisper
from cuebank.extractors.registry import card
from cuebank.store import BadInput

NAME = "whisper-random-tiny"


def loaded(**settings: Any) -> Any:
    return load(NAME, ExtractorSettings(**{"weights": "random", "layers": ("last", "spans"), **settings}))


def rows_of(extractor: Any, samples: np.ndarray, start_s: float = 0.0) -> list[tuple[float, float, str]]:
    texts, spans = extractor.extract(Audio(samples, 16000, start_s))
    assert texts.times.tobytes() == spans.times.tobytes()
    return [(*span, text) for span, text in zip(spans.values.tolist(), texts.values, strict=True)]


@pytest.mark.parametrize("seconds", [2.0, 30.0, 75.0])
@pytest.mark.parametrize("letters", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_tokens_and_times_are_those_of_transformers_generate(
    tmp_path: Path, seed: int, letters: float, seconds: float
) -> None:
    parts = saved(tmp_path, seed, letters)
    samples = noise(seconds, seed)
    mine = whisper.transcribe(loaded(weights=str(tmp_path))._loaded.network, samples)
    theirs = generated(parts, samples)
    assert [one.tokens for one in mine] == [tokens for tokens, _, _ in theirs]
    stamps = [
        [token for token in one.tokens if token >= parts[0].generation_config.no_timestamps_token_id + 1]
        for one in mine
    ]
    exact = 0
    for one, (_, start_s, end_s), stamped in zip(mine, theirs, stamps, strict=True):
        if len(stamped) > 1:
            assert one.end_s == end_s
        # A window without two stamps side by side: transformers' segment begins with the window itself.
        assert one.start_s == start_s or one.start_s - start_s == pytest.approx((stamped[0] - 266) * 0.02)
        exact += (one.start_s, one.end_s) == (start_s, end_s)
    assert exact or letters > 1


@pytest.mark.parametrize("seed", [0, 3, 4, 6, 7])
def test_texts_and_times_are_those_of_transformers_pipeline(tmp_path: Path, seed: int) -> None:
    parts = saved(tmp_path, seed, letters=1.0, max_length=6)
    samples = noise(30.0, seed)
    mine = [
        (round(start, 2), round(end, 2), text) for start, end, text in rows_of(loaded(weights=str(tmp_path)), samples)
    ]
    assert mine == piped(parts, samples)
    assert len(mine) > 1


@pytest.mark.parametrize("seed", range(3))
def test_so_they_are_of_long_sound_until_the_pipeline_loses_count(tmp_path: Path, seed: int) -> None:
    """Where a window ends in two stamps that differ, the pipeline takes the second for the next window's first."""
    parts = saved(tmp_path, seed, letters=1.0, max_length=6)
    samples = noise(75.0, seed)
    extractor = loaded(weights=str(tmp_path))
    mine, theirs = rows_of(extractor, samples), piped(parts, samples)
    same = 0
    for (start_s, end_s, text), expected in zip(mine, theirs, strict=False):
        if (round(start_s, 2), round(end_s, 2), text) != expected:
            break
        same += 1
    assert same >= 1
    whole = [extractor._text(one.tokens) for one in whisper.transcribe(extractor._loaded.network, samples)]
    assert "".join(whole) == "".join(text for _, _, text in theirs)
    assert [text for _, _, text in mine] == [text for text in whole if text][: len(mine)]


def test_a_segment_without_an_end_goes_to_the_end_of_its_window_or_of_the_sound(tmp_path: Path) -> None:
    parts = saved(tmp_path, 0, letters=3.0)
    samples = noise(70.0)
    assert [end for _, end, _ in piped(parts, samples)] == [None]
    spans = [span[:2] for span in rows_of(loaded(weights=str(tmp_path)), samples)]
    assert [end for _, end in spans] == [30.0, 60.0, 70.0]
    assert [start for start, _ in spans] == pytest.approx([0.42, 30.42, 60.42])
    assert rows_of(loaded(weights=str(tmp_path)), samples[: 16000 * 3])[0][1] == 3.0


def test_rows_lie_in_the_sound_and_are_timed_by_their_middle() -> None:
    extractor = loaded()
    texts, spans = extractor.extract(Audio(noise(40.0), 16000, 2.5))
    assert texts.values.dtype == object
    assert all(isinstance(text, str) and text for text in texts.values)
    assert spans.values.shape == (len(texts.values), 2)
    assert spans.values.min() >= 2.5
    assert spans.values.max() <= 42.5
    np.testing.assert_allclose(texts.times, spans.values.mean(1), rtol=0, atol=1e-12)
    assert (np.diff(texts.times) >= 0).all()
    assert texts.valid.all()


def test_texts_across_a_hole_are_not_valid() -> None:
    samples = noise(40.0)
    plain = loaded().extract(Audio(samples, 16000, 0.0))[1].values
    hole = (float(plain[-1].mean()), float(plain[-1].mean()) + 0.01)
    rows = loaded().extract(Audio(samples, 16000, 0.0, (hole,)))[0]
    assert rows.valid.tolist() == [True] * (len(plain) - 1) + [False]


def test_only_the_end_of_a_sound_can_be_asked_for() -> None:
    samples = noise(8.0)
    whole = rows_of(loaded(keep_last_s=3.0), samples)
    assert [(start + 5, end + 5, text) for start, end, text in rows_of(loaded(), samples[16000 * 5 :])] == whole


def test_silence_and_short_sounds() -> None:
    texts, spans = loaded().extract(Audio(np.zeros(16000, np.float32), 16000, 0.0))
    assert len(texts.values) == len(spans.values) == len(texts.times)
    with pytest.raises(MediaError, match="One row needs 400 samples"):
        loaded().extract(Audio(np.zeros(399, np.float32), 16000, 0.0))


def test_specs_say_what_was_written_and_how(tmp_path: Path) -> None:
    texts, spans = loaded().specs
    assert (texts.name, texts.kind, texts.dim) == ("whisper-random-tiny.random-0@last", "text", 1)
    assert (spans.name, spans.kind, spans.dim, spans.dtype) == (
        "whisper-random-tiny.random-0@spans",
        "numeric",
        2,
        "float64",
    )
    (step,) = [step for step in texts.recipe.preprocessing if step["step"] == "transcribe"]
    assert step["tokenizer"] == "utf8-bytes-1"
    saved(tmp_path / "a", max_initial_timestamp_index=7)
    saved(tmp_path / "b", max_initial_timestamp_index=8)
    one, other = (loaded(weights=str(tmp_path / name)).specs[0] for name in "ab")
    assert one.recipe.weights["sha256"] == other.recipe.weights["sha256"]
    assert one.fingerprint != other.fingerprint
    for layers in (("1",), ("text",)):
        with pytest.raises(BadInput, match="--layer spans"):
            loaded(layers=layers)


def test_half_precision_is_recorded() -> None:
    extractor = loaded(precision="bf16")
    assert extractor.specs[0].recipe.precision == "bf16"
    assert len(rows_of(extractor, noise(5.0))) >= 1


def test_older_folders_with_parts_of_the_tokenizer_are_read(tmp_path: Path) -> None:
    saved(tmp_path)
    samples = noise(20.0)
    expected = rows_of(loaded(weights=str(tmp_path)), samples)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(byte_letters() | {"<|endoftext|>": 256}), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tensors = {name: tensor.half() for name, tensor in saved(tmp_path / "b")[0].state_dict().items()}
    assert rows_of(loaded(weights=str(tmp_path)), samples) == expected
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin")  # with proj_out, which safetensors leave out
    assert len(rows_of(loaded(weights=str(tmp_path)), samples)) >= 1


@pytest.mark.parametrize("absent", ["tokenizer.json", "generation_config.json", "config.json"])
def test_what_is_missing_from_a_folder_is_named(tmp_path: Path, absent: str) -> None:
    saved(tmp_path)
    (tmp_path / absent).unlink()
    with pytest.raises(WeightsError, match=absent.replace(".", r"\.")):
        loaded(weights=str(tmp_path))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"model_type": "wav2vec2"}, "a 'wav2vec2' model"),
        ("config.json", {"d_model": 64}, "dim: expected 48, found 64"),
        ("config.json", {"max_source_positions": 100}, "max_source_positions is 100"),
        ("config.json", {"encoder_layers": "two"}, "sizes cannot be read"),
        ("config.json", {"vocab_size": 1766}, "embed_tokens"),
        ("generation_config.json", {"no_timestamps_token_id": None}, "does not say no_timestamps_token_id"),
    ],
)
def test_weights_of_other_networks_say_what_differs(
    tmp_path: Path, file: str, change: dict[str, Any], said: str
) -> None:
    saved(tmp_path)
    content = json.loads((tmp_path / file).read_text()) | change
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=said):
        loaded(weights=str(tmp_path))
    with pytest.raises(WeightsError, match="a file alone"):
        loaded(weights=str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_damaged_tokenizers_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(WeightsError, match=r"`tokenizer\.json` is damaged"):
        FileWriter(tmp_path, "test", ())


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert ByteWriter().decode([0xC3, 0xA9, 0xFF]) == "é\ufffd"


def test_published_cards_build_with_published_sizes() -> None:
    # With the encoder's positions, which are no parameters in OpenAI's count.
    counts = {"whisper-tiny": 37_760_640, "whisper-base": 72_593_920, "whisper-small": 241_734_912}
    for name, count in counts.items():
        generation = ByteWriter.generation(448)
        made = whisper.shapes(whisper.build(SHAPES[name], generation))
        assert sum(int(np.prod(shape)) for shape in made.values()) == count, name
    assert card("whisper").name == "whisper-tiny"


@pytest.mark.parametrize("count", [480_001, 480_160, 960_159, 1_200_000])
def test_the_spectrum_of_long_sound_in_pieces_is_transformers(count: int) -> None:
    samples = noise(75.0)[:count]
    features = whisper.import_transformers("Whisper").WhisperFeatureExtractor()
    theirs = features(samples, sampling_rate=16000, return_tensors="pt", truncation=False, padding="longest")
    mine = whisper.spectrum(samples, 80)
    assert mine.shape == theirs.input_features.shape
    np.testing.assert_allclose(mine, theirs.input_features, rtol=0, atol=2e-6)
