"""I3D against recorded outputs of the network that SEMPI uses, and its parts against torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cuebank.extractors.backbones._i3d_weights import random
from cuebank.extractors.networks import i3d
from cuebank.extractors.networks.i3d_shape import I3dShape, same_padding

ATOL = 1e-5
NARROW = I3dShape(divide=16, side=64, classes=5)


def narrow(until: str = "logits") -> i3d.I3dNetwork:
    network = i3d.build(NARROW, until)
    i3d.install(network, random(i3d.shapes(network), 0))
    return network


@pytest.mark.golden("sempi_i3d")
def test_every_end_point_equals_the_originals(golden_case: Any) -> None:
    arrays, names = golden_case.arrays, golden_case.json()["state_dict"]
    shape = I3dShape(classes=names["logits.conv3d.bias"][0])
    network = i3d.build(shape)
    assert {k: list(v.shape) for k, v in network.state_dict().items()} == names, "the original names, all of them"
    i3d.install(network, golden_case.state_dict(names))
    points = [point.name for point in shape.end_points()]
    with torch.inference_mode():
        outputs = network(i3d.as_input(list(arrays["frames_uint8"])), points)
    outputs = {name: output.numpy() for name, output in outputs.items()}
    blocks = [name.removesuffix(".shape") for name in arrays if name.endswith(".shape")]
    assert blocks == points[:-2]
    for name in blocks:
        output = outputs[name]
        assert output.shape == tuple(arrays[f"{name}.shape"])
        times, rows, columns = (min(a, b) for a, b in zip(output.shape[2:], (4, 3, 3), strict=True))
        for what, found in (
            ("chmean", output.mean((2, 3, 4))),
            ("chstd", output.std((2, 3, 4), ddof=1)),
            ("corner", output[:, :8, :times, :rows, :columns]),
            ("corner_end", output[:, -8:, -times:, -rows:, -columns:]),
        ):
            np.testing.assert_allclose(found, arrays[f"{name}.{what}"], rtol=0, atol=ATOL, err_msg=f"{name}.{what}")
    for name, point in (
        ("Mixed_5c.full", "Mixed_5c"),
        ("extract_features", "pooled"),
        ("sempi_feature", "pooled"),
        ("logits", "logits"),
    ):
        expected = arrays[name]
        assert outputs[point].size == expected.size
        found = outputs[point].reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL, err_msg=name)


@pytest.mark.parametrize(("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2))])
@pytest.mark.parametrize("size", [(8, 12, 12), (7, 11, 13), (1, 1, 2)])
def test_pooling_equals_torchs_over_padded_zeros_also_for_negative_values(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)) - 1
    pads = [same_padding(s, k, step) for s, k, step in zip(size, kernel, stride, strict=True)]
    padded = functional.pad(x, [n for pair in reversed(pads) for n in pair])
    assert torch.equal(i3d.SamePool(kernel, stride)(x), functional.max_pool3d(padded, kernel, stride))


def test_nothing_behind_the_last_end_point_is_built_or_computed() -> None:
    whole, part = narrow(), narrow("Mixed_3b")
    assert list(dict(part.named_children()))[-1] == "Mixed_3b"
    x = torch.rand(1, 3, 9, 64, 64)
    with torch.inference_mode():
        assert torch.equal(part(x, ["Mixed_3b"])["Mixed_3b"], whole(x, ["logits", "Mixed_3b"])["Mixed_3b"])


def test_values_are_scaled_in_float64_and_axes_are_moved() -> None:
    frames = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    (window,) = i3d.as_input([frames])
    assert window.shape == (3, 1, 16, 16)
    assert np.array_equal(window[1].numpy().ravel(), (np.arange(256) / 255 * 2 - 1).astype(np.float32))


def test_counters_of_batches_are_not_needed_and_kept_where_given() -> None:
    network = narrow()
    assert not [name for name in i3d.shapes(network) if i3d.is_counter(name)]
    counters = [tensor for name, tensor in network.state_dict().items() if i3d.is_counter(name)]
    assert len(counters) == 57
    assert all(counter == 0 for counter in counters)
    state = {name: torch.tensor(3) if i3d.is_counter(name) else t for name, t in network.state_dict().items()}
    i3d.install(network, state)
    assert network.Conv3d_1a_7x7.bn.num_batches_tracked == 3


def test_it_can_be_trained_from_any_block_on() -> None:
    network = narrow()
    network.Mixed_5c.requires_grad_(True)
    network(torch.rand(1, 3, 9, 64, 64), ["pooled"])["pooled"].sum().backward()
    assert network.Mixed_5c.b1b.conv3d.weight.grad.abs().sum() > 0
    assert network.Mixed_5b.b1b.conv3d.weight.grad is None
