"""I3D as a backbone: windows and their times, holes, spread pictures, end points, and what recipes and names say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.extractors.backbones import _i3d_windows
from cuebank.extractors.backbones.i3d import LAYERS
from cuebank.extractors.base import ExtractorSettings, Pictures, Rows
from cuebank.extractors.errors import MediaError, WeightsError
from cuebank.extractors.media.demand import AtRate, PictureShape, Slots
from cuebank.extractors.registry import card, load
from cuebank.store import BadInput, feature_set_name

ATOL = 1e-5
SIDE = 64


def loaded(name: str = "i3d-tiny", **settings: Any) -> Any:
    return load(name, ExtractorSettings(**{"weights": "random", **settings}))


def clip(count: int, seed: int = 0, first: int = 0, rate: Fraction = Fraction(25)) -> Pictures:
    """Coarse noise that moves, on the grid of a rate from picture `first` on."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
    frames = np.stack([np.roll(still, (seed + 1) * i, 1) for i in range(count)])
    times = np.array([float(Fraction(first + i) / rate) for i in range(count)])
    return Pictures(frames, times, np.ones(count, bool))


def extract(extractor: Any, pictures: Pictures, block: int = 32) -> list[Rows]:
    work = extractor.begin()
    for start in range(0, len(pictures.frames), block):
        work.add(Pictures(*(array[start : start + block] for array in pictures)))
    return work.finish()


@pytest.mark.golden("sempi_i3d")
def test_sempis_feature_comes_out_of_a_file_of_weights(golden_case: Any, tmp_path: Path) -> None:
    frames = golden_case.arrays["frames_uint8"]
    if frames.shape[2:4] != (224, 224):
        pytest.skip("pictures of another size: the network's own test has them")
    path = tmp_path / "rgb_imagenet.pt"
    torch.save(golden_case.state_dict(golden_case.json()["state_dict"]), path)
    extractor = load("i3d", ExtractorSettings(weights=str(path), slots=frames.shape[1], slot_rule="sempi"))
    times = np.linspace(0, 7.5, frames.shape[1])
    (rows,) = extract(extractor, Pictures(frames[0], times, np.ones(len(times), bool)))
    np.testing.assert_allclose(rows.values[0], golden_case.arrays["sempi_feature"][0], rtol=0, atol=ATOL)
    assert extractor.specs[0].name == f"i3d.rgb_imagenet@last+sempi{frames.shape[1]}"


def test_windows_slide_by_the_stride_and_their_times_are_exact() -> None:
    extractor = loaded(rate_hz="30000/1001", stride_s=8 * 1001 / 30000)
    for count, expected in ((16, 1), (23, 1), (24, 2), (47, 4), (48, 5)):
        (rows,) = extract(extractor, clip(count, rate=Fraction(30000, 1001)))
        assert rows.values.shape == (expected, 128)
        assert rows.values.dtype == np.float32
        assert rows.times.tolist() == extractor.specs[0].timebase.centers(expected).tolist()
        assert rows.valid.all()
    timebase = extractor.specs[0].timebase
    assert timebase.rate_hz == Fraction(30000, 1001 * 8)
    assert timebase.first_center_s == Fraction(15, 2) * Fraction(1001, 30000)
    assert timebase.window_s == 16 * Fraction(1001, 30000)


def test_the_time_of_a_row_is_the_middle_of_its_pictures_wherever_they_begin() -> None:
    (rows,) = extract(loaded(stride_s=0.32), clip(40, first=7))
    assert rows.times.tolist() == [(7 + 8 * i + 7.5) / 25 for i in range(4)]


def test_a_window_sees_its_own_pictures_only() -> None:
    pictures = clip(64)
    (whole,) = extract(loaded(stride_s=0.2), pictures)  # 5 pictures
    assert len(whole.values) == 10
    for row in (0, 3, 9):
        own = Pictures(*(array[5 * row : 5 * row + 16] for array in pictures))
        (alone,) = extract(loaded(), own)
        assert np.array_equal(alone.values[0], whole.values[row])


