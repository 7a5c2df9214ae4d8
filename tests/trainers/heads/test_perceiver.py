"""The Perceiver head: parity with ViPER's recorded outputs and training, missing inputs, encodings, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.trainers.heads.perceiver import Perceiver, PerceiverHeadConfig
from cuebank.trainers.metrics import metric

STREAMS = {"visual": "video", "audio": "audio", "textual": "text", "fau": "fau"}
DIMS = {"video": 768, "audio": 512, "text": 768, "fau": 27}
# The original's small variants, in its words.
SMALL = {"latents": 8, "latent_dim": 48, "layers": 2, "heads": 4}


def viper(outputs: int, roles: dict[str, torch.Tensor] | tuple[str, ...], **settings: Any) -> Perceiver:
    dims = {role: DIMS[role] for role in roles}
    return Perceiver(dims, outputs, PerceiverHeadConfig(size="viper", **settings))


def golden_features(case: Any) -> dict[str, torch.Tensor]:
    return {role: torch.from_numpy(case.arrays[name]) for name, role in STREAMS.items() if name in case.arrays}


def all_there(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {role: torch.ones(x.shape[:2], dtype=torch.bool) for role, x in features.items()}


def close(found: torch.Tensor, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found.detach().numpy(), wanted, atol=tolerance, rtol=0)


@pytest.mark.golden("viper_small_vatf", "viper_small_va")
def test_the_small_perceivers_of_the_original_are_reproduced_layer_by_layer(golden_case: Any) -> None:
    described = golden_case.json()
    features = golden_features(golden_case)
    model = viper(golden_case.arrays["logits"].shape[1], features, **SMALL).eval()
    model.load_state_dict(golden_case.state_dict(described["state_dict"]))
    assert sum(p.numel() for p in model.parameters()) == described["parameters"]
    seen: dict[str, torch.Tensor] = {}
    layers = {"after_cross_attention": model.encoder.cross_attention}
    layers |= {f"after_self_attend_{i}": layer for i, layer in enumerate(model.encoder.self_attends)}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, inputs, result, name=name: seen.update({name: result[0]}))
    close(model(features, all_there(features)), golden_case.arrays["logits"])
    for name in layers:
        close(seen[name], golden_case.arrays[name])


@pytest.mark.golden("viper_small_vatf", "viper_small_va")
def test_the_original_does_not_know_the_order_of_the_slots(golden_case: Any) -> None:
    features = golden_features(golden_case)
    model = viper(golden_case.arrays["logits"].shape[1], features, **SMALL).eval()
    model.load_state_dict(golden_case.state_dict(golden_case.json()["state_dict"]))
    slots = features["video"].shape[1]
    order = torch.randperm(slots, generator=torch.Generator().manual_seed(0))
    shuffled = {role: x[:, order] for role, x in features.items()}
    close(model(shuffled, all_there(features)), golden_case.arrays["logits_shuffled_tokens"])


@pytest.mark.golden("viper_full_vatf", "viper_full_va")
@pytest.mark.slow
def test_the_published_perceiver_is_reproduced(golden_case: Any) -> None:
    described = golden_case.json()
    features = golden_features(golden_case)
    model = viper(golden_case.arrays["logits"].shape[1], features).eval()
    model.load_state_dict(golden_case.state_dict(described["state_dict"]))
    seen: dict[str, torch.Tensor] = {}
    layers = {"after_cross_attention": model.encoder.cross_attention}
    layers |= {f"after_self_attend_{i}": layer for i, layer in enumerate(model.encoder.self_attends)}
    recorded = {name.split(".")[0] for name in golden_case.arrays if name.startswith("after_")}
    for name in recorded:
        layers[name].register_forward_hook(lambda _, inputs, result, name=name: seen.update({name: result[0]}))
    with torch.no_grad():
        close(model(features, all_there(features)), golden_case.arrays["logits"])
    for name in recorded:
        close(seen[name].mean(-1), golden_case.arrays[f"{name}.mean"])
        corner = golden_case.arrays[f"{name}.corner"]
        # Behind 26 layers there are values of 18, where float32 itself is off by 7e-6 (measured against float64).
        rounding = max(1e-5, 1e-6 * float(np.abs(corner).max()))
        close(seen[name][:, : corner.shape[1], : corner.shape[2]], corner, rounding)
    assert len(recorded) >= 3


@pytest.mark.parametrize(("roles", "wanted"), [(tuple(DIMS), 283_380_647), (("video", "audio"), 275_952_647)])
def test_the_published_perceiver_has_the_published_number_of_parameters(roles: tuple[str, ...], wanted: int) -> None:
    with torch.device("meta"):
        model = viper(7, roles)
    assert sum(p.numel() for p in model.parameters()) == wanted


@pytest.mark.golden("viper_train")
def test_the_original_training_is_reproduced(golden_case: Any) -> None:
    arrays = golden_case.arrays
    number = {name: arrays[name].item() for name in ("n_train", "batch_size", "epochs", "step_size_epochs")}
    features = {role: torch.from_numpy(arrays[f"{role}_f16"]).float() for role in ("audio", "fau")}
    labels = torch.from_numpy(arrays["labels"]).float()
    words = golden_case.json()
    overrides = words["config_overrides"]
    model = viper(
        labels.shape[1],
        features,
        latents=overrides["num_latents"],
        latent_dim=overrides["d_latents"],
        layers=overrides["num_self_attends_per_block"],
        heads=overrides["num_cross_attention_heads"],
        dropout=overrides["attention_probs_dropout_prob"],
    )
    assert model.tokens.width == words["token_size"]
    model.load_state_dict(golden_case.state_dict(words["state_dict"]))
    batch, count = number["batch_size"], number["n_train"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=arrays["learning_rate"].item())
    per_epoch = -(-count // batch)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, number["step_size_epochs"] * per_epoch, 0.5)
    order = np.arange(count)
    mse, losses = torch.nn.MSELoss(), []
    for epoch in range(number["epochs"]):
        order = order[arrays["shuffles"][epoch]]
        model.train()
        for rows in np.split(order, range(batch, count, batch)):
            some = {role: x[rows] for role, x in features.items()}
            loss = mse(model(some, all_there(some)), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        model.eval()
        held = {role: x[count:] for role, x in features.items()}
        with torch.no_grad():
            preds = model(held, all_there(held))
        parts = [mse(p, y).item() for p, y in zip(preds.split(batch), labels[count:].split(batch), strict=True)]
        np.testing.assert_allclose(np.mean(parts), arrays["val_loss"][epoch], atol=1e-4, rtol=0)
        found = metric("pearson")(preds.double().numpy(), arrays["labels"][count:])
        np.testing.assert_allclose(found, arrays["val_pearson"][epoch], atol=1e-4, rtol=0)
    np.testing.assert_allclose(losses, arrays["train_batch_losses"], atol=1e-4, rtol=0)
    close(preds, arrays["final_val_logits"], 1e-4)
    np.testing.assert_allclose(schedule.get_last_lr(), arrays["final_lr"], rtol=1e-12)
