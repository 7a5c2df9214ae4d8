"""SEMPI's fusion head: parity with the recorded outputs of all its options, shapes, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cuebank.store import BadInput
from cuebank.trainers.features import fixed_min_max
from cuebank.trainers.heads import head
from cuebank.trainers.heads._layers import Affine, masked_mean
from cuebank.trainers.heads.mlp import Mlp, MlpConfig, from_sempi_options

README_DIMS = {"video": 1024, "audio": 768, "text": 768, "openface": 329}


def golden_inputs(case: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The case's features as stored: pooled video and audio, text and OpenFace as padded rows with masks."""
    arrays = {name: torch.from_numpy(value) for name, value in case.arrays.items()}
    lengths = arrays["openface_lengths"].tolist()
    scaling = fixed_min_max(case.fixed("sempi_openface_norm.npz"), 329)
    rows = torch.full((len(lengths), max(lengths), 329), torch.nan)
    mask = torch.zeros(rows.shape[:2], dtype=torch.bool)
    for i, part in enumerate(arrays["openface_rows"].split(lengths)):
        rows[i, : len(part)] = scaling.apply_(part.clone())  # linear, so it may come before the mean
        mask[i, : len(part)] = True
    features = {
        "video": arrays["video_features"],
        "audio": arrays["audio_features"],
        "text": arrays["text_hidden"],
        "openface": rows,
    }
    return features, {"text": arrays["text_mask"].bool(), "openface": mask}


@pytest.mark.golden("sempi_head")
def test_all_recorded_option_sets_of_the_original_are_reproduced(golden_case: Any) -> None:
    features, masks = golden_inputs(golden_case)
    variants = golden_case.json()
    for name, variant in variants.items():
        config, outputs = from_sempi_options(variant["options"])
        dims = {role: README_DIMS[role] for role in config.order or ()}
        model = head("mlp").build(dims, outputs, config).eval()
        state = golden_case.state_dict(variant["state_dict"])
        unused = state.keys() - model.state_dict().keys()
        layers = {"out.fc2": config.second_layer, "extra_mlp.0": "openface" in dims}
        left_out = {f"{layer}.{part}" for layer, used in layers.items() if not used for part in ("weight", "bias")}
        assert unused == left_out & state.keys(), name
        model.load_state_dict({key: value for key, value in state.items() if key not in unused})
        with torch.no_grad():
            found = model({role: features[role] for role in dims}, masks)
        np.testing.assert_allclose(found.numpy(), golden_case.arrays[f"out_{name}"], atol=1e-5, rtol=0, err_msg=name)
    assert len(variants) >= 17


@pytest.mark.golden("sempi_head")
def test_the_published_head_sees_the_recorded_fusion_vector(golden_case: Any) -> None:
    features, masks = golden_inputs(golden_case)
    variant = golden_case.json()["readme"]
    config, outputs = from_sempi_options(variant["options"])
    model = Mlp(README_DIMS, outputs, config).eval()
    model.load_state_dict(golden_case.state_dict(variant["state_dict"]))
    seen: list[torch.Tensor] = []
    model.out["fc1"].register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    model(features, masks)
    fusion = torch.cat(seen, -1).detach().numpy()
    np.testing.assert_allclose(fusion, golden_case.arrays["fusion_readme"], atol=1e-5, rtol=0)


def test_the_published_head_has_the_published_number_of_parameters() -> None:
    model = Mlp(README_DIMS, 1, MlpConfig())
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert counts == {"extra_mlp": 21_120, "out": 85_089}
    assert list(model.state_dict()) == [
        f"{layer}.{part}" for layer in ("extra_mlp.0", "out.fc1", "out.fc2", "out.fc3") for part in ("weight", "bias")
    ]


