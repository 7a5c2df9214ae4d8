"""RoBERTa against recorded outputs; tokens from files and from bytes; every form of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cuebank.extractors.backbones import _roberta, _roberta_weights
from cuebank.extractors.backbones._roberta_tokens import ByteTokenizer, FileTokenizer
from cuebank.extractors.base import Card, ExtractorSettings
from cuebank.extractors.errors import WeightsError
from cuebank.extractors.networks import roberta, speech
from cuebank.extractors.weights import LocatedWeights
from cuebank.store import BadInput

ATOL = 1e-5
CARDS: dict[str, Card] = {card.name: card for card in _roberta.CARDS}
SIZES = {
    "model_type": "roberta",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 34,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
# A tokenizer of two words: a vocabulary of letters (Ġ is the blank) and what is merged of them.
LETTERS = ["<s>", "<pad>", "</s>", "<unk>", "h", "i", "Ġ", "y", "o", "u", "hi", "yo", "you", "Ġyou", "<mask>"]
VOCAB = {piece: number for number, piece in enumerate(LETTERS)}
MERGES = "#version: 0.2\nh i\ny o\nyo u\nĠ you\n"


def loaded(name: str = "roberta-tiny", most: int | None = None, **settings: Any) -> Any:
    return _roberta.load_encoder(CARDS[name], ExtractorSettings(**{"weights": "random", **settings}), most)


def folder_of(path: Path, tensors: dict[str, torch.Tensor], vocab: int) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({**SIZES, "vocab_size": vocab}))
    save_file(tensors, path / "model.safetensors")
    return path


def with_words(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(VOCAB), encoding="utf-8")
    (folder / "merges.txt").write_text(MERGES, encoding="utf-8")
    return folder


@pytest.fixture
def recorded(golden_case: Any, tmp_path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    """The recorded network, and the recorded arrays as tensors."""
    described = golden_case.json("viper_backbones_tiny")["roberta"]
    folder = tmp_path / "golden"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(described["constructor"]))
    save_file(golden_case.state_dict(described["state_dict"]), folder / "model.safetensors")
    located = LocatedWeights("golden", "golden", "", folder / "model.safetensors", folder)
    tensors, shape = _roberta_weights.read(located, _roberta.SHAPES["roberta-tiny"], "roberta-tiny")
    network = roberta.build(shape)
    speech.install(network, tensors)
    return network, {name: torch.from_numpy(array.copy()) for name, array in golden_case.arrays.items()}


@pytest.mark.golden("viper_roberta_tiny")
def test_a_padded_batch_equals_the_recorded_one(recorded: Any) -> None:
    network, arrays = recorded
    ids, mask = arrays["input_ids"], arrays["attention_mask"]
    numbers = sorted(int(name.removeprefix("hidden_")) for name in arrays if name.startswith("hidden_"))
    with torch.inference_mode():
        last, *others = roberta.hidden(network, ids, mask, [None, *numbers])
    np.testing.assert_allclose(last, arrays["last_hidden_state"], rtol=0, atol=ATOL)
    for number, rows in zip(numbers, others, strict=True):
        np.testing.assert_allclose(rows, arrays[f"hidden_{number}"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(last[:, 0], arrays["cls_feature"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(roberta.masked_mean(last, mask), arrays["masked_mean_feature"], rtol=0, atol=ATOL)


@pytest.mark.golden("viper_roberta_tiny")
def test_each_text_alone_has_the_rows_that_it_has_in_the_padded_batch(recorded: Any) -> None:
    network, arrays = recorded
    for i, mask in enumerate(arrays["attention_mask"].bool()):
        with torch.inference_mode():
            (rows,) = roberta.hidden(network, arrays["input_ids"][i][mask][None], None, [None])
        np.testing.assert_allclose(rows[0], arrays["last_hidden_state"][i][mask], rtol=0, atol=ATOL)
        for pooling, expected in (("cls", "cls_feature"), ("mean", "masked_mean_feature")):
            made = _roberta.pooled(rows[0].numpy(), pooling)
            np.testing.assert_allclose(made[0], arrays[expected][i], rtol=0, atol=ATOL)


def saved_model(folder: Path, task: str = "Model", vocab: int = 60) -> Any:
    """A random model saved by transformers itself."""
    import transformers

    torch.manual_seed(0)
    config = transformers.RobertaConfig(**{**SIZES, "vocab_size": vocab})
    model = getattr(transformers, f"Roberta{task}")(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("task", ["Model", "ForMaskedLM", "ForSequenceClassification"])
def test_folders_that_transformers_saves_are_read_and_compute_the_same(tmp_path: Path, task: str) -> None:
    model = saved_model(tmp_path, task)
    with_words(tmp_path)
    encoder = loaded(weights=str(tmp_path), layers=("1", "last"))
    text = "hi you"
    assert encoder.tokens(text) == [0, VOCAB["hi"], VOCAB["Ġyou"], 2]
    body = model if task == "Model" else model.roberta
    with torch.inference_mode():
        theirs = body(torch.tensor([encoder.tokens(text)]), output_hidden_states=True).hidden_states
    for mine, expected in zip(encoder.rows(text), theirs[1:], strict=True):
        np.testing.assert_allclose(mine, expected[0], rtol=0, atol=ATOL)


def test_old_pickled_files_with_saved_constants_are_read(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "a")
    tensors = dict(model.state_dict()) | {"embeddings.position_ids": torch.arange(34)[None]}
    folder = with_words(tmp_path / "b")
    (folder / "config.json").write_text(json.dumps({**SIZES, "vocab_size": 60}))
    torch.save(tensors, folder / "pytorch_model.bin")
    with_words(tmp_path / "a")
    one, other = loaded(weights=str(tmp_path / "a")), loaded(weights=str(folder))
    assert np.array_equal(one.rows("you")[0], other.rows("you")[0])


def test_files_of_words_give_what_transformers_own_tokenizer_gives(tmp_path: Path) -> None:
    from transformers import RobertaTokenizer

    mine = FileTokenizer(with_words(tmp_path), "test", 60)
    theirs = RobertaTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    for text in ("", "hi", "hi you", " you", "you you hi", "yo u", "</s> hi"):
        assert mine.encode(text, 512) == theirs(text)["input_ids"], text


def test_a_whole_tokenizer_file_gives_the_same_as_its_parts(tmp_path: Path) -> None:
    parts = FileTokenizer(with_words(tmp_path / "parts"), "test", 60)
    whole = tmp_path / "whole"
    whole.mkdir()
    # Saved with padding and truncation on, which must not leave a mark.
    parts._tokenizer.enable_truncation(3)
    parts._tokenizer.enable_padding(length=9)
    parts._tokenizer.save(str(whole / "tokenizer.json"))
    again = FileTokenizer(whole, "test", 60)
    assert again.encode("hi you you", 512) == [0, VOCAB["hi"], VOCAB["Ġyou"], VOCAB["Ġyou"], 2]
    assert again.recipe() != parts.recipe()


def test_what_is_too_long_loses_its_end_but_not_its_end_mark(tmp_path: Path) -> None:
    words = FileTokenizer(with_words(tmp_path), "test", 60)
    assert words.encode("hi you you you", 4) == [0, VOCAB["hi"], VOCAB["Ġyou"], 2]
    assert ByteTokenizer().encode("abcdef", 4) == [0, 4 + 97, 4 + 98, 2]
    encoder = loaded()
    assert encoder.max_tokens == 512
    assert encoder.rows("x" * 2000)[0].shape == (512, 48)
    assert loaded(most=16).rows("x" * 2000)[0].shape == (16, 48)
    for most in (1, 513):
        with pytest.raises(BadInput, match="2 to 512"):
            loaded(most=most)


def test_bytes_are_tokens_of_the_tiny_card_and_an_empty_text_has_a_start_and_an_end() -> None:
    assert ByteTokenizer().encode("é", 9) == [0, 4 + 0xC3, 4 + 0xA9, 2]
    assert ByteTokenizer().encode("\ud800", 9) == [0, 4 + ord("?"), 2]
    assert loaded().rows("")[0].shape == (2, 48)
    assert loaded().steps() == [{"step": "tokenise", "tokenizer": "utf8-bytes-1", "max_tokens": 512}]


def test_poolings_follow_from_the_rows() -> None:
    text = "This face shows nothing."
    rows = loaded().rows(text)[0]
    assert rows.shape == (len(text) + 2, 48)
    np.testing.assert_allclose(loaded(pooling="mean").rows(text)[0], rows.mean(0, keepdims=True), rtol=0, atol=1e-6)
    assert np.array_equal(loaded(pooling="cls").rows(text)[0], rows[:1])


def test_a_layer_is_the_same_alone_and_among_others_and_leaves_out_what_is_above() -> None:
    alone, among = loaded(layers=("1",)), loaded(layers=("last", "1", "2"))
    assert len(alone._network.encoder.layer) == 1
    assert np.array_equal(alone.rows("hello")[0], among.rows("hello")[1])
    assert np.array_equal(among.rows("hello")[0], among.rows("hello")[2])
    with pytest.raises(BadInput, match="layers 1 to 2"):
        loaded(layers=("3",))


def test_a_text_gives_the_same_bits_whatever_was_read_before() -> None:
    encoder = loaded()
    first = encoder.rows("one text")[0]
    encoder.rows("quite another, and a longer text")
    assert encoder.rows("one text")[0].tobytes() == first.tobytes()
    assert not np.allclose(loaded(seed=1).rows("one text")[0], first, atol=0.1)
    half = loaded(precision="bf16").rows("one text")[0]
    assert half.dtype == np.float32
    assert 0 < np.abs(half - first).max() < 0.2


def test_weights_without_a_tokenizer_are_refused(tmp_path: Path) -> None:
    saved_model(tmp_path)
    with pytest.raises(WeightsError, match=r"neither tokenizer\.json nor vocab\.json and merges\.txt"):
        loaded(weights=str(tmp_path))
    alone = tmp_path / "base.safetensors"
    save_file(
        {n: torch.zeros(s) for n, s in speech.shapes(roberta.build(_roberta.SHAPES["roberta-base"])).items()}, alone
    )
    with pytest.raises(WeightsError, match="no tokenizer"):
        loaded("roberta-base", weights=str(alone))


@pytest.mark.parametrize("content", ["", "{", "{}", '{"model": 3}'])
def test_damaged_tokenizers_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(WeightsError, match=r"`tokenizer\.json` is damaged"):
        FileTokenizer(tmp_path, "test", 60)


def test_a_tokenizer_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="counts up to 14; the network has 14"):
        FileTokenizer(with_words(tmp_path), "test", 14)
    plain = FileTokenizer(tmp_path, "test", 60)._tokenizer
    from tokenizers.processors import ByteLevel

    plain.post_processor = ByteLevel()
    plain.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WeightsError, match="0 tokens around a text"):
        FileTokenizer(tmp_path, "test", 60)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "bert"}, "it is a 'bert' model, not a 'roberta' one"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"hidden_size": 64}, "dim: expected 48, found 64"),
        ({"num_hidden_layers": "two"}, "sizes cannot be read"),
        ({"vocab_size": 61}, "word_embeddings"),
    ],
)
def test_weights_of_other_networks_say_what_differs(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    saved_model(tmp_path)
    with_words(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, "vocab_size": 60, **change}))
    with pytest.raises(WeightsError, match=said):
        loaded(weights=str(tmp_path))


def test_the_published_card_builds_with_the_published_size() -> None:
    shape = _roberta.SHAPES["roberta-base"]
    # The published 124,645,632 have a pooler of 768 x 768 + 768, which is left out.
    assert sum(tensor.numel() for tensor in roberta.build(shape).state_dict().values()) == 124_645_632 - 590_592
    assert shape.max_tokens == 512
