"""TalkNet against recorded outputs; tracks of a batch that do, or do not, see each other; missing rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cuebank.extractors.networks.talknet import TalkNet
from cuebank.extractors.networks.talknet_back import TalkNetBack
from cuebank.extractors.networks.talknet_visual import VisualFrontend

RTOL = 1e-4  # of the largest value


def close(found: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy().reshape(wanted.shape), wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


@pytest.mark.golden("talknet")
def test_names_counts_and_outputs_are_the_originals(golden_case: Any) -> None:
    arrays, about = golden_case.arrays, golden_case.json()
    network = TalkNet().eval()
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == about["state_dict"]
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.model.items()}
    assert counts == about["parameters_by_part"]
    assert sum(counts.values()) == 15_743_451
    network.load_state_dict(golden_case.state_dict(about["state_dict"]), strict=True)
    mfcc, faces, labels = (torch.from_numpy(arrays[name]) for name in ("mfcc", "faces_u8", "labels"))
    with torch.inference_mode():
        audio, visual = network.embed_audio(mfcc), network.embed_faces(faces, joined=True)
        close(audio, arrays["audio_embedding"])
        close(visual, arrays["visual_embedding"])
        crossed = network.cross(audio, visual)
        close(crossed[0], arrays["cross_audio"])
        close(crossed[1], arrays["cross_visual"])
        close(network.fuse(*crossed), arrays["fused"])
        logits = network(audio, visual).flatten(0, 1)
        single = [network.lossA["FC"](crossed[0]).flatten(0, 1), network.lossV["FC"](crossed[1]).flatten(0, 1)]
    close(logits, arrays["logits"])
    close(logits.softmax(1)[:, 1], arrays["prob_speaking"])
    losses = [functional.cross_entropy(z, labels).item() for z in (logits, *single)]
    np.testing.assert_allclose(losses, [arrays[f"loss_{name}"] for name in ("av", "a", "v")], rtol=RTOL)
    np.testing.assert_allclose(losses[0] + 0.4 * (losses[1] + losses[2]), arrays["loss_total"], rtol=RTOL)


def test_tracks_of_a_batch_see_each_other_only_on_demand() -> None:
    torch.manual_seed(0)
    network = VisualFrontend(spare=False).double().eval()
    faces = torch.randint(0, 256, (2, 4, 112, 112)).double()
    with torch.inference_mode():
        alone = torch.cat([network(faces[:1]), network(faces[1:])])
        torch.testing.assert_close(network(faces), alone, atol=1e-10, rtol=0)
        joined = network(faces, joined=True)
        torch.testing.assert_close(joined.flatten(0, 1)[None], network(faces.flatten(0, 1)[None]), atol=1e-10, rtol=0)
    assert ((joined - alone).abs().amax(-1) > 1e-6).any(1).all()  # both tracks change where they meet


def test_missing_rows_change_nothing_wherever_they_stand() -> None:
    torch.manual_seed(0)
    back = TalkNetBack(16).double().eval()
    audio, visual = torch.randn(2, 1, 7, 16, dtype=torch.float64)
    wanted = back(audio, visual)
    places = torch.tensor([1, 2, 3, 5, 6, 7, 9])
    there = torch.zeros(1, 12, dtype=torch.bool).index_fill(1, places, True)
    wider = [torch.zeros(1, 12, 16, dtype=torch.float64).index_copy(1, places, rows) for rows in (audio, visual)]
    torch.testing.assert_close(back(*wider, there, there)[there], wanted[0], atol=1e-12, rtol=0)


def test_a_track_without_any_sound_has_an_answer_that_does_not_depend_on_padding() -> None:
    torch.manual_seed(0)
    back = TalkNetBack(16).double().eval()
    visual, silent = torch.randn(1, 5, 16, dtype=torch.float64), torch.zeros(1, 5, 16, dtype=torch.float64)
    here, none = torch.ones(1, 5, dtype=torch.bool), torch.zeros(1, 5, dtype=torch.bool)
    wanted = back(silent, visual, none, here)
    assert wanted.isfinite().all()
    padded = [functional.pad(x, (0, 0, 0, 4)) for x in (silent, visual)]
    found = back(*padded, *(functional.pad(x, (0, 4)) for x in (none, here)))
    torch.testing.assert_close(found[:, :5], wanted, atol=1e-12, rtol=0)
