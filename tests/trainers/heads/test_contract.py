"""What every head must do, run over all files of the heads folder."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path

import pytest
import torch

from cuebank.store import NotFound
from cuebank.trainers import heads
from cuebank.trainers.heads._base import Head, HeadCard
from cuebank.trainers.options import configure

DIMS = {"video": 7, "audio": 5, "openface": 9, "gait": 3}
B, T = 6, 11


@pytest.fixture(params=heads.names())
def card(request: pytest.FixtureRequest) -> HeadCard:
    return heads.head(request.param)


def build(card: HeadCard, outputs: int = 1, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return card.build(DIMS, outputs, card.config())


def rows(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Features (B, T, D) with masks that leave 1 to T rows."""
    rng = torch.Generator().manual_seed(seed)
    features = {role: torch.randn(B, T, dim, generator=rng, dtype=dtype) for role, dim in DIMS.items()}
    counts = {role: torch.randint(1, T + 1, (B, 1), generator=rng) for role in DIMS}
    return features, {role: torch.arange(T) < counts[role] for role in DIMS}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_what_stands_in_padded_rows_and_how_many_there_are_changes_nothing(
    card: HeadCard, dtype: torch.dtype, tolerance: float
) -> None:
    model = build(card).to(dtype).eval()
    features, masks = rows(dtype=dtype)
    wanted = model(features, masks)
    rubbish = {role: torch.where(masks[role][..., None], x, torch.nan) for role, x in features.items()}
    longer = {role: torch.nn.functional.pad(x, (0, 0, 0, 4), value=1e30) for role, x in rubbish.items()}
    long_masks = {role: torch.nn.functional.pad(mask, (0, 4)) for role, mask in masks.items()}
    torch.testing.assert_close(model(rubbish, masks), wanted, atol=tolerance, rtol=0)
    torch.testing.assert_close(model(longer, long_masks), wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_batch_order_and_batch_size_change_nothing(card: HeadCard, dtype: torch.dtype, tolerance: float) -> None:
    model = build(card, outputs=3).to(dtype).eval()
    features, masks = rows(dtype=dtype)
    wanted = model(features, masks)
    assert wanted.shape == (B, 3)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(1))
    turned = model({r: x[order] for r, x in features.items()}, {r: m[order] for r, m in masks.items()})
    torch.testing.assert_close(turned, wanted[order], atol=tolerance, rtol=0)
    for i in range(B):
        one = model({r: x[i : i + 1] for r, x in features.items()}, {r: m[i : i + 1] for r, m in masks.items()})
        torch.testing.assert_close(one, wanted[i : i + 1], atol=tolerance, rtol=0)


def test_one_step_lowers_the_loss_and_reaches_every_parameter(card: HeadCard) -> None:
    model = build(card).eval()  # without dropout, so that both losses are of the same function
    features, masks = rows()
    target = torch.randn(B, 1, generator=torch.Generator().manual_seed(2))
    loss = (model(features, masks) - target).square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    assert (model(features, masks) - target).square().mean() < loss


def test_state_goes_through_safetensors_into_a_new_head_exactly(card: HeadCard, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, other = build(card).eval(), build(card, seed=1).eval()
    features, masks = rows()
    assert not torch.equal(model(features, masks), other(features, masks))
    save_file(dict(model.state_dict()), tmp_path / "head.safetensors")
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(model(features, masks), other(features, masks))


def test_evaluation_is_repeatable_and_training_drops_values_where_the_head_says_so(card: HeadCard) -> None:
    model = build(card)
    features, masks = rows()
    model.eval()
    assert torch.equal(model(features, masks), model(features, masks))
    model.train()
    sites = model.dropout_sites()
    masks_of_ones = {site: torch.ones(B, width) for site, (width, _) in sites.items()}
    if sites:
        assert all(0 < p < 1 for _, p in sites.values())
        torch.testing.assert_close(model(features, masks, dropout=masks_of_ones), model.eval()(features, masks))


def test_pooled_inputs_without_a_mask_are_taken_as_they_are(card: HeadCard) -> None:
    model = build(card).eval()
    features, masks = rows()
    single = {role: values[:, :1] for role, values in features.items()}
    there = {role: torch.ones(B, 1, dtype=torch.bool) for role in masks}
    pooled = {role: values[:, 0] for role, values in single.items()}
    torch.testing.assert_close(model(pooled), model(single, there), atol=1e-6, rtol=0)


def test_a_stackable_head_with_a_leading_axis_is_its_copies(card: HeadCard) -> None:
    models = [build(card, seed=seed).eval() for seed in range(3)]
    if not card.build(DIMS, 1, card.config()).stackable:
        pytest.skip("this head is not stackable")
    stack = copy.deepcopy(models[0])
    for name, _ in models[0].named_parameters():
        owner, _, leaf = name.rpartition(".")
        stacked = torch.stack([model.get_parameter(name) for model in models]).detach()
        setattr(stack.get_submodule(owner), leaf, torch.nn.Parameter(stacked))
    rng = torch.Generator().manual_seed(3)
    features = {role: torch.randn(3, B, dim, generator=rng) for role, dim in DIMS.items()}
    wanted = torch.stack([model({r: x[i] for r, x in features.items()}) for i, model in enumerate(models)])
    torch.testing.assert_close(stack(features), wanted, atol=1e-6, rtol=0)


def test_the_card_describes_the_head(card: HeadCard) -> None:
    assert card.name in heads.names()
    assert card.title
    assert is_dataclass(card.config)
    config = card.config()
    with pytest.raises(FrozenInstanceError):
        setattr(config, fields(card.config)[0].name, None)
    assert card.to_json()["settings"] == {f.name: getattr(config, f.name) for f in fields(card.config)}


def test_every_setting_can_be_given_as_a_word(card: HeadCard) -> None:
    config = card.config()
    words = {f.name: str(getattr(config, f.name)).lower() for f in fields(card.config)}
    assert configure(card.config, words, "A head") == config


def test_names_come_from_the_files_and_unknown_ones_are_answered_with_the_nearest() -> None:
    folder = Path(heads.__file__).parent
    assert heads.names() == sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))
    assert [one.name for one in heads.heads()] == heads.names()
    with pytest.raises(NotFound, match="Did you mean `mlp`"):
        heads.head("mpl")
    with pytest.raises(NotFound):
        heads.head("../mlp")
