"""The training loops: the original's recorded trajectory (both loops), selection, draws, refusals."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.features import Features, fixed_min_max
from cuebank.trainers.fused import train_fused
from cuebank.trainers.heads import head
from cuebank.trainers.heads._base import Head
from cuebank.trainers.heads.mlp import MlpConfig, from_sempi_options
from cuebank.trainers.loop import OnEpoch, train_alone
from cuebank.trainers.losses import ccc_loss
from cuebank.trainers.metrics import metric
from cuebank.trainers.runs import Draws, Outcome, Run, Selection, TrainConfig

Loop = Callable[[Sequence[Head], Sequence[Run], TrainConfig, OnEpoch | None], list[Outcome]]


def alone(heads: Sequence[Head], runs: Sequence[Run], config: TrainConfig, on_epoch: OnEpoch | None = None) -> Any:
    return [train_alone(one, run, config, "cpu", on_epoch) for one, run in zip(heads, runs, strict=True)]


def fused(heads: Sequence[Head], runs: Sequence[Run], config: TrainConfig, on_epoch: OnEpoch | None = None) -> Any:
    return train_fused(heads, runs, config, "cpu", on_epoch)


def small_run(name: str = "a", n: int = 40, seed: int = 0, noise: float = 0.1, **fields: Any) -> Run:
    """A run on a planted linear signal: 6 audio and 3 text columns; the last quarter of the rows validates."""
    rng = torch.Generator().manual_seed(5)
    audio, text = torch.randn(n, 6, generator=rng), torch.randn(n, 3, generator=rng)
    labels = 0.3 * audio[:, 0] - 0.2 * text[:, 1] + noise * torch.randn(n, generator=rng)
    rows = np.arange(n)
    cut = n - n // 4
    run = Run(name, seed, Features.of({"audio": audio, "text": text}), labels, rows[:cut], rows[cut:])
    return replace(run, **fields)


def new_heads(runs: Sequence[Run], config: MlpConfig | None = None, outputs: int = 1) -> list[Head]:
    return [run.new_head(head("mlp"), outputs, config or MlpConfig(hidden_size=8)) for run in runs]


def sempi_run(case: Any) -> tuple[Run, MlpConfig, int, TrainConfig]:
    """The recorded run: its data, its options in our words."""
    arrays, options = case.arrays, json.loads(str(case.arrays["options"]))
    inputs = {role: torch.from_numpy(arrays[role].astype(np.float32)) for role in ("video", "audio", "text")}
    inputs["openface"] = torch.from_numpy(arrays["openface_clip_mean"])
    head_config, outputs = from_sempi_options(options)
    n = int(arrays["n_train"])
    config = TrainConfig(
        loss=options["targettype"],
        epochs=options["num_epochs"],
        batch_size=options["batch_size"],
        lr=options["learning_rate"],
        weight_decay=options["weight_decay"],
        clip_norm=options["clip"],
        patience=options["patience"],
        upstream=True,
        must_exceed=0.0,
    )
    run = Run(
        "recorded",
        0,
        Features.of(inputs),
        torch.from_numpy(arrays["label"]),
        np.arange(n),
        np.arange(n, n + int(arrays["n_val"])),
        {"openface": fixed_min_max(case.fixed("sempi_openface_norm.npz"), 329)},
        orders=list(arrays["order"]),
    )
    return run, head_config, outputs, config


@pytest.mark.golden("sempi_train")
@pytest.mark.parametrize("loop", [alone, fused])
def test_the_originals_training_trajectory_is_reproduced(golden_case: Any, loop: Loop) -> None:
    arrays = golden_case.arrays
    run, head_config, outputs, config = sempi_run(golden_case)
    beside = replace(
        run, name="beside", orders=None, train=run.train[:20]
    )  # fewer steps, so stacks of both sizes occur
    heads = new_heads([beside, run], head_config, outputs)
    heads[1].load_state_dict(
        golden_case.state_dict({name: list(value.shape) for name, value in heads[1].state_dict().items()})
    )
    validation: list[np.ndarray] = []
    outcome = loop(
        heads, [beside, run], config, lambda r, _, found: validation.append(found.numpy()) if r is run else None
    )[1]

    def close(found: Any, wanted: str) -> None:
        np.testing.assert_allclose(found, arrays[wanted], atol=1e-4, rtol=0, err_msg=wanted)

    close(outcome.batch_losses, "train_batch_losses")
    label = arrays["label"][run.validation]
    preds = [one[:, 0] for one in validation]
    for name, wanted in (("ccc", "val_ccc"), ("r2", "val_r2"), ("pearson", "val_pcc")):
        close([metric(name)(one, label) for one in preds], wanted)
    close([((one[:, None] - label) ** 2).mean() for one in preds], "val_mse")  # with the original's broadcast
    close(outcome.curves["validation_score"], "val_ccc")
    close(outcome.curves["validation_loss"], "val_criterion")
    cut = [(torch.from_numpy(one).split(8), torch.from_numpy(label).split(8)) for one in preds]
    close([np.mean([ccc_loss(p, y).item() for p, y in zip(*pair, strict=True)]) for pair in cut], "val_loss")
    close(outcome.best_score, "test_ccc")
    close(validation[outcome.best_epoch - 1], "best_checkpoint_val_pred")


@pytest.mark.parametrize("loop", [alone, fused])
def test_the_state_that_is_kept_is_that_of_the_best_epoch(loop: Loop) -> None:
    run = small_run(noise=2.0)
    outputs: dict[int, torch.Tensor] = {}
    heads = new_heads([run])
    outcome = loop(heads, [run], TrainConfig(epochs=12, lr=0.05), lambda _, e, found: outputs.update({e: found}))[0]
    scores = outcome.curves["validation_score"]
    assert outcome.best_epoch == int(np.argmax(scores)) + 1 < 12
    assert outcome.best_score == max(scores)
    again = new_heads([run])[0]
    again.load_state_dict(outcome.state)
    again.eval()
    with torch.no_grad():
        found = again(run.features.split(run.features.matrix[torch.from_numpy(run.validation)]))
    torch.testing.assert_close(found, outputs[outcome.best_epoch], atol=1e-6, rtol=0)


@pytest.mark.parametrize("loop", [alone, fused])
def test_a_run_stops_after_patience_epochs_without_improvement(loop: Loop) -> None:
    run = small_run(noise=2.0)
    outcome = loop(new_heads([run]), [run], TrainConfig(epochs=60, lr=0.05, patience=3), None)[0]
    assert outcome.epochs == outcome.best_epoch + 3 < 60
    assert len(outcome.batch_losses) == outcome.epochs * run.steps(TrainConfig())


@pytest.mark.parametrize("loop", [alone, fused])
def test_a_run_that_never_exceeds_the_bound_keeps_its_last_epoch_and_says_so(loop: Loop) -> None:
    run = small_run()
    bounded = TrainConfig(epochs=3, must_exceed=2.0)
    outcome = loop(new_heads([run]), [run], bounded, None)[0]
    assert outcome.best_epoch == 0
    assert outcome.best_score == outcome.curves["validation_score"][-1]
    assert outcome.state.keys() == new_heads([run])[0].state_dict().keys()


@pytest.mark.parametrize("loop", [alone, fused])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(loop: Loop) -> None:
    config = TrainConfig(epochs=2)
    found = []
    for seed in (0, 0, 1):
        torch.rand(3)  # the global generator is elsewhere each time
        run = small_run(seed=seed)
        found.append(loop(new_heads([run]), [run], config, None)[0])
    assert found[0].batch_losses == found[1].batch_losses
    assert all(torch.equal(found[0].state[name], found[1].state[name]) for name in found[0].state)
    assert found[0].batch_losses != found[2].batch_losses


def test_training_leaves_the_global_generator_as_it_was() -> None:
    run = small_run()
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    alone(new_heads([run]), [run], TrainConfig(epochs=1))
    fused(new_heads([run]), [run], TrainConfig(epochs=1))
    assert torch.equal(torch.rand(4), wanted)


@pytest.mark.parametrize("loop", [alone, fused])
def test_the_learning_rate_falls_after_each_epoch(loop: Loop) -> None:
    run = small_run()
    moved = {}
    for decay in (1.0, 1e-6):
        config = TrainConfig(epochs=2, lr_decay=decay)
        heads = new_heads([run])
        states = [heads[0].state_dict()["out.fc1.weight"].clone()]
        loop(heads, [run], config, lambda *_, s=states, h=heads: s.append(h[0].state_dict()["out.fc1.weight"].clone()))
        moved[decay] = [(after - before).norm().item() for before, after in itertools.pairwise(states)]
    assert moved[1.0][0] == moved[1e-6][0]
    assert moved[1.0][1] > 0.3 * moved[1.0][0]
    assert moved[1e-6][1] < 1e-4 * moved[1e-6][0]


@pytest.mark.parametrize("loop", [alone, fused])
def test_training_that_diverges_is_refused_with_the_run_and_the_epoch(loop: Loop) -> None:
    run = small_run()
    run.features.matrix[run.train[0], 0] = math.inf
    with pytest.raises(BadInput, match=r"Run `a` was trained .* In epoch 1 "):
        loop(new_heads([run]), [run], TrainConfig(epochs=2), None)


@pytest.mark.parametrize("loop", [alone, fused])
@pytest.mark.parametrize("loss", ["ce", "focal"])
def test_classes_are_learnt_with_both_losses_and_both_samplers(loop: Loop, loss: str) -> None:
    run = small_run(n=120)
    run = replace(run, labels=(run.labels > 0).long() + (run.labels > 0.3).long())
    for sampler in ("shuffled", "balanced"):
        config = TrainConfig(loss=loss, metric="macro_f1", epochs=15, lr=0.02, sampler=sampler, patience=0)
        outcome = loop(new_heads([run], outputs=3), [run], config, None)[0]
        assert outcome.best_score > 0.6
        losses = outcome.curves["train_loss"]
        assert losses[-1] < 0.6 * losses[0]


def test_drawn_orders_are_whole_batches_of_training_rows_and_balanced_ones_repeat_rows() -> None:
    run = small_run(n=41)  # 31 training rows: 3 batches of 8 and 7 rows left
    shuffled = Draws(run, TrainConfig(), {}).order(1)
    assert shuffled.shape == (3, 8)
    assert len(set(shuffled.flatten().tolist())) == 24
    assert set(shuffled.flatten().tolist()) <= set(run.train.tolist())
    few = replace(run, labels=torch.tensor([0.0] * 40 + [1.0])[torch.randperm(41).argsort()].clamp(0, 0))
    few.labels[3] = 1.0
    balanced = Draws(few, TrainConfig(sampler="balanced"), {})
    visits = torch.cat([balanced.order(e).flatten() for e in range(1, 30)])
    assert 0.4 < (visits == 3).float().mean() < 0.6  # one clip is a class of its own, so half of the draws


def test_dropout_masks_keep_the_expectation_and_their_share() -> None:
    run = small_run(n=4000)
    mask = Draws(run, TrainConfig(), {"hidden": (16, 0.25)}).dropout(torch.float32)["hidden"]
    assert mask.shape == (375, 8, 16)
    assert mask.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert mask.mean().item() == pytest.approx(1, abs=0.02)


def test_a_batch_larger_than_the_training_part_becomes_all_of_it() -> None:
    run = small_run(n=8)  # 6 training rows
    outcome = fused(new_heads([run]), [run], TrainConfig(epochs=2))[0]
    assert len(outcome.batch_losses) == 2


def test_selection_takes_strict_improvements_only_and_never_nan() -> None:
    selection = Selection(TrainConfig(patience=2))
    assert [selection.update(e, s) for e, s in enumerate((math.nan, 0.1, 0.1, 0.2), 1)] == [False, True, False, True]
    assert (selection.epoch, selection.stop) == (4, False)
    selection.update(5, 0.2)
    selection.update(6, math.nan)
    assert selection.stop
    smaller = Selection(TrainConfig(metric="mse"))
    assert [smaller.update(e, s) for e, s in enumerate((0.5, 0.6, 0.4), 1)] == [True, False, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0.0),
        ("lr", math.nan),
        ("weight_decay", -1.0),
        ("clip_norm", math.inf),
        ("patience", -1),
        ("lr_decay", 1.5),
        ("sampler", "sorted"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"Its {field} is"):
        TrainConfig(**{field: value})


def test_a_batch_of_one_row_is_refused_only_where_concordance_is_the_loss() -> None:
    assert TrainConfig(loss="mse", batch_size=1).batch_size == 1
