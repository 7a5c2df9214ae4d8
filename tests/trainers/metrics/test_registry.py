"""The list of metrics is the folder; every metric keeps the same contract."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers import metrics as package
from cuebank.trainers.metrics import metric, metrics
from cuebank.trainers.metrics._arrays import moments

REGRESSION = [one.name for one in metrics("regression")]
CLASSES = [one.name for one in metrics("classes")]
SCORES = [one.name for one in metrics("scores")]
TABLES = ["confusion", "confusion_bins"]


def test_every_file_of_the_folder_is_a_metric_and_has_a_proof_of_its_own():
    files = {path.stem for path in Path(package.__file__).parent.glob("[!_]*.py")}
    assert files == {*REGRESSION, *CLASSES, *SCORES, *TABLES}
    assert files - set(TABLES) == {one.name for one in metrics()}
    proofs = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert files <= proofs


@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES, *SCORES, *TABLES])
def test_file_name_and_declared_name_agree_and_titles_are_given(name):
    one = metric(name)
    assert one.name == name
    assert one.title
    assert one.function.__name__ == name


def test_an_unknown_name_answers_with_the_nearest():
    with pytest.raises(NotFound, match="`macro_f1`"):
        metric("makro_f1")


def test_a_name_is_not_a_module_path():
    for name in ("_arrays", "..report", "__init__", ""):
        with pytest.raises(NotFound):
            metric(name)


def test_better_follows_the_direction_and_undefined_is_worse_than_anything():
    assert metric("ccc").better(0.2, 0.1)
    assert not metric("ccc").better(0.1, 0.1)
    assert metric("mae").better(0.1, 0.2)
    assert not metric("mae").better(0.2, 0.1)
    for name in ("ccc", "mae"):
        assert metric(name).better(0.1, math.nan)
        assert not metric(name).better(math.nan, 0.1)
        assert not metric(name).better(math.nan, math.nan)


@pytest.mark.parametrize("name", REGRESSION)
def test_moments_of_many_samples_give_the_score_of_each(name):
    rng = np.random.default_rng(1)
    preds, target = rng.normal(size=(3, 2, 20)), rng.normal(size=(3, 2, 20))
    together = metric(name).from_moments(moments(preds, target))
    alone = [[metric(name)(preds[i, j], target[i, j]) for j in range(2)] for i in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize("name", CLASSES)
def test_confusion_matrices_of_many_samples_give_the_score_of_each(name):
    rng = np.random.default_rng(1)
    preds, target = rng.integers(0, 3, size=(4, 20)), rng.integers(0, 3, size=(4, 20))
    counts = np.stack([metric("confusion")(p, y) for p, y in zip(preds, target, strict=True)])
    alone = [metric(name)(p, y) for p, y in zip(preds, target, strict=True)]
    np.testing.assert_allclose(metric(name).from_confusion(counts), alone, rtol=1e-12)
    assert np.isnan(metric(name).from_confusion(np.zeros((2, 3, 3)))).all()


@pytest.mark.parametrize("name", REGRESSION)
def test_several_outputs_score_as_the_mean_of_each(name):
    preds, target = np.random.default_rng(3).normal(size=(2, 20, 4))
    each = [metric(name)(preds[:, k], target[:, k]) for k in range(4)]
    assert metric(name)(preds, target) == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize("name", [*CLASSES, *SCORES, *TABLES])
def test_only_regression_takes_several_outputs(name):
    with pytest.raises(BadInput, match=r"preds \(4, 2\) and target \(4, 2\)"):
        metric(name)(np.zeros((4, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize("name", SCORES)
def test_weights_of_many_samples_give_the_score_of_the_repeated_rows(name):
    rng = np.random.default_rng(1)
    preds, target = rng.integers(0, 9, size=20).astype(float), rng.integers(0, 2, size=20).astype(float)
    weights = rng.integers(0, 3, size=(6, 20))
    weights[0], weights[1] = 0, 1
    together = metric(name).from_weights(preds, target, weights.astype(float))
    alone = [metric(name)(np.repeat(preds, one), np.repeat(target, one)) for one in weights[1:]]
    assert math.isnan(together[0])
    np.testing.assert_allclose(together[1:], alone, rtol=1e-12)


@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES, *SCORES])
def test_every_metric_names_both_shapes_when_they_differ_and_never_broadcasts(name):
    with pytest.raises(BadInput) as caught:
        metric(name)(np.zeros((4, 1)), np.zeros(4))
    assert "preds (4, 1) and target (4,)" in str(caught.value)


@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES])
def test_every_metric_is_a_plain_float_that_ignores_the_order_of_rows(name):
    rng = np.random.default_rng(2)
    preds, target = rng.integers(0, 3, size=(2, 40))
    order = rng.permutation(40)
    value = metric(name)(preds, target)
    assert type(value) is float
    assert metric(name)(preds[order], target[order]) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_plain_floats_that_ignore_the_order_of_rows_and_the_scale(name):
    rng = np.random.default_rng(2)
    preds, target = rng.normal(size=40), rng.integers(0, 2, size=40)
    order = rng.permutation(40)
    value = metric(name)(preds, target)
    assert type(value) is float
    assert metric(name)(preds[order], target[order]) == pytest.approx(value, rel=1e-12)
    assert metric(name)(np.exp(preds) * 1e-3, target) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES, *SCORES])
def test_a_metric_that_can_be_undefined_says_when(name):
    one = metric(name)
    undefined = math.isnan(one(np.ones(4), np.zeros(4) if one.kind == "scores" else np.ones(4)))
    assert undefined == (one.undefined is not None)


def test_importing_the_package_loads_no_metric_and_neither_torch_nor_scikit_learn():
    code = (
        "import sys, cuebank.trainers.metrics as m; "
        "assert 'cuebank.trainers.metrics.ccc' not in sys.modules; assert 'numpy' not in sys.modules; m.metrics(); "
        "assert not {'torch', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
