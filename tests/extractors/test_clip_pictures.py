"""SEMPI's clip loading against recorded arrays of the original, and the resizing against OpenCV itself."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from cuebank.extractors import clip_pictures
from cuebank.extractors.media.frames import sempi_frames
from cuebank.store import BadInput

ATOL = 1e-6
SEMPI = pytest.mark.golden("sempi_clip", "sempi_clip_small")


def loaded(golden_case: Any) -> np.ndarray:
    frames = golden_case.arrays["frames_rgb_uint8"]
    return clip_pictures.load(frames, np.array(sempi_frames(len(frames), int(golden_case.arrays["num_frames"]))))


@SEMPI
def test_loading_equals_sempis(golden_case: Any) -> None:
    pictures, arrays = loaded(golden_case), golden_case.arrays
    assert (pictures.shape, pictures.dtype) == (tuple(arrays["loaded_shape"]), np.float32)
    for name, found in (
        ("loaded_mean", pictures.mean((1, 2))),
        ("loaded_corner", pictures[:, :6, :6]),
        ("loaded_corner_end", pictures[:, -6:, -6:]),
    ):
        np.testing.assert_allclose(found, arrays[name], rtol=0, atol=ATOL, err_msg=name)


@SEMPI
def test_the_centre_crop_equals_sempis(golden_case: Any) -> None:
    cut, arrays = clip_pictures.centre_crop(loaded(golden_case)), golden_case.arrays
    assert cut.shape == tuple(arrays["center_shape"])
    np.testing.assert_allclose(cut[:, :, :6, :6], arrays["center_corner"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(cut[:, :, -6:, -6:], arrays["center_end"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(cut.mean((2, 3)), arrays["center_mean"], rtol=0, atol=1e-5)  # a sum over 50,176 float32


@SEMPI
def test_the_random_crop_and_the_mirror_are_drawn_as_by_sempi(golden_case: Any) -> None:
    pictures, arrays = loaded(golden_case), golden_case.arrays
    drawn = clip_pictures.draw(pictures, random.Random(int(arrays["python_seed"])))
    assert (drawn.top, drawn.left) == tuple(arrays["random_crop_ij"])
    assert drawn.mirror == bool(arrays["flip_after_crop"])


def test_all_pictures_of_a_clip_are_cut_and_mirrored_alike() -> None:
    pictures = np.arange(2 * 6 * 8 * 3, dtype=np.float32).reshape(2, 6, 8, 3)
    plain = clip_pictures.augment(pictures, clip_pictures.Augmentation(1, 3, False), size=4)
    mirrored = clip_pictures.augment(pictures, clip_pictures.Augmentation(1, 3, True), size=4)
    assert plain.shape == (3, 2, 4, 4)
    assert np.array_equal(plain[2, 1], pictures[1, 1:5, 3:7, 2])
    assert np.array_equal(mirrored, plain[..., ::-1])


def test_draws_reach_both_ends_and_both_mirrors() -> None:
    rng, pictures = random.Random(0), np.zeros((1, 6, 5, 3))
    drawn = [clip_pictures.draw(pictures, rng, size=4) for _ in range(200)]
    assert {d.top for d in drawn} == {0, 1, 2}
    assert {d.left for d in drawn} == {0, 1}
    assert {d.mirror for d in drawn} == {True, False}


@pytest.mark.parametrize(("height", "width"), [(120, 150), (225, 400), (64, 64), (1, 3), (50, 51), (226, 226)])
def test_enlarging_equals_opencvs_resize_by_a_factor(height: int, width: int) -> None:
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    factor = 226 / min(height, width)
    found = clip_pictures.enlarge(picture)
    assert min(found.shape[:2]) == 226
    assert np.array_equal(found, cv2.resize(picture, None, fx=factor, fy=factor))


def test_any_factor_from_1_on_gives_opencvs_values() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for _ in range(30):
        height, width, factor = rng.integers(2, 90), rng.integers(2, 90), float(rng.uniform(1, 4))
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = cv2.resize(picture, None, fx=factor, fy=factor)
        assert np.array_equal(clip_pictures.scale(picture, factor), expected), (height, width, factor)


def test_large_enough_pictures_stay_as_they_are() -> None:
    picture = np.zeros((226, 300, 3), np.uint8)
    assert clip_pictures.enlarge(picture) is picture


def test_a_crop_larger_than_the_picture_is_an_error_with_both_sizes() -> None:
    with pytest.raises(BadInput, match=r"224 x 224.*300 x 200"):
        clip_pictures.centre_crop(np.zeros((1, 200, 300, 3), np.float32))
