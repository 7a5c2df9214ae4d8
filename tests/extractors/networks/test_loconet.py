"""LoCoNet against recorded outputs; the speaker convolution; missing rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cuebank.extractors.networks.loconet import LoCoNet, without_wrapper
from cuebank.extractors.networks.loconet_back import LoCoNetBack

RTOL = 1e-4  # of the largest value


def close(found: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy().reshape(wanted.shape), wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


@pytest.mark.golden("loconet")
def test_names_counts_and_outputs_are_the_originals(golden_case: Any) -> None:
    arrays, about = golden_case.arrays, golden_case.json()
    network = LoCoNet(about["config"]["NUM_SPEAKERS"], about["config"]["AV_layers"]).eval()
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == about["state_dict"]
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.model.items()}
    assert {**counts, "audio_pool": 0} == about["parameters_by_part"]
    assert sum(counts.values()) == about["parameters_model"] == 34_331_845
    tensors = golden_case.state_dict(about["state_dict"])
    wrapped = {f"model.module.{name}": tensor for name, tensor in tensors.items()}
    network.load_state_dict(without_wrapper(wrapped), strict=True)
    log_mel, faces, labels, mask = (torch.from_numpy(arrays[n]) for n in ("log_mel", "faces_u8", "labels", "mask"))
    with torch.inference_mode():
        audio, visual = network.embed_audio(log_mel), network.embed_faces(faces, joined=True)
        close(audio, arrays["audio_embedding"])
        close(visual, arrays["visual_embedding"])
        crossed = network.crossed_speakers(audio, visual)
        close(crossed[0], arrays["cross_audio"])
        close(crossed[1], arrays["cross_visual"])
        close(network.fuse(*crossed), arrays["fused"])
        logits = network(audio, visual).flatten(0, 2)
        single = [network.lossA["FC"](crossed[0]).flatten(0, 2), network.lossV["FC"](crossed[1]).flatten(0, 2)]
    close(logits, arrays["logits"])
    close(logits.softmax(1)[:, 1], arrays["prob_speaking"])
    valid = mask.bool()
    losses = [functional.cross_entropy(z[valid], labels[valid]).item() for z in (logits, *single)]
    np.testing.assert_allclose(losses, [arrays[f"loss_{name}"] for name in ("av", "a", "v")], rtol=RTOL)
    np.testing.assert_allclose(losses[0] + 0.4 * (losses[1] + losses[2]), arrays["loss_total"], rtol=RTOL)


def test_speakers_of_a_scene_are_embedded_alone_unless_joined() -> None:
    torch.manual_seed(0)
    network = LoCoNet().eval()
    faces = torch.randint(0, 256, (1, 3, 3, 112, 112), dtype=torch.uint8)
    with torch.inference_mode():
        together = network.embed_faces(faces)
        alone = torch.cat([network.embed_faces(faces[:, i : i + 1]) for i in range(3)], 1)
        joined = network.embed_faces(faces, joined=True)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(joined, together, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_sound_gives_a_row_for_each_frame_however_many_there_are(frames: int) -> None:
    torch.manual_seed(0)
    network = LoCoNet().model["audioEncoder"].eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 1, 4 * frames, 64)).shape == (2, frames, 128)


def test_missing_rows_of_a_speaker_are_seen_by_nobody() -> None:
    torch.manual_seed(0)
    back = LoCoNetBack(16, layers=2).double().eval()
    audio, visual = torch.randn(1, 9, 16, dtype=torch.float64), torch.randn(1, 3, 9, 16, dtype=torch.float64)
    there = torch.ones(1, 3, 9, dtype=torch.bool)
    there[0, 1, [0, 4]] = False
    there[:, :, 7:] = False

    def through(audio: Tensor, visual: Tensor, there: Tensor) -> Tensor:
        heard = there[:, 0]
        audio, visual = torch.where(heard[..., None], audio, 0.0), torch.where(there[..., None], visual, 0.0)
        return back.fuse(*back.crossed_speakers(audio, visual, heard, there), there)

    wanted = through(audio, visual, there)
    other = torch.where(there[..., None], visual, 1e3)
    torch.testing.assert_close(through(audio, other, there), wanted, atol=0, rtol=0)
    short = through(audio[:, :7], visual[:, :, :7], there[:, :, :7])
    torch.testing.assert_close(wanted[:, :, :7][there[:, :, :7]], short[there[:, :, :7]], atol=1e-12, rtol=0)
    changed = visual.clone()
    changed[0, 1, 2] += 1
    assert (through(audio, changed, there)[0, 0, :7] != wanted[0, 0, :7]).any(-1).all(), "the context is seen"


def test_where_nothing_is_missing_masks_change_nothing() -> None:
    torch.manual_seed(0)
    back = LoCoNetBack(16, layers=1).double().eval()
    audio, visual = torch.randn(1, 4, 16, dtype=torch.float64), torch.randn(1, 3, 4, 16, dtype=torch.float64)
    there = torch.ones(1, 3, 4, dtype=torch.bool)
    found = back.lossAV["FC"](back.fuse(*back.crossed_speakers(audio, visual, there[:, 0], there), there))
    torch.testing.assert_close(found, back(audio, visual), atol=1e-12, rtol=0)
