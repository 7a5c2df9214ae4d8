"""Newton's method for logistic regression: it ends at the minimum, from whatever data, or says that there is none."""

from __future__ import annotations

import numpy as np
import pytest

from cuebank.store import BadInput
from cuebank.trainers import linear_newton
from cuebank.trainers.linear_newton import logistic_path


def rows(n: int = 80, r: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, r)) * np.geomspace(10, 0.01, r)
    x -= x.mean(0)
    axes, singular, _ = np.linalg.svd(x, full_matrices=False)
    x = axes * singular
    labels = (x @ rng.standard_normal((r, 3)) + rng.standard_normal((n, 3))).argmax(1)
    return x, np.square(x).sum(0), labels


def gradient(x: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: np.ndarray, penalty: float) -> np.ndarray:
    scores = x @ weight + bias
    chances = np.exp(scores - scores.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    chances[np.arange(len(labels)), labels] -= 1
    return np.vstack([x.T @ chances + penalty * weight, chances.sum(0)])


@pytest.mark.parametrize("penalties", [[1000.0, 1.0, 1e-3], [1e-3]])
def test_the_gradient_vanishes_at_every_penalty_of_the_path(penalties: list[float]) -> None:
    x, energy, labels = rows()
    for (weight, bias), penalty in zip(logistic_path(x, energy, labels, 3, penalties, 1e-12), penalties, strict=True):
        assert np.abs(gradient(x, labels, weight, bias, penalty)).max() < 1e-9
        np.testing.assert_allclose([*weight.sum(1), bias.sum()], 0, atol=1e-12)


def test_classes_that_a_plane_separates_have_a_minimum_because_of_the_penalty() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    labels = (x[:, 0] > 0).astype(np.int64)
    ((weight, bias),) = logistic_path(x, np.square(x).sum(0), labels, 2, [1e-6])
    assert np.abs(gradient(x, labels, weight, bias, 1e-6)).max() < 1e-5
    assert ((x @ weight + bias).argmax(1) == labels).all()


def test_rows_without_any_axis_give_the_shares_of_the_classes() -> None:
    labels = np.array([0, 0, 0, 1])
    ((weight, bias),) = logistic_path(np.zeros((4, 0)), np.zeros(0), labels, 2, [1.0])
    assert weight.shape == (0, 2)
    np.testing.assert_allclose(np.exp(bias[0] - bias[1]), 3)


def test_an_end_without_a_minimum_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    x, energy, labels = rows()
    monkeypatch.setattr(linear_newton, "STEPS", 1)
    with pytest.raises(BadInput, match=r"penalty of 0\.001"):
        logistic_path(x, energy, labels, 3, [1e-3])
