"""Learning rates: torch's own schedulers, step for step."""

from __future__ import annotations

import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.runs import TrainConfig
from cuebank.trainers.schedule import next_lr

EPOCHS = 30


def of_torch(make: object) -> list[float]:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)  # type: ignore[operator]
    found = []
    for _ in range(EPOCHS):
        optimizer.step()
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(
    ("config", "make"),
    [
        ({"lr_decay": 0.9}, lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
        (
            {"schedule": "cosine", "schedule_epochs": 10},
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10),
        ),
        (
            {"schedule": "step", "schedule_epochs": 10, "lr_decay": 0.5},
            lambda o: torch.optim.lr_scheduler.StepLR(o, 10, 0.5),
        ),
        (
            {"schedule": "step", "schedule_epochs": 5, "schedule_start": 10, "lr_decay": 0.5},
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, list(range(10, 100, 5)), 0.5),
        ),
    ],
)
def test_rates_are_those_of_torchs_schedulers(config: dict[str, object], make: object) -> None:
    chosen = TrainConfig(lr=0.1, **config)  # type: ignore[arg-type]
    lr, found = 0.1, []
    for epoch in range(1, EPOCHS + 1):
        lr = next_lr(chosen, lr, epoch)
        found.append(lr)
    assert found == pytest.approx(of_torch(make), abs=1e-12)


@pytest.mark.parametrize(("field", "value"), [("schedule", "linear"), ("schedule_epochs", 0), ("optimizer", "sgd")])
def test_unknown_schedules_are_refused(field: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"Its {field} is"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]
