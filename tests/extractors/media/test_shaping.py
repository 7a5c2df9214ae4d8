"""Scaling and cutting, against the libraries whose way it is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cuebank.extractors.media import shaping
from cuebank.extractors.media.demand import PictureShape
from cuebank.extractors.media.shaping import UnfitPicture, scaled_size, shape_picture
from cuebank.extractors.torchvision_ops import ensure_torchvision
from cuebank.store.errors import MissingExtra

SIZES = [(640, 360), (360, 640), (225, 301), (224, 224), (101, 57)]


def picture(width, height):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_pictures_are_what_torchvision_makes_of_them(width, height, how):
    ensure_torchvision()
    transforms = pytest.importorskip("torchvision.transforms")
    from PIL import Image

    mode = {"bilinear": transforms.InterpolationMode.BILINEAR, "bicubic": transforms.InterpolationMode.BICUBIC}[how]
    image = Image.fromarray(picture(width, height))
    chain = transforms.Compose([transforms.Resize(64, mode), transforms.CenterCrop((50, 41))])
    made = shape_picture(picture(width, height), PictureShape("short-side", 64, filter=how, crop=(41, 50)))
    np.testing.assert_array_equal(made, np.asarray(chain(image)))
    exact = shape_picture(picture(width, height), PictureShape("exact", 70, 50, how))
    np.testing.assert_array_equal(exact, np.asarray(transforms.Resize((50, 70), mode)(image)))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_opencv_scales_both_axes_by_one_factor(width, height):
    cv2 = pytest.importorskip("cv2")
    factor = 226 / min(width, height)
    whole = picture(width, height)
    if factor > 1:
        whole = cv2.resize(whole, (0, 0), fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    made = shape_picture(picture(width, height), PictureShape("at-least", 226, filter="opencv-linear"))
    np.testing.assert_array_equal(made, whole)


def test_nothing_is_done_where_nothing_is_wanted():
    whole = picture(33, 22)
    np.testing.assert_array_equal(shape_picture(whole, PictureShape()), whole)
    np.testing.assert_array_equal(shape_picture(whole, PictureShape("at-least", 20)), whole)
    np.testing.assert_array_equal(shape_picture(whole, PictureShape(crop=(31, 20))), whole[1:21, 1:32])
    assert shape_picture(whole[:, ::-1], PictureShape()).flags.c_contiguous
    assert scaled_size(33, 22, PictureShape("short-side", 11)) == (16, 11)


def test_less_than_the_part_to_keep_is_an_error():
    with pytest.raises(UnfitPicture, match="33×22"):
        shape_picture(picture(33, 22), PictureShape(crop=(10, 23)))


def test_opencv_that_is_absent_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match="opencv-python"):
        shaping.require(PictureShape("at-least", 10, filter="opencv-linear"))
    shaping.require(PictureShape("exact", 10, 10))


def test_pillow_and_opencv_are_loaded_only_when_needed():
    code = "import sys, cuebank.extractors.media.clip; print([n for n in ('PIL', 'cv2', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