def test_pictures_between_two_windows_are_left_out() -> None:
    pictures = clip(60)
    (rows,) = extract(loaded(stride_s=0.8), pictures)  # 20 pictures
    assert len(rows.values) == 3
    pictures.frames[[16, 19, 36, 39, 56, 59]] = 0
    assert np.array_equal(extract(loaded(stride_s=0.8), pictures)[0].values, rows.values)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_blocks_and_their_fate_do_not_matter(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_i3d_windows.BATCH, "cpu", batch)
    extractor, pictures = loaded(stride_s=0.32), clip(61)
    (expected,) = extract(extractor, pictures)
    for block in (1, 7, 16, 61):
        work = extractor.begin()
        for start in range(0, 61, block):
            part = Pictures(*(array[start : start + block].copy() for array in pictures))
            work.add(part)
            part.frames[:] = 0  # the decoder writes the next block into the same memory
        (rows,) = work.finish()
        assert all(np.array_equal(a, b) for a, b in zip(rows, expected, strict=True))


def test_two_clips_at_once_do_not_touch_each_other() -> None:
    extractor, one, other = loaded(), clip(48, 1), clip(48, 2)
    expected = [extract(loaded(), pictures)[0].values for pictures in (one, other)]
    works = extractor.begin(), extractor.begin()
    for start in range(0, 48, 12):
        for work, pictures in zip(works, (one, other), strict=True):
            work.add(Pictures(*(array[start : start + 12] for array in pictures)))
    assert [np.array_equal(w.finish()[0].values, e) for w, e in zip(works, expected, strict=True)] == [True, True]
    assert not np.allclose(*expected, atol=0.01)


def test_only_the_pictures_of_the_open_window_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = loaded(stride_s=0.04)
    calls = []

    def network(inputs: torch.Tensor, points: list[str]) -> dict[str, torch.Tensor]:
        calls.append(inputs.shape)
        return {point: torch.zeros(len(inputs), 128, 1, 1, 1) for point in points}

    extractor.network = network
    work, pictures, held = extractor.begin(), clip(32), 0
    for _ in range(40):
        work.add(pictures)
        held = max(held, sum(frame.nbytes for frame in work._open) + sum(w.nbytes for w in work._ready))
    assert held <= 16 * SIDE * SIDE * 3
    assert len(work.finish()[0].values) == len(calls) == 40 * 32 - 15


def test_a_window_with_a_missing_picture_is_not_valid_and_does_not_enter_the_mean() -> None:
    pictures = clip(80)
    pictures.valid[20] = pictures.valid[47] = False
    pictures.frames[[20, 47]] = 0
    (rows,) = extract(loaded(), pictures)
    assert rows.valid.tolist() == [True, False, False, True, True]
    assert np.isfinite(rows.values).all()
    (mean,) = extract(loaded(pooling="mean"), pictures)
    np.testing.assert_allclose(mean.values[0], rows.values[rows.valid].mean(0), rtol=0, atol=1e-6)
    assert mean.times.tolist() == [(rows.times[0] + rows.times[-1]) / 2]
    assert mean.valid.tolist() == [True]
    pictures.valid[:] = False
    with pytest.raises(MediaError, match="Every window has a picture that is missing"):
        extract(loaded(pooling="mean"), pictures)


def test_too_few_pictures_for_one_window_are_an_error_with_the_numbers() -> None:
    with pytest.raises(MediaError, match=r"15 pictures.*16 together \(0\.640 s at 25 per second\)"):
        extract(loaded(), clip(15))
    with pytest.raises(MediaError, match="0 pictures"):
        loaded().begin().finish()


@pytest.mark.parametrize(("rule", "resize"), [("sempi", "at-least"), ("even", "short-side"), ("viper", "short-side")])
def test_spread_pictures_give_one_row_a_clip(rule: str, resize: str) -> None:
    extractor = loaded(slots=16, slot_rule=rule)
    demand = extractor.needs.pictures
    assert demand.sampling == Slots(16, rule)
    assert (demand.shape.resize, demand.shape.crop) == (resize, (SIDE, SIDE))
    pictures = clip(16)._replace(times=np.linspace(0.5, 7.5, 16))
    (rows,) = extract(extractor, pictures)
    assert rows.values.shape == (1, 128)
    assert (rows.times.tolist(), rows.valid.tolist()) == ([4.0], [True])
    assert np.array_equal(rows.values, extract(loaded(), pictures)[0].values)
    spec = extractor.specs[0]
    assert spec.timebase is None
    assert spec.name == f"i3d-tiny.random-0@last+{rule}16"
    pictures.valid[3] = False
    assert extract(extractor, pictures)[0].valid.tolist() == [False]
    for count in (15, 17, 32):
        with pytest.raises(MediaError, match=f"{count} pictures.*16 together"):
            extract(extractor, clip(count))