def test_a_role_beside_the_four_known_ones_is_concatenated_after_them() -> None:
    assert Mlp({"zebra": 2, "text": 3, "gait": 1, "video": 4}, 1, MlpConfig()).roles == (
        "video",
        "text",
        "gait",
        "zebra",
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation": "gelu"}, "leaky_relu"),
        ({"openface_columns": "nose"}, "pose+AU"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"openface_projection_dim": 0}, "openface_projection_dim=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("+", r"\+")):
        MlpConfig(**settings)


def test_an_order_that_does_not_name_each_input_once_is_refused() -> None:
    for order in (("audio",), ("audio", "audio"), ("audio", "text", "video")):
        with pytest.raises(BadInput, match="names each input once"):
            Mlp({"audio": 2, "text": 2}, 1, MlpConfig(order=order))


def test_a_subset_of_openface_columns_needs_all_329() -> None:
    with pytest.raises(BadInput, match="35 columns"):
        Mlp({"openface": 35}, 1, MlpConfig(openface_columns="AU"))
    assert Mlp({"openface": 35}, 1, MlpConfig()).roles == ("openface",)


def test_only_openface_without_any_of_its_columns_is_no_input() -> None:
    with pytest.raises(BadInput, match="Its inputs are none"):
        Mlp({"openface": 329}, 1, MlpConfig(openface_columns="none"))


def test_dropout_hits_hidden_layers_and_outputs_with_the_masks_handed_in() -> None:
    torch.manual_seed(0)
    model = Mlp({"audio": 3}, 2, MlpConfig(hidden_size=4, dropout=0.5)).train()
    features = {"audio": torch.randn(5, 3)}
    ones = {"hidden1": torch.ones(5, 4), "hidden2": torch.ones(5, 4), "output": torch.ones(5, 2)}
    assert {site: (5, width) for site, (width, _) in model.dropout_sites().items()} == {
        site: tuple(mask.shape) for site, mask in ones.items()
    }
    torch.testing.assert_close(model(features, dropout=ones), model.eval()(features))
    model.train()
    for site, mask in ones.items():
        changed = model(features, dropout={**ones, site: torch.zeros_like(mask)})
        assert not torch.allclose(changed, model(features, dropout=ones)), site
    assert (model(features, dropout={**ones, "output": torch.zeros(5, 2)}) == 0).all()


def test_without_masks_dropout_draws_from_the_global_generator() -> None:
    model = Mlp({"audio": 3}, 1, MlpConfig(dropout=0.5)).train()
    features = {"audio": torch.ones(5, 3)}
    first, second = model(features), model(features)
    assert not torch.equal(first, second)


def test_affine_equals_linear_over_the_concatenation_with_its_gradients() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(6, d, dtype=torch.float64, requires_grad=i != 1) for i, d in enumerate((3, 2, 4))]
    layer = Affine(9, 5).double()
    weights = [layer.weight, layer.bias, parts[0], parts[2]]
    plain = torch.nn.functional.linear(torch.cat(parts, 1), layer.weight, layer.bias)
    torch.testing.assert_close(layer(*parts), plain)
    probe = torch.randn_like(plain)
    for found, wanted in zip(
        torch.autograd.grad((layer(*parts) * probe).sum(), weights),
        torch.autograd.grad((plain * probe).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_neighbouring_columns_of_one_matrix_are_one_product_and_others_are_not() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 12)
    layer = Affine(9, 5)
    side_by_side = (matrix[:, :4], matrix[:, 4:9])
    apart = (matrix[:, :4], matrix[:, 5:10])
    swapped = (matrix[:, 4:9], matrix[:, :4])
    for parts in (side_by_side, apart, swapped):
        torch.testing.assert_close(
            layer(*parts), torch.nn.functional.linear(torch.cat(parts, 1), layer.weight, layer.bias)
        )


def test_a_stack_of_affine_layers_is_each_of_them() -> None:
    torch.manual_seed(0)
    layers = [Affine(5, 3) for _ in range(4)]
    stack = Affine(5, 3)
    stack.weight = torch.nn.Parameter(torch.stack([layer.weight for layer in layers]).detach())
    stack.bias = torch.nn.Parameter(torch.stack([layer.bias for layer in layers]).detach())
    inputs = torch.randn(4, 7, 2), torch.randn(4, 7, 3)
    wanted = torch.stack([layer(inputs[0][i], inputs[1][i]) for i, layer in enumerate(layers)])
    torch.testing.assert_close(stack(*inputs), wanted)


def test_the_mean_under_a_mask_ignores_what_is_masked_and_is_nan_without_rows() -> None:
    rows = torch.tensor([[[1.0], [torch.nan]], [[5.0], [7.0]]])
    found = masked_mean(rows, torch.tensor([[True, False], [False, False]]))
    assert found[0].item() == 1
    assert found[1].isnan()
