"""Both networks of Active Speakers in Context against recorded outputs; the attention over the whole grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cuebank.extractors.networks.asc_context import AscContext, GridAttention
from cuebank.extractors.networks.asc_encoder import AscEncoder


def close(found: Tensor, wanted: np.ndarray, rtol: float) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=rtol * np.abs(wanted).max())


@pytest.mark.golden("asc_ste")
def test_the_encoder_gives_the_recorded_features_and_logits(golden_case: Any) -> None:
    arrays, about = golden_case.arrays, golden_case.json()
    network = AscEncoder(about["constructor"]["rgb_stack_size"], about["constructor"]["num_classes"]).eval()
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == about["state_dict"]
    assert sum(p.numel() for p in network.parameters()) == about["parameters"]
    network.load_state_dict(golden_case.state_dict(about["state_dict"]), strict=True)
    mfcc, faces = torch.from_numpy(arrays["audio"]), torch.from_numpy(arrays["video"])
    with torch.inference_mode():
        audio, visual = network.embed_audio(mfcc), network.embed_faces(faces)
        found = network(mfcc, faces)
    close(torch.cat([audio, visual], 1), arrays["features"], 1e-4)
    for name, logits in zip(("logits", "logits_audio", "logits_video"), found, strict=True):
        close(logits, arrays[name], 1e-4)


def test_the_published_encoder_sees_eleven_frames() -> None:
    with torch.device("meta"):
        network = AscEncoder()
    assert sum(p.numel() for p in network.parameters()) == 22_573_190
    assert network(torch.empty(2, 1, 13, 40, device="meta"), torch.empty(2, 33, 144, 144, device="meta"))[0].shape == (
        2,
        2,
    )


@pytest.mark.golden("asc_net")
def test_the_context_head_gives_the_recorded_logits(golden_case: Any) -> None:
    arrays, about = golden_case.arrays, golden_case.json()
    size = about["constructor"]
    x = torch.from_numpy(arrays["x"])
    network = AscContext(x.shape[1], 2, size["clip_number"], size["candidate_speakers"], size["hidden_units"]).eval()
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == about["state_dict"]
    assert sum(p.numel() for p in network.parameters()) == about["parameters"]
    network.load_state_dict(golden_case.state_dict(about["state_dict"]), strict=True)
    with torch.inference_mode():
        close(network.sat(x).mean(1), arrays["sat_mean_over_channels"], 1e-5)
        close(network(x), arrays["logits"], 1e-5)


def test_cells_share_one_softmax_over_all_pairs() -> None:
    torch.manual_seed(0)
    attention = GridAttention(6, 4).double().eval()
    x = torch.randn(2, 6, 5, 3, dtype=torch.float64)
    theta, phi, gamma = (
        attention.get_submodule(f"{name}_bn")(attention.get_submodule(name)(x)) for name in ("theta", "phi", "gamma")
    )
    likeness = torch.einsum("bcls,bcmt->blsmt", theta, phi)
    weights = likeness.exp() / likeness.exp().sum((1, 2, 3, 4), keepdim=True)
    seen = torch.einsum("blsmt,bcmt->bcls", weights, gamma)
    torch.testing.assert_close(attention(x), attention.omega_bn(attention.omega(seen)) + x, atol=1e-12, rtol=0)


def test_the_order_of_moments_matters_and_that_of_cells_is_moment_after_moment() -> None:
    torch.manual_seed(0)
    network = AscContext(6, 2, moments=3, speakers=2, hidden=4).double().eval()
    seen: list[Tensor] = []
    network.lstm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 6, 3, 2, dtype=torch.float64)
    assert not torch.allclose(network(x), network(x.flip(2)))
    cells = network.sat(x)
    torch.testing.assert_close(seen[0][0], torch.stack([cells[0, :, i, j] for i in range(3) for j in range(2)]))
