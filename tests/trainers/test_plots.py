"""Pictures: drawn without a display or global state, whatever the names and numbers are."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest

from cuebank.trainers.plots import COLOURS, confusion_picture, label, learning_curves, scatter
from cuebank.trainers.report import Curve

NASTY = ["$\\frac{", "名前", "x" * 400, "a\nb\x00", "_leading"]


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, which also proves that it is a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def colours_of(png: bytes, tmp_path) -> set[tuple[int, ...]]:
    """All colours of a picture, as rounded RGB."""
    from matplotlib.image import imread

    path = tmp_path / "picture.png"
    path.write_bytes(png)
    pixels = (imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    return {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}


def curve(epochs: int, seed: int = 0, best: int = 1) -> Curve:
    values = tuple(np.random.default_rng(seed).normal(size=epochs))
    return Curve("0", seed, values, values, values, best)


def test_learning_curves_of_runs_that_stopped_early_are_drawn(tmp_path):
    png = learning_curves([curve(9), curve(4, seed=1, best=4), curve(12, seed=2, best=0)], "ccc", "CCC", "engagement")
    width, height = size_of(png)
    assert width > height > 400
    assert (0, 0, 0) in colours_of(png, tmp_path)


def test_learning_curves_of_one_epoch_of_one_run_and_of_undefined_scores_are_drawn():
    size_of(learning_curves([curve(1)], "ccc", "CCC", "engagement"))
    nan = (float("nan"),) * 3
    size_of(learning_curves([Curve("0", 0, nan, nan, nan, 0)] * 2, "ccc", "CCC", "engagement"))


def test_scatter_draws_each_fold_in_a_colour_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    preds, target, folds = rng.normal(size=90), rng.normal(size=90), np.arange(90) % 3
    png = scatter(preds, target, folds, ["0", "1", "2"], "engagement", seed="seed 0, the first of 3")
    found = colours_of(png, tmp_path)
    for colour in COLOURS[:3]:
        blended = [int(int(colour[i : i + 2], 16) * 0.8 + 255 * 0.2) for i in (1, 3, 5)]
        assert any(max(abs(a - b) for a, b in zip(pixel, blended, strict=True)) <= 2 for pixel in found)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("count", [1, 40])
def test_scatter_of_constant_values_and_of_many_folds_is_drawn(constant, count):
    values = np.full(80, 0.3) if constant else np.linspace(-1, 1, 80)
    folds = np.arange(80) % count
    width, height = size_of(scatter(values, values, folds, [str(i) for i in range(count)], "engagement"))
    assert abs(width - height) < 100


def test_names_from_data_are_drawn_as_they_are_without_mathematics_or_warnings():
    values, folds = np.linspace(0, 1, 20), np.arange(20) % len(NASTY)
    for name in NASTY:
        size_of(scatter(values, values, folds, NASTY, name))
    size_of(confusion_picture(np.zeros((1, 5), int), np.arange(5), NASTY, NASTY[0]))
    size_of(learning_curves([curve(3)], NASTY[0], NASTY[1], NASTY[3]))
    assert label("a$b\n") == "a\\$b\\n"
    assert len(label("x" * 400)) <= 28


def test_confusion_pictures_of_few_and_many_classes_and_of_empty_rows_are_drawn(tmp_path):
    for classes in (2, 3, 30):
        preds = np.random.default_rng(0).integers(0, classes, size=(2, 50))
        size_of(confusion_picture(preds, np.zeros(50, int), [str(i) for i in range(classes)], "task"))
    perfect = confusion_picture(np.arange(4)[None] % 2, np.arange(4) % 2, ["a", "b"], "task")
    darkest = (8, 48, 107)  # the end of matplotlib's Blues
    assert darkest in colours_of(perfect, tmp_path)


def test_drawing_uses_no_pyplot_and_importing_the_module_loads_no_matplotlib():
    code = (
        "import sys, numpy as np, cuebank.trainers.plots as plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.scatter(np.arange(3.0), np.arange(3.0), np.zeros(3, int), ['0'], 'x')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
