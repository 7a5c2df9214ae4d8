"""Losses against their formulas, torch's own, autograd and recorded values; all folds at once equal each alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cuebank.store.errors import BadInput, NotFound
from cuebank.trainers.losses import ccc_loss, ce_loss, focal_loss, loss, losses, mae_loss, mse_loss

ALL = [(name, upstream) for name in losses() for upstream in (False, True)]


def batch(kind: str, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    if kind == "classes":
        logits = torch.randn(*shape, 3, generator=generator, dtype=dtype)
        return logits, torch.randint(0, 3, shape, generator=generator)
    return torch.randn(*shape, generator=generator, dtype=dtype), torch.randn(*shape, generator=generator, dtype=dtype)


def test_ccc_loss_equals_minus_the_formula_with_unbiased_moments():
    preds, target = batch("regression", 9)
    p, y = preds.numpy(), target.numpy()
    cov = np.cov(p, y)
    expected = -2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + (p.mean() - y.mean()) ** 2)
    assert ccc_loss(preds, target).item() == pytest.approx(expected, abs=1e-12)


def test_ccc_loss_gradient_equals_finite_differences():
    preds, target = batch("regression", 2, 6)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 3:] = False
    assert torch.autograd.gradcheck(lambda p: ccc_loss(p, target), preds.requires_grad_())
    assert torch.autograd.gradcheck(lambda p: ccc_loss(p, target, mask), preds)


@pytest.mark.parametrize(
    ("preds", "target"),
    [([0.3], [0.5]), ([0.2, 0.2], [0.2, 0.2]), ([0.0] * 8, [0.0] * 8)],
    ids=["one row", "the same constant", "zeros"],
)
def test_ccc_loss_without_a_concordance_is_zero_without_gradient_and_nan_upstream(preds, target):
    p, y = torch.tensor(preds, requires_grad=True), torch.tensor(target)
    value = ccc_loss(p, y)
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(p.grad, torch.zeros_like(p))
    assert ccc_loss(p, y, upstream=True).isnan()


def test_ccc_loss_of_constant_predictions_still_has_a_gradient_towards_the_target():
    preds, target = torch.zeros(4, requires_grad=True), torch.tensor([-0.2, 0.0, 0.1, 0.3])
    ccc_loss(preds, target).backward()
    assert float(preds.grad @ (target - target.mean())) < 0


def test_cross_entropy_equals_torch_and_focal_equals_its_definition_row_by_row():
    logits, ids = batch("classes", 11)
    assert torch.allclose(ce_loss(logits, ids), functional.cross_entropy(logits, ids))
    chance = torch.softmax(logits, -1)[torch.arange(11), ids]
    assert torch.allclose(focal_loss(logits, ids), ((1 - chance) ** 2 * -chance.log()).mean())
    ce = functional.cross_entropy(logits, ids)
    assert torch.allclose(focal_loss(logits, ids, upstream=True), (1 - torch.exp(-ce)) ** 2 * ce)


def test_mse_and_mae_equal_torch():
    preds, target = batch("regression", 11)
    assert torch.allclose(mse_loss(preds, target), functional.mse_loss(preds, target))
    assert torch.allclose(mae_loss(preds, target), functional.l1_loss(preds, target))


@pytest.mark.parametrize(("name", "upstream"), ALL)
def test_all_folds_at_once_equal_each_alone_in_value_and_gradient(name, upstream):
    one = loss(name, upstream=upstream)
    preds, target = batch(one.kind, 5, 8)
    preds.requires_grad_()
    together = one(preds, target)
    assert together.shape == (5,)
    together.sum().backward()
    for fold in range(5):
        alone = preds[fold].detach().clone().requires_grad_()
        value = one(alone, target[fold])
        value.backward()
        assert torch.allclose(together[fold], value, atol=1e-12)
        assert torch.allclose(preds.grad[fold], alone.grad, atol=1e-12)


@pytest.mark.parametrize(("name", "upstream"), ALL)
def test_a_masked_batch_equals_the_shorter_batch_whatever_the_rest_holds(name, upstream):
    one = loss(name, upstream=upstream)
    preds, target = batch(one.kind, 2, 8)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:] = False
    shorter = preds[0, :5].clone().requires_grad_()
    expected = one(shorter, target[0, :5])
    expected.backward()
    preds[0, 5:] = 1e3
    preds.requires_grad_()
    found = one(preds, target, mask)
    found[0].backward()
    assert torch.allclose(found[0], expected, atol=1e-12)
    assert torch.allclose(preds.grad[0, :5], shorter.grad, atol=1e-12)
    assert not preds.grad[0, 5:].any()


@pytest.mark.parametrize("name", losses())
def test_a_fold_without_rows_is_zero_without_gradient(name):
    one = loss(name)
    preds, target = batch(one.kind, 2, 4)
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[1] = True
    preds.requires_grad_()
    found = one(preds, target, mask)
    found.sum().backward()
    assert found[0].item() == 0.0
    assert torch.isfinite(preds.grad).all()
    assert not preds.grad[0].any()
    assert preds.grad[1].any()


@pytest.mark.parametrize(("name", "upstream"), ALL)
def test_shapes_that_would_be_broadcast_are_refused_with_both_in_the_message(name, upstream):
    one = loss(name, upstream=upstream)
    shape = (4, 1, 3) if one.kind == "classes" else (4, 1)
    target = torch.zeros(4, dtype=torch.long if one.kind == "classes" else torch.float32)
    with pytest.raises(BadInput) as caught:
        one(torch.zeros(shape), target)
    assert f"preds {shape} and target (4,)" in str(caught.value)


def test_a_mask_of_another_shape_and_a_batch_without_rows_are_refused():
    with pytest.raises(BadInput, match=r"mask \(1, 4\)"):
        mse_loss(torch.zeros(2, 4), torch.zeros(2, 4), torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(BadInput, match=r"preds \(0,\)"):
        ccc_loss(torch.zeros(0), torch.zeros(0))


def test_float_class_labels_are_refused_instead_of_truncated():
    with pytest.raises(BadInput, match=r"label of 1\.5"):
        ce_loss(torch.zeros(2, 3), torch.tensor([0.5, 1.5]))


def test_an_unknown_loss_answers_with_the_nearest():
    with pytest.raises(NotFound, match="`focal`"):
        loss("focl")
    assert losses("regression") == ["ccc", "mse", "mae"]


@pytest.mark.golden("sempi_loss")
def test_regression_losses_equal_the_recorded_ones(golden_case):
    recorded = golden_case.arrays
    preds = torch.from_numpy(recorded["pred"])[:, 0].requires_grad_()
    target = torch.from_numpy(recorded["label"])
    for upstream in (False, True):
        preds.grad = None
        value = loss("ccc", upstream=upstream)(preds, target)
        value.backward()
        assert value.item() == pytest.approx(float(recorded["ccc_loss"]), abs=1e-6)
        np.testing.assert_allclose(preds.grad.numpy(), recorded["ccc_loss_grad"][:, 0], atol=1e-6)
    broadcast = loss("mse", upstream=True)(preds, target)
    assert broadcast.item() == pytest.approx(float(recorded["mse_loss_upstream_broadcast"]), abs=1e-6)
    assert mse_loss(preds, target).item() == pytest.approx(float(recorded["mse_correct"]), abs=1e-6)


@pytest.mark.golden("sempi_loss")
def test_ccc_losses_of_batches_of_eight_equal_the_recorded_ones(golden_case):
    preds, target = torch.from_numpy(golden_case.arrays["pred"])[:, 0], torch.from_numpy(golden_case.arrays["label"])
    pairs = zip(preds.split(8), target.split(8), strict=True)
    found = [float(ccc_loss(p, y, upstream=True)) for p, y in pairs]
    np.testing.assert_allclose(found, golden_case.arrays["ccc_loss_batches_of_8"], atol=1e-6)


@pytest.mark.golden("sempi_loss")
def test_class_losses_equal_the_recorded_ones(golden_case):
    logits, ids = torch.from_numpy(golden_case.arrays["cls_logits"]), torch.from_numpy(golden_case.arrays["cls_label"])
    assert float(ce_loss(logits, ids)) == pytest.approx(float(golden_case.arrays["ce_loss"]), abs=1e-6)
    focal = loss("focal", upstream=True)(logits, ids)
    assert float(focal) == pytest.approx(float(golden_case.arrays["focal_loss"]), abs=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("name", "upstream"), ALL)
def test_cuda_agrees_with_cpu(name, upstream):
    one = loss(name, upstream=upstream)
    preds, target = batch(one.kind, 5, 8, dtype=torch.float32)
    there = one(preds.cuda(), target.cuda()).cpu()
    assert torch.allclose(one(preds, target), there, atol=1e-6)
