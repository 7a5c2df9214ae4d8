"""Many runs as one program: equal to training alone, whatever is beside them; the optimiser is torch's AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.trainers import adamw, gathering
from cuebank.trainers import fused as fused_module
from cuebank.trainers.adamw import RowAdamW
from cuebank.trainers.features import Features, min_max
from cuebank.trainers.fused import train_fused
from cuebank.trainers.heads import head
from cuebank.trainers.heads._base import Head
from cuebank.trainers.heads.mlp import MlpConfig
from cuebank.trainers.loop import train_alone
from cuebank.trainers.runs import Outcome, Run, TrainConfig

DIMS = {"video": 24, "audio": 20, "openface": 12}


def folds(n: int = 403, count: int = 4, dtype: torch.dtype = torch.float32, noise: float = 0.3) -> list[Run]:
    """Folds of unequal sizes of a planted signal, each with scalings of its own."""
    rng = torch.Generator().manual_seed(1)
    inputs = {role: torch.randn(n, dim, generator=rng).to(dtype) for role, dim in DIMS.items()}
    labels = 0.2 * inputs["video"][:, 0] + 0.2 * inputs["openface"][:, 3] + noise * torch.randn(n, generator=rng)
    features = Features.of(inputs)
    parts = np.array_split(np.random.default_rng(2).permutation(n), count)
    sizes = [10_000, 200, 240, 17]  # steps differ between the folds
    runs = []
    for i, validation in enumerate(parts):
        train = np.setdiff1d(np.arange(n), validation)[: sizes[i % len(sizes)]]
        scalings = {"openface": min_max(inputs["openface"][train])}
        runs.append(Run(f"seed0.fold{i}", 0, features, labels.to(dtype), train, validation, scalings))
    return runs


def new_heads(runs: Sequence[Run], dtype: torch.dtype = torch.float32, **settings: Any) -> list[Head]:
    config = MlpConfig(hidden_size=8, openface_projection_dim=5, **settings)
    return [run.new_head(head("mlp"), 1, config).to(dtype) for run in runs]


def both(runs: Sequence[Run], config: TrainConfig, dtype: torch.dtype = torch.float32) -> list[tuple[Outcome, Outcome]]:
    together = train_fused(new_heads(runs, dtype), runs, config)
    apart = [train_alone(model, run, config) for model, run in zip(new_heads(runs, dtype), runs, strict=True)]
    return list(zip(together, apart, strict=True))


def difference(one: Outcome, other: Outcome) -> float:
    assert one.state.keys() == other.state.keys()
    return max((one.state[name] - other.state[name]).abs().max().item() for name in one.state)


def test_batch_64_gives_the_metric_of_training_alone() -> None:
    for together, apart in both(folds(), TrainConfig(batch_size=64, epochs=30, patience=0)):
        np.testing.assert_allclose(
            together.curves["validation_score"], apart.curves["validation_score"], atol=1e-4, rtol=0
        )
        assert together.best_epoch == apart.best_epoch


def test_the_first_50_steps_at_batch_8_give_the_parameters_of_training_alone() -> None:
    runs = [replace(run, train=run.train[: 400 - 8 * i]) for i, run in enumerate(folds())]
    config = TrainConfig(batch_size=8, epochs=1, patience=0)
    for together, apart in both(runs, config):
        assert difference(together, apart) < 1e-5
    assert max(run.steps(config) for run in runs) <= 50


def test_in_float64_30_epochs_at_batch_8_are_those_of_training_alone() -> None:
    for together, apart in both(folds(dtype=torch.float64), TrainConfig(epochs=30, patience=5), torch.float64):
        assert together.epochs == apart.epochs
        assert together.best_epoch == apart.best_epoch
        assert difference(together, apart) < 1e-9


def test_runs_that_stop_early_at_different_epochs_do_not_disturb_the_others() -> None:
    runs = folds(dtype=torch.float64, noise=1.0)
    config = TrainConfig(epochs=40, lr=0.01, patience=2)
    pairs = both(runs, config, torch.float64)
    assert len({together.epochs for together, _ in pairs}) >= 3
    for together, apart in pairs:
        assert together.epochs == apart.epochs
        assert difference(together, apart) < 1e-9


def test_a_run_does_not_depend_on_how_many_are_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = folds(dtype=torch.float64)
    config = TrainConfig(epochs=4)
    all_at_once = train_fused(new_heads(runs, torch.float64), runs, config)
    monkeypatch.setattr(fused_module, "PARAMETERS_AT_ONCE", 1)  # one run per program
    one_by_one = train_fused(new_heads(runs, torch.float64), runs, config)
    monkeypatch.setattr(gathering, "GATHER_BYTES", 1)  # one step per gathering
    turned = train_fused(new_heads(runs[::-1], torch.float64), runs[::-1], config)[::-1]
    for one, other, third in zip(all_at_once, one_by_one, turned, strict=True):
        assert [one.name, one.best_epoch] == [other.name, other.best_epoch] == [third.name, third.best_epoch]
        assert difference(one, other) < 1e-9
        assert difference(one, third) < 1e-9


def test_several_outputs_train_as_they_do_alone() -> None:
    runs = []
    for run in folds(dtype=torch.float64):
        labels = torch.stack([run.labels, -run.labels, run.labels.square()], -1)
        runs.append(replace(run, labels=labels))
    config = TrainConfig(loss="mse", metric="mse", epochs=3)
    models = [
        [run.new_head(head("mlp"), 3, MlpConfig(hidden_size=8, openface_projection_dim=5)).double() for run in runs]
        for _ in range(2)
    ]
    together = train_fused(models[0], runs, config)
    for one, model, run in zip(together, models[1], runs, strict=True):
        assert difference(one, train_alone(model, run, config)) < 1e-9
    curve = together[0].curves["train_loss"]
    assert curve[-1] < curve[0]


def test_the_same_program_twice_gives_the_same_bits() -> None:
    runs = folds()
    first, second = (train_fused(new_heads(runs), runs, TrainConfig(epochs=3)) for _ in range(2))
    assert all(difference(one, other) == 0 for one, other in zip(first, second, strict=True))


def test_clipping_is_by_head_and_zero_means_none() -> None:
    runs = folds(dtype=torch.float64)[:2]
    tight, loose, none = (
        train_fused(new_heads(runs, torch.float64), runs, TrainConfig(epochs=1, clip_norm=norm, weight_decay=0.1))
        for norm in (1e-9, 1e9, 0.0)
    )
    assert difference(loose[0], none[0]) == 0
    assert difference(tight[0], none[0]) > 1e-5  # below its epsilon, Adam's step does depend on the gradient's size


def public(start: torch.Tensor, grads: torch.Tensor, lrs: Sequence[float]) -> torch.Tensor:
    values = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([values], lr=lrs[0], weight_decay=0.01)
    for grad, lr in zip(grads, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        values.grad = grad.clone()
        optimizer.step()
    return values.detach()


@pytest.mark.parametrize("private", [True, False])
def test_the_optimiser_is_torchs_adamw_row_by_row(private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if private:
        assert hasattr(torch, "_fused_adamw_"), "torch renamed its kernel: training works, but starts a second later"
    else:
        monkeypatch.delattr(torch, "_fused_adamw_")
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(3, 50, generator=rng, dtype=torch.float64)
    grads = torch.randn(6, 3, 50, generator=rng, dtype=torch.float64)
    values, gradient = start.clone(), torch.zeros_like(start)
    optimizer = RowAdamW(values, gradient, lr=1e-3, weight_decay=0.01)
    for step, rows in enumerate((3, 3, 2, 1)):  # rows 1 and 2 pause, as folds with fewer steps do
        gradient.copy_(grads[step])
        optimizer.lr = 1e-3 * 0.9**step
        optimizer.step(rows)
    kept, kept_gradient = values[[0, 2]].clone(), torch.zeros(2, 50, dtype=torch.float64)
    optimizer.keep([0, 2], kept, kept_gradient)
    for step in (4, 5):
        kept_gradient.copy_(grads[step, [0, 2]])
        optimizer.lr = 1e-3 * 0.9**step
        optimizer.step(2)
    for found, row, steps in ((kept[0], 0, (0, 1, 2, 3, 4, 5)), (values[1], 1, (0, 1, 2)), (kept[1], 2, (0, 1, 4, 5))):
        wanted = public(start[row], grads[list(steps), row], [1e-3 * 0.9**step for step in steps])
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    assert adamw.BETAS == (0.9, 0.999)


def test_float32_steps_of_the_private_kernel_are_the_public_fused_ones_bit_for_bit() -> None:
    rng = torch.Generator().manual_seed(0)
    start, grads = torch.randn(2, 1000, generator=rng), torch.randn(5, 2, 1000, generator=rng)
    values, gradient = start.clone(), torch.zeros_like(start)
    optimizer = RowAdamW(values, gradient, lr=3e-4, weight_decay=0.01)
    parameters = [torch.nn.Parameter(row.clone()) for row in start]
    reference = torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.01, fused=True)
    for grad in grads:
        gradient.copy_(grad)
        optimizer.step(2)
        for parameter, row in zip(parameters, grad, strict=True):
            parameter.grad = row.clone()
        reference.step()
    assert torch.equal(values, torch.stack([p.detach() for p in parameters]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_metric_of_the_cpu() -> None:
    runs = folds()
    config = TrainConfig(batch_size=64, epochs=10, patience=0)
    cpu = train_fused(new_heads(runs), runs, config)
    cuda = train_fused(new_heads(runs), runs, config, "cuda")
    for one, other in zip(cpu, cuda, strict=True):
        np.testing.assert_allclose(one.curves["validation_score"], other.curves["validation_score"], atol=1e-3, rtol=0)