def test_sempis_pictures_are_resized_as_there_and_others_as_in_training() -> None:
    published = PictureShape("at-least", 226, filter="opencv-linear", crop=(224, 224))
    assert loaded("i3d", slots=16, slot_rule="sempi").needs.pictures.shape == published
    demand = loaded("i3d", layers=("1",)).needs.pictures
    assert demand.sampling == AtRate(Fraction(25))
    assert demand.shape == PictureShape("short-side", 256, filter="bilinear", crop=(224, 224))


def test_maps_are_stored_flat_with_their_shape_in_the_recipe() -> None:
    extractor = loaded(layers=("last", "MaxPool3d_5a_2x2", "Mixed_5c", "logits"))
    last, boundary, mixed, logits = extractor.specs
    assert [spec.dim for spec in extractor.specs] == [128, 104 * 8, 128 * 8, 400]
    step = {"step": "flatten", "axes": "channel, time, row, column", "shape": [104, 2, 2, 2]}
    assert boundary.recipe.preprocessing[-1] == step
    assert "flatten" not in [step["step"] for spec in (last, logits) for step in spec.recipe.preprocessing]
    rows = extract(extractor, clip(32))
    maps = rows[2].values.reshape(2, *mixed.recipe.preprocessing[-1]["shape"])
    np.testing.assert_allclose(maps.mean((2, 3, 4)), rows[0].values, rtol=0, atol=1e-5)


def test_the_frozen_boundary_of_sempi_has_its_published_size() -> None:
    assert loaded("i3d", layers=("MaxPool3d_5a_2x2",)).specs[0].dim == 832 * 2 * 7 * 7


def test_longer_windows_average_over_two_moments_at_a_time() -> None:
    for window, dim in ((9, 128), (16, 128), (17, 256), (32, 384)):
        extractor = loaded(window=window, rate_hz="10")
        assert extractor.specs[0].dim == dim
        assert extract(extractor, clip(window, rate=Fraction(10)))[0].values.shape == (1, dim)
        assert extractor.specs[0].timebase.rate_hz == Fraction(10, window)
    with pytest.raises(BadInput, match=r"`last`.*8 pictures"):
        loaded(window=8)
    assert loaded(window=8, layers=("Mixed_5c",)).specs[0].dim == 128 * 4


def test_a_layer_is_the_same_alone_and_among_others_and_leaves_out_what_is_behind() -> None:
    alone, among = loaded(layers=("Mixed_3b",)), loaded(layers=("last", "Mixed_3b", "5"))
    assert list(dict(alone.network.named_children()))[-1] == "Mixed_3b"
    pictures = clip(16)
    rows = extract(among, pictures)
    assert np.array_equal(extract(alone, pictures)[0].values, rows[1].values)
    assert [spec.recipe.layer for spec in among.specs] == ["last", "Mixed_3b", "5"]
    assert LAYERS[5] == "MaxPool3d_3a_3x3"
    assert among.specs[2].dim == 24 * 8 * 8 * 8


@pytest.mark.parametrize("layer", ["0", "18", "05", "mixed_5c", "pooled", ""])
def test_unknown_layers_are_refused_with_the_known_ones(layer: str) -> None:
    with pytest.raises(BadInput, match=r"last, Conv3d_1a_7x7, .*Mixed_5c, logits"):
        loaded(layers=(layer,))


def test_a_stride_between_two_pictures_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(BadInput, match=r"12\.5 pictures.*0\.48 or 0\.52 s"):
        loaded(stride_s=0.5)
    with pytest.raises(BadInput, match=r"a stride of 0\.04 s\."):
        loaded(stride_s=0.03)
    assert loaded(stride_s=0.5, rate_hz="24").specs[0].timebase.rate_hz == 2


