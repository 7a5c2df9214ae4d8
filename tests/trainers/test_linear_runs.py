"""Runs fitted in closed form: equal to scikit-learn on what the head sees, under each run's scalings and selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from cuebank.store import BadInput
from cuebank.trainers.features import Features, standard
from cuebank.trainers.heads import head
from cuebank.trainers.heads.linear import LinearConfig
from cuebank.trainers.linear_runs import fit_runs
from cuebank.trainers.loop import evaluate, score_of
from cuebank.trainers.metrics import metric
from cuebank.trainers.runs import Outcome, Run, TrainConfig

DIMS = {"audio": 6, "video": 9}
N = 240


def made(scaled: bool, kind: str = "regression", seed: int = 0) -> list[Run]:
    """Three folds; the inputs stand in another order in the matrix than the head concatenates them in."""
    rng = torch.Generator().manual_seed(seed)
    inputs = {role: 3 + 2 * torch.randn(N, dim, generator=rng) for role, dim in DIMS.items()}
    score = inputs["video"][:, 0] - inputs["audio"][:, 1] + 2 * torch.randn(N, generator=rng)
    labels = score if kind == "regression" else (score > score.median()).long() + (score > score.quantile(0.8)).long()
    features = Features.of(inputs)
    runs = []
    for i, test in enumerate(np.array_split(np.random.default_rng(1).permutation(N), 3)):
        rest = np.setdiff1d(np.arange(N), test)
        train, validation = rest[: 120 - i], rest[120 - i :]
        scalings = {"audio": replace(standard(inputs["audio"][train]), offset=0.5)} if scaled else {}
        runs.append(Run(f"seed0.fold{i}", 0, features, labels, train, validation, scalings))
    return runs


def fitted(runs: list[Run], config: TrainConfig, settings: LinearConfig, outputs: int = 1) -> list[Outcome]:
    return fit_runs([run.new_head(head("linear"), outputs, settings) for run in runs], runs, config)


def seen(run: Run, rows: np.ndarray) -> np.ndarray:
    """What the head is given, in its order of inputs."""
    inputs: Any = run.inputs("cpu")
    parts = inputs.take(torch.from_numpy(rows))
    return torch.cat([parts["video"], parts["audio"]], 1).double().numpy()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("standardise", [False, True])
def test_each_run_is_the_ridge_that_its_validation_rows_choose(scaled: bool, standardise: bool) -> None:
    runs, config = made(scaled), TrainConfig(loss="mse", metric="r2")
    settings = LinearConfig(lambda_low=1e-3, lambda_high=10, lambdas=9, standardise=standardise)
    for run, outcome in zip(runs, fitted(runs, config, settings), strict=True):
        inner, held = seen(run, run.train), seen(run, run.validation)
        unit = inner.std(0) if standardise else np.ones(15)
        labels = run.labels.double().numpy()  # type: ignore[union-attr]
        models = [
            Ridge(alpha=one * len(inner), solver="svd").fit(inner / unit, labels[run.train]) for one in settings.path()
        ]
        scores = [metric("r2")(model.predict(held / unit), labels[run.validation]) for model in models]
        best = models[int(np.argmax(scores))]
        np.testing.assert_allclose(outcome.state["out.weight"].numpy()[0], best.coef_ / unit, atol=1e-5)
        np.testing.assert_allclose(outcome.state["out.bias"].numpy()[0], best.intercept_, atol=1e-4)
        np.testing.assert_allclose(outcome.best_score, max(scores), atol=1e-6)
        assert outcome.name == run.name
        assert outcome.best_epoch == 1


def test_the_state_is_that_of_the_head_and_evaluates_to_the_score_and_the_losses() -> None:
    config = TrainConfig(loss="mse", metric="ccc")
    for run, outcome in zip(runs := made(True), fitted(runs, config, LinearConfig()), strict=True):
        model = run.new_head(head("linear"), 1, LinearConfig())
        model.load_state_dict(outcome.state)
        outputs = evaluate(model, run.inputs("cpu"), run.validation)
        labels = run.labels[torch.from_numpy(run.validation)]  # type: ignore[index]
        assert abs(score_of(metric("ccc"), outputs, labels) - outcome.best_score) < 1e-5
        assert outcome.best_score > 0.5
        mse = (outputs[:, 0] - labels).square().mean().item()
        np.testing.assert_allclose(outcome.curves["validation_loss"], [mse], rtol=1e-4)
        assert outcome.epochs == 1
        assert len(outcome.curves["validation_score"]) == 1


def test_classes_are_fitted_by_logistic_regression() -> None:
    runs, config = made(False, "classes"), TrainConfig(loss="ce", metric="accuracy")
    settings = LinearConfig(lambda_low=0.01, lambda_high=0.01, lambdas=1, standardise=False)
    for run, outcome in zip(runs, fitted(runs, config, settings, outputs=3), strict=True):
        inner, held = seen(run, run.train), seen(run, run.validation)
        labels = run.labels.numpy()  # type: ignore[union-attr]
        model = LogisticRegression(C=1 / (0.01 * len(inner)), tol=1e-10, max_iter=10_000)
        model.fit(inner, labels[run.train])
        np.testing.assert_allclose(outcome.state["out.weight"].numpy(), model.coef_, atol=1e-4)
        assert outcome.best_score == (model.predict(held) == labels[run.validation]).mean()


def test_several_outputs_are_fitted_together() -> None:
    runs = made(False)
    labels = torch.stack([runs[0].labels, runs[0].labels.flip(0)], 1)  # type: ignore[arg-type, union-attr]
    runs = [replace(run, labels=labels) for run in runs]
    config = TrainConfig(loss="mse", metric="pearson")
    settings = LinearConfig(lambda_low=0.1, lambda_high=0.1, lambdas=1, standardise=False)
    for run, outcome in zip(runs, fitted(runs, config, settings, outputs=2), strict=True):
        inner = seen(run, run.train)
        model = Ridge(alpha=0.1 * len(inner), solver="svd").fit(inner, labels.double().numpy()[run.train])
        np.testing.assert_allclose(outcome.state["out.weight"].numpy(), model.coef_, atol=1e-5)


def test_runs_that_differ_in_their_seed_only_are_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from cuebank.trainers import linear_runs

    counts: list[int] = []
    original = linear_runs.fit_linear

    def counted(values: Any, labels: Any, folds: Any, *rest: Any, **more: Any) -> Any:
        counts.append(len(folds))
        return original(values, labels, folds, *rest, **more)

    monkeypatch.setattr(linear_runs, "fit_linear", counted)
    runs = made(True)
    again = [replace(run, seed=1, name=run.name.replace("seed0", "seed1")) for run in runs]
    outcomes = fitted([*runs, *again], TrainConfig(loss="mse", metric="r2"), LinearConfig())
    assert counts == [3]
    assert [one.name for one in outcomes] == [run.name for run in (*runs, *again)]
    for one, other in zip(outcomes[:3], outcomes[3:], strict=True):
        assert torch.equal(one.state["out.weight"], other.state["out.weight"])
        assert one.state["out.weight"].data_ptr() != other.state["out.weight"].data_ptr()


def test_runs_over_other_labels_are_fitted_to_these() -> None:
    runs = made(False)
    shuffled = runs[0].labels[torch.randperm(N, generator=torch.Generator().manual_seed(0))]  # type: ignore[index]
    mixed = [runs[0], replace(runs[0], name="control", labels=shuffled)]
    true, control = fitted(mixed, TrainConfig(loss="mse", metric="r2"), LinearConfig())
    assert true.best_score > 0.5
    assert control.best_score < 0.1


def test_drawing_items_by_their_label_is_refused() -> None:
    with pytest.raises(BadInput, match="sampler `balanced`"):
        fitted(made(False), TrainConfig(sampler="balanced"), LinearConfig())


def test_labels_for_each_row_are_refused() -> None:
    from cuebank.trainers.labels import RowLabels
    from cuebank.trainers.spans import Spans

    run = made(False)[0]
    spans = Spans(torch.arange(N), torch.ones(N, dtype=torch.int64))
    labels = RowLabels(torch.zeros(N), torch.ones(N, dtype=torch.bool), spans)
    with pytest.raises(BadInput, match="label for each row"):
        fitted([replace(run, labels=labels)], TrainConfig(), LinearConfig())


def test_the_command_trains_saves_and_applies_it(planted: Callable[..., Path], tmp_path: Path) -> None:
    from cuebank.trainers.saved_head import load
    from cuebank.trainers.train_head import train_head

    report = train_head("engagement", planted(), head="linear", out=tmp_path / "out", seeds=(0, 1))
    found = report.to_json()["metrics"]["ccc"]
    assert found["mean"] > 0.5
    saved = load(tmp_path / "out")
    assert [member.name for member in saved.members] == [f"seed{s}.fold{f}" for s in (0, 1) for f in range(5)]
    assert saved.head == "linear"
