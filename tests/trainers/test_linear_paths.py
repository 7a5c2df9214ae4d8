"""Paths of linear heads: equal to scikit-learn fold by fold and penalty by penalty; selection; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from cuebank.store import BadInput
from cuebank.trainers import linear_spaces
from cuebank.trainers.linear_paths import LinearPath, fit_linear, linear_paths, outputs_of
from cuebank.trainers.metrics import metric

LAMBDAS = [1e-2, 1.0, 100.0]
# More rows than columns (X^T X), and fewer (X X^T).
SHAPES = [(150, 12), (40, 90)]


def made(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Values of unequal size about unequal means, two numbers to predict, four classes, training rows of five folds."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, d)) * rng.uniform(0.1, 5, d) + rng.uniform(-5, 5, d)
    numbers = values[:, :3] @ rng.standard_normal((3, 2)) + 7 + rng.standard_normal((n, 2))
    classes = np.argmax(numbers @ rng.standard_normal((2, 4)) + 8 * rng.standard_normal((n, 4)), 1)
    trains = [np.flatnonzero(np.arange(n) % 5 != i) for i in range(5)]
    assert all(len(np.unique(classes[train])) == 4 for train in trains)
    return values, numbers, classes, trains


def scales(values: np.ndarray, train: np.ndarray, standardise: bool) -> np.ndarray:
    return values[train].std(0) if standardise else np.ones(values.shape[1])


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_ridge_is_scikit_learns_for_every_fold_and_penalty(shape: tuple[int, int], standardise: bool) -> None:
    values, numbers, _, trains = made(*shape)
    paths = list(linear_paths(values, numbers, trains, LAMBDAS, "regression", standardise=standardise))
    assert len(paths) == 5
    for train, path in zip(trains, paths, strict=True):
        unit = scales(values, train, standardise)
        assert path.lambdas.tolist() == sorted(LAMBDAS, reverse=True)
        for i, penalty in enumerate(path.lambdas):
            wanted = Ridge(alpha=penalty, solver="svd").fit(values[train] / unit, numbers[train])
            np.testing.assert_allclose(path.weights[i], wanted.coef_ / unit, atol=1e-10, rtol=1e-10)
            np.testing.assert_allclose(path.biases[i], wanted.intercept_, atol=1e-10, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Newton solver")
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_logistic_is_scikit_learns_for_every_fold_and_penalty(
    shape: tuple[int, int], count: int, standardise: bool
) -> None:
    values, _, classes, trains = made(*shape)
    labels = classes if count == 4 else (classes > 1).astype(np.int64)
    paths = linear_paths(values, labels, trains, LAMBDAS, "classes", standardise=standardise, tolerance=1e-12)
    for train, path in zip(trains, paths, strict=True):
        unit = scales(values, train, standardise)
        for i, penalty in enumerate(path.lambdas):
            model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-12, max_iter=1000)
            wanted = model.fit(values[train] / unit, labels[train])
            weight, bias = path.weights[i], path.biases[i]
            assert weight.shape == (count, shape[1])
            np.testing.assert_allclose(weight.sum(0), 0, atol=1e-12)
            if count == 2:  # scikit-learn has one vector, of class 1 against class 0
                weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
                intercept = wanted.intercept_
            else:
                intercept = wanted.intercept_ - wanted.intercept_.mean()
            np.testing.assert_allclose(weight, wanted.coef_ / unit, atol=1e-6, rtol=1e-6)
            np.testing.assert_allclose(bias, intercept, atol=1e-5, rtol=1e-5)


def test_the_tolerance_that_heads_are_fitted_with_gives_the_same_probabilities() -> None:
    values, _, classes, trains = made(150, 12)
    exact, usual = (
        list(linear_paths(values, classes, trains, LAMBDAS, "classes", **more)) for more in ({"tolerance": 1e-12}, {})
    )
    rows = np.arange(150)
    for one, other in zip(exact, usual, strict=True):
        np.testing.assert_allclose(outputs_of(one, values, rows), outputs_of(other, values, rows), atol=1e-4)


def test_units_of_a_fold_are_those_of_its_penalty_and_the_solution_is_for_the_columns_as_they_are() -> None:
    values, numbers, _, trains = made(40, 90)
    unit = np.random.default_rng(1).uniform(0.5, 2, 90)
    units = [unit, None, unit, None, unit]
    paths = list(linear_paths(values, numbers, trains, [3.0], "regression", units=units))
    for train, path, own in zip(trains, paths, units, strict=True):
        scale = np.ones(90) if own is None else own
        wanted = Ridge(alpha=3.0, solver="svd").fit(values[train] / scale, numbers[train])
        np.testing.assert_allclose(path.weights[0], wanted.coef_ / scale, atol=1e-10)


def test_a_penalty_per_row_is_multiplied_by_the_training_rows() -> None:
    values, numbers, _, trains = made(150, 12)
    (path,) = linear_paths(values, numbers, [trains[0][:37]], [0.5], "regression", per_row=True)
    assert path.lambdas.tolist() == [18.5]
    wanted = Ridge(alpha=18.5, solver="svd").fit(values[trains[0][:37]], numbers[trains[0][:37]])
    np.testing.assert_allclose(path.weights[0], wanted.coef_, atol=1e-10)


def test_outputs_are_those_of_the_coefficients_and_float32_values_are_widened() -> None:
    values, numbers, _, trains = made(150, 12)
    narrow = values.astype(np.float32)
    (path,) = linear_paths(narrow, numbers, trains[:1], LAMBDAS, "regression")
    wanted = Ridge(alpha=1.0, solver="svd").fit(narrow.astype(np.float64)[trains[0]], numbers[trains[0]])
    rows = np.array([3, 140, 3])
    found = outputs_of(path, narrow, rows)
    assert found.shape == (3, 3, 2)
    np.testing.assert_allclose(found[1], wanted.predict(narrow[rows].astype(np.float64)), atol=1e-9)


def test_a_class_that_a_fold_lacks_is_never_predicted_and_changes_nothing_for_the_others() -> None:
    values, _, classes, _ = made(150, 12)
    train = np.flatnonzero(classes != 2)
    (path,) = linear_paths(values, classes, [train], [1.0], "classes", classes=5)
    assert path.weights.shape == (1, 5, 12)
    assert np.isfinite(path.biases).all()
    outputs = outputs_of(path, values, np.arange(150))[0]
    assert not np.isin(outputs.argmax(1), (2, 4)).any()
    others = np.searchsorted([0, 1, 3], classes[train])
    (wanted,) = linear_paths(values[train], others, [np.arange(len(train))], [1.0], "classes")
    np.testing.assert_allclose(path.weights[0][[0, 1, 3]], wanted.weights[0], atol=1e-6)


def test_the_penalty_is_the_best_one_on_the_validation_rows_of_each_fold() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((120, 60))
    labels = values[:, 0] + rng.standard_normal(120)
    folds = [(np.arange(50), np.arange(50, 90)), (np.arange(70, 120), np.arange(30, 70))]
    lambdas = np.geomspace(1e-3, 1e4, 15)
    r2 = metric("r2")

    def score(outputs: np.ndarray, wanted: np.ndarray) -> float:
        return float(r2(outputs[:, 0], wanted))

    fitted = fit_linear(values, labels, folds, list(lambdas), "regression", score=score, better=r2.better)
    for (train, validation), one in zip(folds, fitted, strict=True):
        models = [Ridge(alpha=penalty, solver="svd").fit(values[train], labels[train]) for penalty in lambdas]
        wanted = [r2(model.predict(values[validation]), labels[validation]) for model in models]
        np.testing.assert_allclose(one.scores[::-1], wanted, atol=1e-9)
        best = int(np.argmax(wanted))
        assert 0 < best < 14  # neither none nor all of the penalty: the choice means something
        assert one.penalty == lambdas[best]
        np.testing.assert_allclose(one.weight[0], models[best].coef_, atol=1e-10)
        state = one.state()
        np.testing.assert_allclose(state["out.weight"].numpy()[0], models[best].coef_, atol=1e-6)
        np.testing.assert_allclose(state["out.bias"].item(), models[best].intercept_, atol=1e-6)


def test_of_equal_scores_the_larger_penalty_wins_and_undefined_ones_never_do() -> None:
    values, numbers, _, trains = made(150, 12)
    folds = [(trains[0], np.arange(0, 150, 5))]
    for scores, wanted in (([0.5, 0.5, 0.4], 100.0), ([np.nan, 0.1, 0.1], 1.0), ([np.nan] * 3, 100.0)):
        given = iter(scores)
        (one,) = fit_linear(
            values,
            numbers,
            folds,
            LAMBDAS,
            "regression",
            score=lambda outputs, labels, given=given: next(given),
            better=metric("r2").better,
        )
        assert one.penalty == wanted
        assert np.isnan(one.score) == np.isnan(scores).all()


def test_a_head_that_is_given_scaled_values_has_the_same_outputs() -> None:
    import torch

    from cuebank.trainers.heads import head

    values, numbers, _, trains = made(150, 12)
    r2 = metric("r2")
    (one,) = fit_linear(
        values,
        numbers,
        [(trains[0], np.arange(0, 150, 5))],
        LAMBDAS,
        "regression",
        score=lambda outputs, labels: float(r2(outputs, labels)),
        better=r2.better,
    )
    shift, scale = values.mean(0), values.std(0)
    model = head("linear").build({"video": 12}, 2, head("linear").config())
    model.load_state_dict(one.state(shift, scale))
    found = model({"video": torch.from_numpy((values - shift) / scale).float()})
    np.testing.assert_allclose(found.detach().numpy(), values @ one.weight.T + one.bias, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "ranking"}, "no such kind"),
        ({"lambdas": [0.0]}, "penalties are 0.0"),
        ({"lambdas": []}, "penalties are none"),
        ({"lambdas": [float("nan")]}, "penalties are nan"),
        ({"labels": np.zeros(3)}, r"labels \(3,\)"),
        ({"labels": np.full(150, np.nan)}, "label is NaN"),
        ({"labels": np.ones(150)}, "training rows of fold 0 have the same"),
        ({"kind": "classes", "labels": np.ones(150)}, "float64"),
        ({"kind": "classes", "labels": np.full(150, -1)}, "below 0"),
        ({"kind": "classes", "labels": np.arange(150) % 3, "classes": 2}, "class 2"),
        ({"kind": "classes", "labels": np.zeros(150, dtype=int)}, "same label or class"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changes: dict[str, Any], said: str) -> None:
    values, numbers, _, trains = made(150, 12)
    asked = {"labels": numbers[:, 0], "lambdas": LAMBDAS, "kind": "regression", **changes}
    labels, lambdas, kind = asked.pop("labels"), asked.pop("lambdas"), asked.pop("kind")
    with pytest.raises(BadInput, match=said):
        list(linear_paths(values, labels, trains, lambdas, kind, **asked))


def test_values_that_are_no_numbers_are_refused_with_the_first_row() -> None:
    values, numbers, _, trains = made(150, 12)
    values[[7, 9], 3] = np.nan
    with pytest.raises(BadInput, match="2 rows hold NaN or infinity, first row 7"):
        list(linear_paths(values, numbers, trains, LAMBDAS, "regression"))


def test_a_fold_without_validation_rows_is_refused_where_a_penalty_is_chosen() -> None:
    values, numbers, _, trains = made(150, 12)
    with pytest.raises(BadInput, match="Fold 0 has no validation rows"):
        fit_linear(
            values,
            numbers,
            [(trains[0], np.empty(0, dtype=np.int64))],
            LAMBDAS,
            "regression",
            score=lambda outputs, labels: 0.0,
            better=metric("r2").better,
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_left_out_rows_that_outweigh_the_others_lose_no_digits(shape: tuple[int, int]) -> None:
    values, numbers, _, trains = made(*shape)
    values[0] *= 1e7  # left out of the first fold only
    paths: list[LinearPath] = list(linear_paths(values, numbers, trains, [1.0], "regression"))
    wanted = Ridge(alpha=1.0, solver="svd").fit(values[trains[0]], numbers[trains[0]])
    np.testing.assert_allclose(paths[0].weights[0], wanted.coef_, atol=1e-8)


def test_all_folds_share_one_product_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    values, numbers, _, trains = made(150, 12)
    seen: list[int] = []
    original = linear_spaces.Rows._squares

    def counted(self: linear_spaces.Rows, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return original(self, rows, mean)

    monkeypatch.setattr(linear_spaces.Rows, "_squares", counted)
    list(linear_paths(values, numbers, trains, LAMBDAS, "regression"))
    assert seen == [150, 30, 30, 30, 30, 30]