@pytest.mark.parametrize("settings", [{"pooling": "mean"}, {"stride_s": 0.64}])
def test_spread_pictures_have_nothing_to_slide_or_to_average(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="one row"):
        loaded(slots=16, **settings)


def test_the_published_weights_are_a_file_and_the_message_says_which() -> None:
    with pytest.raises(WeightsError, match=r"--weights rgb_imagenet\.pt"):
        load("i3d", ExtractorSettings())


def test_pictures_of_another_size_are_refused() -> None:
    frames = np.zeros((2, 64, 66, 3), np.uint8)
    with pytest.raises(BadInput, match="64 x 64"):
        loaded().begin().add(Pictures(frames, np.array([0.0, 0.04]), np.ones(2, bool)))


def test_rows_that_would_fill_the_memory_are_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_i3d_windows, "MAX_BYTES", 5 * 1024 * 4)
    extractor = loaded(layers=("Mixed_5c",))
    assert len(extract(extractor, clip(80))[0].values) == 5
    with pytest.raises(MediaError, match="longer stride"):
        extract(extractor, clip(96))
    assert len(extract(loaded(layers=("Mixed_5c",), pooling="mean"), clip(96))[0].values) == 1


def test_bfloat16_is_near_float32_and_in_the_recipe() -> None:
    full, half = loaded(), loaded(precision="bf16")
    (a,), (b,) = extract(full, clip(32)), extract(half, clip(32))
    assert b.values.dtype == np.float32
    assert 0 < np.abs(a.values - b.values).max() < 0.05 * np.abs(a.values).max()
    assert half.specs[0].recipe.precision == "bf16"


def test_random_features_vary_over_time_and_between_clips() -> None:
    (a,), (b,) = extract(loaded(), clip(64, 0)), extract(loaded(), clip(64, 1))
    still = clip(64, 0)._replace(frames=clip(64, 0).frames[:1].repeat(64, 0))
    assert a.values.std(0).mean() > 0.01, "rows of one clip must differ"
    assert np.abs(a.values.mean(0) - b.values.mean(0)).max() > 0.1, "clips must differ"
    assert np.abs(a.values[0] - extract(loaded(), still)[0].values[0]).max() > 0.1, "movement must show"
    assert np.abs(a.values).max() < 1000


def test_the_same_seed_gives_the_same_rows_whatever_random_state_there_was() -> None:
    torch.manual_seed(1)
    (a,) = extract(loaded(seed=7), clip(16))
    torch.manual_seed(2)
    (b,) = extract(loaded(seed=7), clip(16))
    assert np.array_equal(a.values, b.values)
    assert not np.allclose(a.values, extract(loaded(seed=8), clip(16))[0].values, atol=0.1)


def test_names_and_recipes_say_what_changes_the_numbers() -> None:
    spec = loaded(seed=7, pooling="mean").specs[0]
    assert spec.name == feature_set_name("i3d-tiny", "random-7", "last", "mean")
    assert spec.timebase is None
    variants = (
        {"seed": 7},
        {"seed": 8},
        {"layers": ("Mixed_5b",)},
        {"precision": "bf16"},
        {"dtype": "float32"},
        {"pooling": "mean"},
        {"rate_hz": "30"},
        {"stride_s": 0.32},
        {"window": 12, "stride_s": 0.64},
        {"slots": 16},
        {"slots": 16, "slot_rule": "sempi"},
    )
    assert len({loaded(**settings).specs[0].fingerprint for settings in variants}) == len(variants)


def test_the_cards_state_what_comes_out() -> None:
    published, tiny = card("i3d"), card("i3d-tiny")
    assert card(published.family) == published
    assert (published.dim, published.row_rate_hz, published.layers) == (1024, "25/16", len(LAYERS) - 1)
    assert (tiny.dim, tiny.tiny, tiny.weights) == (128, True, None)


def test_rows_are_plain_arrays_without_gradients() -> None:
    extractor = loaded()
    with torch.enable_grad():
        (rows,) = extract(extractor, clip(16))
    assert type(rows.values) is np.ndarray
    assert not any(p.requires_grad for p in extractor.network.parameters())
