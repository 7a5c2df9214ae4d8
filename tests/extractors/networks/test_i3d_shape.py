"""Sizes of I3D's end points, and TensorFlow's padding rule."""

from __future__ import annotations

import pytest
import torch

from cuebank.extractors.networks import i3d
from cuebank.extractors.networks.i3d_shape import I3dShape, same_padding
from cuebank.extractors.random_weights import fill_all


@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_follows_tensorflows_rule(kernel: int, stride: int) -> None:
    for size in range(1, 20):
        front, end = same_padding(size, kernel, stride)
        rest = size % stride
        assert front + end == max(kernel - (stride if rest == 0 else rest), 0)
        assert end - front in (0, 1)
        outputs = (size + front + end - kernel) // stride + 1
        assert outputs == -(-size // stride)


def test_the_published_network_has_the_published_sizes() -> None:
    outputs = I3dShape().outputs((16, 224, 224))
    assert next(iter(outputs)) == "Conv3d_1a_7x7"
    assert outputs["MaxPool3d_5a_2x2"] == (832, 2, 7, 7)
    assert outputs["Mixed_5c"] == (1024, 2, 7, 7)
    assert outputs["pooled"] == (1024, 1, 1, 1)
    assert outputs["logits"] == (400, 1, 1, 1)
    assert I3dShape().outputs((17, 224, 224))["pooled"] == (1024, 2, 1, 1)
    network = i3d.build(I3dShape())
    assert sum(p.numel() for p in network.parameters()) == 12_697_264


@pytest.mark.parametrize("size", [(16, 64, 64), (9, 64, 64), (11, 65, 79), (25, 97, 64), (33, 70, 70)])
def test_stated_sizes_are_those_that_come_out(size: tuple[int, int, int]) -> None:
    shape = I3dShape(divide=16, side=64, classes=5)
    network = i3d.build(shape)
    i3d.install(network, fill_all(i3d.shapes(network), 0))
    stated = shape.outputs(size)
    with torch.inference_mode():
        found = network(torch.rand(1, 3, *size), list(stated))
    assert {name: tuple(output.shape[1:]) for name, output in found.items()} == stated


def test_end_points_that_the_input_is_too_small_for_are_left_out() -> None:
    assert list(I3dShape().outputs((8, 224, 224)))[-1] == "Mixed_5c"
    assert list(I3dShape().outputs((16, 112, 224)))[-1] == "Mixed_5c"
