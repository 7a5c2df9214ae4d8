"""CLIP as a backbone of pictures: embeddings and class tokens, batches, preprocessing, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from still_pictures import clip, extract

from cuebank.extractors.base import ExtractorSettings, Pictures
from cuebank.extractors.errors import MediaError
from cuebank.extractors.media.shaping import shape_picture
from cuebank.extractors.networks import clip_image
from cuebank.extractors.registry import card, load
from cuebank.store import BadInput

ATOL = 1e-5


def loaded(name: str = "clip-tiny", **settings: Any) -> Any:
    return load(name, ExtractorSettings(**{"weights": "random", **settings}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layers", [("last",), ("1", "last", "2")])
def test_neither_the_company_of_a_picture_nor_its_place_changes_a_bit(layers: tuple[str, ...], precision: str) -> None:
    """Batches are filled up to one size: without it, `last` alone differs at the end of a clip."""
    extractor, pictures = loaded(precision=precision, layers=layers), clip(11)
    expected = extract(extractor, pictures)
    for first, last in ((0, 1), (2, 5), (3, 10), (10, 11)):
        part = Pictures(*(array[first:last] for array in pictures))
        for rows, due in zip(extract(extractor, part), expected, strict=True):
            assert np.array_equal(rows.values, due.values[first:last]), (first, last)
    turned = Pictures(pictures.frames[::-1].copy(), pictures.times, pictures.valid)
    for rows, due in zip(extract(extractor, turned), expected, strict=True):
        assert np.array_equal(rows.values[::-1], due.values)


def test_all_batches_on_a_cpu_have_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, whole = [], clip_image.embed
    monkeypatch.setattr(clip_image, "embed", lambda *args: sizes.append(len(args[1])) or whole(*args))
    assert extract(loaded(), clip(9))[0].values.shape == (9, 32)
    assert sizes == [4, 4, 4]


@pytest.mark.slow
def test_neither_does_it_at_the_published_size() -> None:
    extractor, pictures = loaded("clip-vit-b-32"), clip(7, side=224)
    (expected,) = extract(extractor, pictures)
    assert expected.values.shape == (7, 512)
    for first, last in ((0, 1), (1, 4), (5, 7)):
        part = Pictures(*(array[first:last] for array in pictures))
        assert np.array_equal(extract(extractor, part)[0].values, expected.values[first:last])


@pytest.mark.parametrize("size", [(50, 37), (32, 32), (21, 90), (640, 360)])
def test_pictures_are_prepared_as_open_clip_prepares_them(size: tuple[int, int]) -> None:
    transform = clip_image.open_clip().image_transform(32, is_train=False)
    picture = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8)
    expected = transform(Image.fromarray(picture))
    look = loaded().loaded.look
    pixels = look.pixels(shape_picture(picture, look.shape)[None], torch.device("cpu"))
    torch.testing.assert_close(pixels[0], expected, rtol=0, atol=1e-6)


def test_layers_have_widths_of_their_own() -> None:
    extractor = loaded(layers=("last", "1"))
    assert [spec.dim for spec in extractor.specs] == [32, 128]
    last, first = extract(extractor, clip(5))
    assert (last.values.shape, first.values.shape) == ((5, 32), (5, 128))
    alone = loaded(layers=("1",))
    assert np.array_equal(extract(alone, clip(5))[0].values, first.values)
    assert len(clip_image.shapes(alone.loaded.forward.network)) < len(
        clip_image.shapes(extractor.loaded.forward.network)
    )
    with pytest.raises(BadInput, match="layers 1 to 2, and the embedding"):
        loaded(layers=("3",))


def test_embeddings_are_not_brought_to_length_one() -> None:
    (rows,) = extract(loaded(), clip(9))
    assert np.abs(np.linalg.norm(rows.values, axis=1) - 1).min() > 0.1
    assert rows.values.std(0).mean() > 0.03, "rows of one clip must differ"


def test_slots_and_rates_as_for_every_backbone_of_stills() -> None:
    assert loaded(slots=32).specs[0].name == "clip-tiny.random-0@last+even32"
    assert loaded(slots=32, slot_rule="viper").specs[0].name == "clip-tiny.random-0@last+viper32"
    assert str(loaded(rate_hz="5/2").specs[0].timebase.rate_hz) == "5/2"
    with pytest.raises(MediaError, match="no picture"):
        loaded().begin().finish()
    with pytest.raises(BadInput, match="pooling"):
        loaded(pooling="cls")


def test_bfloat16_is_near_float32() -> None:
    (a,), (b,) = extract(loaded(), clip(9)), extract(loaded(precision="bf16"), clip(9))
    assert b.values.dtype == np.float32
    assert 0 < np.abs(a.values - b.values).max() < 0.2


def test_recipes_say_what_changes_the_numbers() -> None:
    steps = [step["step"] for step in loaded(layers=("last",)).specs[0].recipe.preprocessing]
    assert steps == ["pictures", "scale", "normalise", "project"]
    several = [{}, {"seed": 8}, {"layers": ("1",)}, {"precision": "bf16"}, {"rate_hz": "2"}, {"slots": 32}]
    assert len({loaded(**settings).specs[0].fingerprint for settings in several}) == len(several)


def test_the_family_means_openais_vit_b_32() -> None:
    assert card("clip").name == "clip-vit-b-32"
    assert (card("clip").dim, card("clip").layers, card("clip").revision) == (
        512,
        12,
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
    )


@pytest.mark.golden("viper_clip_tiny")
def test_recorded_weights_through_a_file_give_the_recorded_features(golden_case: Any, tmp_path: Path) -> None:
    """The recorded network differs from the tiny card's in texts only."""
    described, arrays = golden_case.json("viper_backbones_tiny")["clip"], golden_case.arrays
    path = tmp_path / "model.pt"
    torch.save({"model_state_dict": golden_case.state_dict(described["state_dict"])}, path)
    extractor = loaded(weights=str(path))
    with torch.inference_mode():
        (found,) = clip_image.embed(extractor.loaded.forward.network, torch.from_numpy(arrays["images"].copy()), [None])
    np.testing.assert_allclose(found, arrays["image_features"], rtol=0, atol=ATOL)
