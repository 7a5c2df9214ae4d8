"""Vision transformers as a backbone: against transformers' own, batches, tokens, slots, holes, weights in all forms."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from still_pictures import clip, extract

from cuebank.extractors.backbones import _stills
from cuebank.extractors.backbones.vit import SHAPES
from cuebank.extractors.base import ExtractorSettings, Pictures
from cuebank.extractors.errors import MediaError, WeightsError
from cuebank.extractors.media.demand import AtRate, PictureShape, Slots
from cuebank.extractors.media.shaping import shape_picture
from cuebank.extractors.networks import vit
from cuebank.extractors.registry import card, load
from cuebank.extractors.torchvision_ops import ensure_torchvision
from cuebank.store import BadInput, feature_set_name

ATOL = 1e-5
CONFIG = {
    "model_type": "vit",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
PROCESSOR = {"do_resize": True, "size": 32, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def loaded(name: str = "vit-tiny", **settings: Any) -> Any:
    return load(name, ExtractorSettings(**{"weights": "random", **settings}))


def tensors(seed: int = 3) -> dict[str, torch.Tensor]:
    """Tensors of the tiny network by published names."""
    torch.manual_seed(seed)
    sizes = vit.shapes(vit.build(SHAPES["vit-tiny"]))
    return {name: 0.3 * torch.randn(size) for name, size in sizes.items()}


def folder(path: Path, weights: dict[str, torch.Tensor], config: Any = None, processor: Any = PROCESSOR) -> Path:
    path.mkdir()
    torch.save(weights, path / "pytorch_model.bin")
    (path / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


@pytest.mark.golden("viper_vit_tiny")
def test_the_recorded_weights_through_a_file_give_the_recorded_network(golden_case: Any, tmp_path: Path) -> None:
    described = golden_case.json("viper_backbones_tiny")["vit"]
    path = tmp_path / "vit.pt"
    torch.save(golden_case.state_dict(described["state_dict"]), path)
    network = loaded(weights=str(path)).loaded.forward._network
    with torch.inference_mode():
        (found,) = vit.tokens(network, torch.from_numpy(golden_case.arrays["pixel_values"].copy()), [None])
    np.testing.assert_allclose(found[:, 0], golden_case.arrays["feature"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("size", [(50, 37), (32, 32), (21, 90)])
def test_a_picture_gives_what_transformers_and_its_image_processor_give(tmp_path: Path, size: tuple[int, int]) -> None:
    ensure_torchvision()
    from transformers import ViTConfig, ViTForImageClassification

    try:
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil as Processor
    except ModuleNotFoundError:  # up to transformers 4
        from transformers import ViTImageProcessor as Processor

    torch.manual_seed(1)
    model = ViTForImageClassification(ViTConfig(**CONFIG)).eval()
    model.save_pretrained(tmp_path / "model")
    processor = Processor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "model")
    picture = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8)
    with torch.inference_mode():
        inputs = processor(images=Image.fromarray(picture), return_tensors="pt")
        outputs = model.vit(**inputs, output_hidden_states=True)
    extractor = loaded(weights=str(tmp_path / "model"), layers=("1", "last"))
    frame = shape_picture(picture, extractor.needs.pictures.shape)
    first, last = extract(extractor, Pictures(frame[None], np.zeros(1), np.ones(1, bool)))
    np.testing.assert_allclose(last.values, outputs.last_hidden_state[:, 0], rtol=0, atol=ATOL)
    np.testing.assert_allclose(first.values, outputs.hidden_states[1][:, 0], rtol=0, atol=ATOL)


def test_tokens_are_pooled_as_asked_for() -> None:
    pictures = clip(3)
    whole = {way: extract(loaded(pooling=way), pictures)[0].values for way in ("none", "cls", "mean", "patches")}
    assert np.array_equal(whole["none"], whole["cls"])
    patches = whole["patches"].reshape(3, 16, 48)
    np.testing.assert_allclose(patches.mean(1), whole["mean"], rtol=0, atol=ATOL)
    spec = loaded(pooling="patches").specs[0]
    assert spec.dim == 768
    assert spec.recipe.preprocessing[-1]["shape"] == [16, 48]
    names = [loaded(pooling=way).specs[0].name for way in ("none", "cls", "mean", "patches")]
    stem = "vit-tiny.random-0@last"
    assert names == [stem, stem, f"{stem}+mean", f"{stem}+patches"]
    assert loaded(pooling="cls").specs[0].fingerprint == loaded().specs[0].fingerprint
    with pytest.raises(BadInput, match="cls, mean, patches"):
        loaded(pooling="max")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("pooling", ["none", "mean", "patches"])
def test_neither_the_size_of_a_batch_nor_the_place_in_it_changes_a_bit(
    pooling: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, pictures = loaded(pooling=pooling, precision=precision, layers=("1", "last")), clip(37)
    expected = extract(extractor, pictures)
    for batch in (1, 2, 5, 32):
        monkeypatch.setitem(_stills.BATCH, "cpu", batch)
        for rows, due in zip(extract(extractor, pictures), expected, strict=True):
            assert np.array_equal(rows.values, due.values), batch
    monkeypatch.setitem(_stills.BATCH, "cpu", 8)
    turned = Pictures(pictures.frames[::-1].copy(), pictures.times, pictures.valid)
    for rows, due in zip(extract(extractor, turned), expected, strict=True):
        assert np.array_equal(rows.values[::-1], due.values)


@pytest.mark.slow
def test_batches_change_no_bit_of_the_published_size_either(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor, pictures = loaded("vit-base-patch16-224-in21k", layers=("3",)), clip(9, side=224)
    (expected,) = extract(extractor, pictures)
    assert expected.values.std(0).mean() > 0.05, "rows of a clip must differ"
    for batch in (1, 3):
        monkeypatch.setitem(_stills.BATCH, "cpu", batch)
        assert np.array_equal(extract(extractor, pictures)[0].values, expected.values)


def test_blocks_and_their_fate_do_not_matter() -> None:
    extractor, pictures = loaded(), clip(41)
    (expected,) = extract(extractor, pictures, [41])
    for blocks in ((1,), (7, 2), (32,), (16,)):
        assert np.array_equal(extract(extractor, pictures, blocks)[0].values, expected.values)
        assert np.array_equal(extract(extractor, pictures, blocks)[0].times, pictures.times)


def test_a_clip_does_not_depend_on_another_that_is_under_way() -> None:
    extractor, one, other = loaded(), clip(12, seed=1), clip(12, seed=2)
    expected = [extract(loaded(), pictures)[0].values for pictures in (one, other)]
    works = extractor.begin(), extractor.begin()
    for at in range(0, 12, 3):
        for work, pictures in zip(works, (one, other), strict=True):
            work.add(Pictures(*(array[at : at + 3] for array in pictures)))
    for work, due in zip(works, expected, strict=True):
        assert np.array_equal(work.finish()[0].values, due)
    assert not np.allclose(*expected, atol=0.01)


def test_pictures_come_once_a_second_or_at_the_rate_asked_for() -> None:
    extractor = loaded()
    assert extractor.needs.pictures.sampling == AtRate(Fraction(1))
    assert extractor.needs.pictures.shape == PictureShape("exact", 32, 32, "bilinear")
    quick = loaded(rate_hz="30000/1001").specs[0].timebase
    assert (quick.rate_hz, quick.first_center_s) == (Fraction(30000, 1001), 0)
    assert extractor.specs[0].timebase.count(3.0) == 3
    assert extractor.specs[0].timebase.count(3.5) == 4


@pytest.mark.parametrize("rule", ["even", "viper"])
def test_vipers_slots_have_names_of_their_own_and_no_clock(rule: str) -> None:
    extractor = loaded(slots=32, slot_rule=rule, pooling="mean")
    assert extractor.needs.pictures.sampling == Slots(32, rule)
    spec = extractor.specs[0]
    assert spec.name == f"vit-tiny.random-0@last+mean-{rule}32"
    assert spec.name == feature_set_name("vit-tiny", "random-0", "last", spec.recipe.pooling)
    assert spec.timebase is None
    assert loaded(slots=32, slot_rule=rule).specs[0].name == f"vit-tiny.random-0@last+{rule}32"
    for count in (32, 31, 9):  # ViPER's rule gives fewer for short clips
        (rows,) = extract(extractor, clip(count))
        assert rows.values.shape == (count, 48)


def test_holes_are_marked_and_a_clip_without_any_picture_is_an_error() -> None:
    pictures = clip(11)
    pictures.valid[[0, 4, 5]] = False
    (rows,) = extract(loaded(), pictures)
    assert rows.valid.tolist() == pictures.valid.tolist()
    pictures.valid[:] = False
    with pytest.raises(MediaError, match="no picture at any of the moments"):
        extract(loaded(), pictures)
    with pytest.raises(MediaError, match="no picture"):
        loaded().begin().finish()


def test_what_does_not_fit_into_memory_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stills, "MAX_BYTES", 20 * 768 * 4)
    with pytest.raises(MediaError, match="After 24 pictures"):
        extract(loaded(pooling="patches"), clip(40))


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(BadInput, match="32 x 32"):
        loaded().begin().add(clip(1, side=64))


def test_a_layer_is_the_same_alone_and_among_others_and_leaves_out_what_is_above() -> None:
    pictures = clip(4)
    alone, among = loaded(layers=("1",)), loaded(layers=("last", "2", "1"))
    assert len(vit.shapes(alone.loaded.forward._network)) < len(vit.shapes(among.loaded.forward._network))
    last, block, first = extract(among, pictures)
    assert np.array_equal(extract(alone, pictures)[0].values, first.values)
    assert np.abs(last.values - block.values).max() > 0.01  # the final norm lies between
    for wrong in ("0", "3", "01", "first"):
        with pytest.raises(BadInput, match="layers 1 to 2"):
            loaded(layers=(wrong,))


def test_bfloat16_is_near_float32_and_in_the_recipe() -> None:
    half = loaded(precision="bf16")
    (a,), (b,) = extract(loaded(), clip(9)), extract(half, clip(9))
    assert b.values.dtype == np.float32
    assert 0 < np.abs(a.values - b.values).max() < 0.1
    assert half.specs[0].recipe.precision == "bf16"


def test_what_changes_the_numbers_changes_the_fingerprint() -> None:
    several = [
        {},
        {"seed": 8},
        {"layers": ("1",)},
        {"precision": "bf16"},
        {"dtype": "float32"},
        {"pooling": "mean"},
        {"rate_hz": "2"},
        {"slots": 32},
        {"slots": 32, "slot_rule": "viper"},
    ]
    assert len({loaded(**settings).specs[0].fingerprint for settings in several}) == len(several)


def test_files_and_folders_in_every_form_give_the_same_rows(tmp_path: Path) -> None:
    plain, pictures = tensors(), clip(3)
    headed = {f"vit.{name}": tensor for name, tensor in plain.items()}
    headed |= {"classifier.weight": torch.ones(9, 48), "classifier.bias": torch.ones(9)}
    pooled = {**plain, "pooler.dense.weight": torch.ones(48, 48), "pooler.dense.bias": torch.ones(48)}
    newer = {name: plain[vit.published_name(name)] for name in vit.build(SHAPES["vit-tiny"]).state_dict()}
    nested = {"epoch": 7, "model_state_dict": {f"module.{name}": tensor for name, tensor in headed.items()}}
    forms: dict[str, Any] = {"plain": plain, "headed": headed, "pooled": pooled, "newer": newer, "nested": nested}
    found = []
    for form, content in forms.items():
        torch.save(content, tmp_path / f"{form}.pt")
        extractor = loaded(weights=str(tmp_path / f"{form}.pt"))
        assert extractor.specs[0].name == f"vit-tiny.{form}@last"
        found.append(extract(extractor, pictures)[0].values)
    found.append(extract(loaded(weights=str(folder(tmp_path / "folder", headed))), pictures)[0].values)
    assert all(np.array_equal(rows, found[0]) for rows in found)


def test_any_vit_takes_its_measures_and_its_look_from_the_folder(tmp_path: Path) -> None:
    processor = {
        **PROCESSOR,
        "size": {"shortest_edge": 40},
        "crop_size": 32,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": [0.4, 0.5, 0.6],
    }
    path = folder(tmp_path / "mine", tensors(), processor=processor)
    extractor = loaded("vit-any", weights=str(path))
    assert (extractor.card.dim, extractor.card.layers) == (48, 2)
    assert extractor.needs.pictures.shape == PictureShape("short-side", 40, 0, "bicubic", (32, 32))
    steps = {step["step"]: step for step in extractor.specs[0].recipe.preprocessing}
    assert steps["normalise"]["mean"] == [0.4, 0.5, 0.6]
    assert extractor.specs[0].name == "vit-any.mine@last"
    with pytest.raises(BadInput, match="layers 1 to 2"):
        loaded("vit-any", weights=str(path), layers=("3",))


@pytest.mark.parametrize(
    ("config", "processor", "said"),
    [
        ({"hidden_size": 96}, PROCESSOR, "dim: expected 48, found 96.*--backbone vit-any"),
        ({"model_type": "swin"}, PROCESSOR, "'swin'"),
        ({}, {**PROCESSOR, "resample": 1}, "resample is 1"),
        ({}, {**PROCESSOR, "size": 64}, r"\(64, 64\).*32 x 32"),
        ({}, {**PROCESSOR, "do_resize": False}, "do_resize is off"),
        ({}, {**PROCESSOR, "do_rescale": False}, "1/255"),
        ({}, {**PROCESSOR, "image_std": [0.5, 0.5]}, "image_std"),
        ({}, {**PROCESSOR, "size": "large"}, "cannot be followed"),
    ],
)
def test_folders_of_other_networks_or_looks_are_refused(
    tmp_path: Path, config: dict[str, Any], processor: Any, said: str
) -> None:
    path = folder(tmp_path / "model", tensors(), config, processor)
    with pytest.raises(WeightsError, match=f"(?s){said}"):
        loaded(weights=str(path))


def test_missing_and_superfluous_tensors_are_listed(tmp_path: Path) -> None:
    content = tensors()
    content["surplus"] = content.pop("layernorm.bias")
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"(?s)missing: layernorm\.bias \(48,\).*not wanted: surplus"):
        loaded(weights=str(tmp_path / "w.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="missing"):
        loaded(weights=str(tmp_path / "list.pt"))


def test_cards_without_pinned_weights_say_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="--weights nateraw/vit-age-classifier"):
        load("vit-age-classifier", ExtractorSettings())
    with pytest.raises(WeightsError, match="--weights HUB_ID"):
        load("vit-any", ExtractorSettings())
    with pytest.raises(WeightsError, match="no measures of its own"):
        loaded("vit-any")
    torch.save(tensors(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="does not say what network"):
        loaded("vit-any", weights=str(tmp_path / "w.pt"))
    assert card("vit").name == "vit-base-patch16-224-in21k"
